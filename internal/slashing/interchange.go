package slashing

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/quorate/quorate/internal/wire"
)

// interchangeVersion is the only format version of EIP-3076 in use.
const interchangeVersion = "5"

// Interchange is a slashing history in the terms of EIP-3076. Keys are unique
// and in order of their bytes.
type Interchange struct {
	Genesis Root
	Keys    []KeyHistory
}

// KeyHistory is the history of one key: the maximum of what was signed. A root
// counts only where Ours is set.
type KeyHistory struct {
	Key Key
	Watermarks
}

// The JSON document. Numbers are decimal strings.
type (
	documentJSON struct {
		Metadata *metadataJSON `json:"metadata"`
		Data     []historyJSON `json:"data"`
	}
	metadataJSON struct {
		Version string  `json:"interchange_format_version"`
		Genesis hexText `json:"genesis_validators_root"`
	}
	historyJSON struct {
		Key    hexText     `json:"pubkey"`
		Blocks []blockJSON `json:"signed_blocks"`
		Votes  []voteJSON  `json:"signed_attestations"`
	}
	blockJSON struct {
		Slot *number  `json:"slot"`
		Root *hexText `json:"signing_root,omitempty"`
	}
	voteJSON struct {
		Source *number  `json:"source_epoch"`
		Target *number  `json:"target_epoch"`
		Root   *hexText `json:"signing_root,omitempty"`
	}
)

type hexText []byte

func (h *hexText) UnmarshalText(b []byte) error {
	digits, ok := strings.CutPrefix(string(b), "0x")
	if !ok {
		return errors.New("hex without 0x")
	}
	out, err := hex.DecodeString(digits)
	*h = out
	return err
}

func (h hexText) MarshalText() ([]byte, error) { return []byte("0x" + hex.EncodeToString(h)), nil }

type number uint64

func (n *number) UnmarshalText(b []byte) error {
	v, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil || strconv.FormatUint(v, 10) != string(b) {
		return errors.New("not a canonical decimal number")
	}
	*n = number(v)
	return nil
}

func (n number) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(n), 10), nil }

// ParseInterchange reads an EIP-3076 document. It is strict about the form,
// for a field that it overlooked might be the history of a key: unknown,
// missing or repeated fields and a foreign version are errors. It is lenient
// about the content: keys and duties may repeat, stand in any order, and even
// contradict each other, because all that counts is the maximum.
func ParseInterchange(in []byte) (Interchange, error) {
	ic, err := parseInterchange(in)
	if err != nil {
		return Interchange{}, fmt.Errorf("parse slashing interchange: %w", err)
	}
	return ic, nil
}

func parseInterchange(in []byte) (Interchange, error) {
	if len(in) > wire.MaxImportBody {
		return Interchange{}, fmt.Errorf("%d bytes, over the limit of %d", len(in), wire.MaxImportBody)
	}
	if err := uniqueNames(in); err != nil {
		return Interchange{}, err
	}
	var doc documentJSON
	dec := json.NewDecoder(bytes.NewReader(in))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return Interchange{}, err
	}
	switch {
	case doc.Metadata == nil || doc.Data == nil:
		return Interchange{}, errors.New("metadata or data is missing")
	case doc.Metadata.Version != interchangeVersion:
		return Interchange{}, fmt.Errorf("format version %.16q, only %s is known", doc.Metadata.Version, interchangeVersion)
	}
	var ic Interchange
	if len(doc.Metadata.Genesis) != len(ic.Genesis) {
		return Interchange{}, errors.New("genesis validators root is not 32 bytes")
	}
	copy(ic.Genesis[:], doc.Metadata.Genesis)
	all := map[Key]KeyHistory{}
	for i, h := range doc.Data {
		kh, err := h.parse()
		if err != nil {
			return Interchange{}, fmt.Errorf("data %d: %w", i, err)
		}
		all[kh.Key] = KeyHistory{Key: kh.Key, Watermarks: merge(all[kh.Key].Watermarks, kh.Watermarks)}
	}
	ic.Keys = sorted(all)
	return ic, nil
}

func (h historyJSON) parse() (out KeyHistory, err error) {
	if len(h.Key) != len(out.Key) {
		return out, errors.New("public key is not 48 bytes")
	}
	copy(out.Key[:], h.Key)
	if h.Blocks == nil || h.Votes == nil {
		return out, errors.New("signed_blocks or signed_attestations is missing")
	}
	for i, b := range h.Blocks {
		if b.Slot == nil {
			return out, fmt.Errorf("block %d: slot is missing", i)
		}
		root, known, err := parseRoot(b.Root)
		if err != nil {
			return out, fmt.Errorf("block %d: %w", i, err)
		}
		out.Watermarks = merge(out.Watermarks, Watermarks{Block: BlockMark{Known: true, Ours: known, Slot: uint64(*b.Slot), Root: root}})
	}
	for i, v := range h.Votes {
		if v.Source == nil || v.Target == nil {
			return out, fmt.Errorf("attestation %d: source or target is missing", i)
		}
		root, known, err := parseRoot(v.Root)
		if err != nil {
			return out, fmt.Errorf("attestation %d: %w", i, err)
		}
		out.Watermarks = merge(out.Watermarks, Watermarks{Vote: VoteMark{Known: true, Ours: known, Source: uint64(*v.Source), Target: uint64(*v.Target), Root: root}})
	}
	return out, nil
}

func parseRoot(h *hexText) (root Root, known bool, err error) {
	if h == nil {
		return root, false, nil
	}
	if len(*h) != len(root) {
		return root, false, errors.New("signing root is not 32 bytes")
	}
	copy(root[:], *h)
	return root, true, nil
}

// merge is the maximum of two histories. A root stays where it belongs to the
// maximum and nothing contradicts it.
func merge(a, b Watermarks) Watermarks {
	out := a.raise(b)
	for _, w := range []Watermarks{a, b} {
		other := b
		if w == b {
			other = a
		}
		m, o := w.Block, other.Block
		if m.Ours && m.Slot == out.Block.Slot && (!o.Known || o.Slot < m.Slot || o == m) {
			out.Block = m
		}
		v, u := w.Vote, other.Vote
		if v.Ours && v.Target == out.Vote.Target && v.Source == out.Vote.Source && (!u.Known || u.Target < v.Target || u == v) {
			out.Vote = v
		}
	}
	return out
}

func sorted(all map[Key]KeyHistory) []KeyHistory {
	out := make([]KeyHistory, 0, len(all))
	for _, h := range all {
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b KeyHistory) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	return out
}

// MergeMax combines what several nodes exported: per key the maximum of every
// mark, so that the result forbids all that any of them forbids.
func MergeMax(parts ...Interchange) (Interchange, error) {
	var out Interchange
	all := map[Key]KeyHistory{}
	for i, p := range parts {
		if i > 0 && p.Genesis != out.Genesis {
			return Interchange{}, errors.New("merge slashing interchanges: they belong to different chains")
		}
		out.Genesis = p.Genesis
		for _, h := range p.Keys {
			all[h.Key] = KeyHistory{Key: h.Key, Watermarks: merge(all[h.Key].Watermarks, h.Watermarks)}
		}
	}
	out.Keys = sorted(all)
	return out, nil
}

// Encode writes the EIP-3076 document.
func (ic Interchange) Encode() ([]byte, error) {
	doc := documentJSON{
		Metadata: &metadataJSON{Version: interchangeVersion, Genesis: ic.Genesis[:]},
		Data:     make([]historyJSON, 0, len(ic.Keys)),
	}
	root := func(ours bool, r Root) *hexText {
		if !ours {
			return nil
		}
		h := hexText(r[:])
		return &h
	}
	for _, k := range ic.Keys {
		h := historyJSON{Key: k.Key[:], Blocks: []blockJSON{}, Votes: []voteJSON{}}
		if b := k.Block; b.Known {
			slot := number(b.Slot)
			h.Blocks = append(h.Blocks, blockJSON{&slot, root(b.Ours, b.Root)})
		}
		if v := k.Vote; v.Known {
			source, target := number(v.Source), number(v.Target)
			h.Votes = append(h.Votes, voteJSON{&source, &target, root(v.Ours, v.Root)})
		}
		doc.Data = append(doc.Data, h)
	}
	out, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode slashing interchange: %w", err)
	}
	return out, nil
}

// uniqueNames refuses a document in which an object has one name twice, or one
// in another spelling than the standard's: encoding/json takes any case, and
// letters of other alphabets that fold to the same, and lets the last one win.
func uniqueNames(in []byte) error {
	type level struct {
		names  map[string]bool // nil in an array
		atName bool
	}
	var stack []level
	dec := json.NewDecoder(bytes.NewReader(in))
	for done := false; !done; {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		top := len(stack) - 1
		if name, ok := token.(string); ok && top >= 0 && stack[top].atName {
			switch {
			case strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "":
				return fmt.Errorf("name %.32q is none of EIP-3076's", name)
			case stack[top].names[name]:
				return fmt.Errorf("name %.32q stands twice", name)
			}
			stack[top].names[name] = true
			stack[top].atName = false
			continue
		}
		switch token {
		case json.Delim('{'):
			stack = append(stack, level{map[string]bool{}, true})
		case json.Delim('['):
			stack = append(stack, level{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:top]
		}
		if len(stack) > wire.MaxJSONDepth {
			return fmt.Errorf("nested deeper than %d", wire.MaxJSONDepth)
		}
		if token != json.Delim('{') && token != json.Delim('[') {
			if top = len(stack) - 1; top >= 0 {
				stack[top].atName = stack[top].names != nil
			}
			done = top < 0
		}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("bytes after the document")
	}
	return nil
}

// Export returns the history of the keys. Floors count as signed. A fenced
// key is an error: its history is not known, and an export that is too low
// is an invitation to sign twice. So is one that is not registered: what others
// told of it is theirs to export. Stop a key before its export leaves.
func (r *Record) Export(keys ...Key) (Interchange, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.state.pinned {
		return Interchange{}, errors.New("export slashing history: no genesis validators root is known yet")
	}
	all := map[Key]KeyHistory{}
	for _, k := range keys {
		ks := r.state.keys[k]
		switch {
		case ks == nil || !ks.Registered:
			return Interchange{}, fmt.Errorf("export slashing history of %x: %w", k[:4], ErrUnknownKey)
		case ks.Fence != 0:
			return Interchange{}, fmt.Errorf("export slashing history of %x: %w", k[:4], explain(RuleFenced, k, ks.Status, nil, Bounds{}))
		}
		all[k] = ks.history(k)
	}
	return Interchange{Genesis: r.state.genesis, Keys: sorted(all)}, nil
}

// history is what was signed, or counts as signed.
func (s Status) history(k Key) KeyHistory {
	if s.Floored {
		return KeyHistory{Key: k, Watermarks: merge(s.Watermarks, Watermarks{
			Block: BlockMark{Known: true, Slot: s.Floor.Slot},
			Vote:  VoteMark{Known: true, Source: s.Floor.Source, Target: s.Floor.Target},
		})}
	}
	return KeyHistory{Key: k, Watermarks: s.Watermarks}
}

// Import raises the watermarks of every key in the interchange, whether it is
// registered or not, all of them or none. It lowers nothing. Imported
// messages cannot be signed again. The first import pins the chain.
func (r *Record) Import(ic Interchange) error {
	r.mu.Lock()
	if r.state.pinned && ic.Genesis != r.state.genesis {
		defer r.mu.Unlock()
		return fmt.Errorf("import slashing history: genesis validators root %x, this record is pinned to %x", ic.Genesis, r.state.genesis)
	}
	var changes []entry
	if !r.state.pinned {
		changes = append(changes, entry{kind: entryGenesis, genesis: ic.Genesis})
	}
	keys := make([]Key, 0, len(ic.Keys))
	for _, h := range ic.Keys {
		keys = append(keys, h.Key)
		changes = append(changes, entry{kind: entryImport, key: h.Key, marks: h.Watermarks})
	}
	if len(changes) == 0 {
		r.mu.Unlock()
		return nil
	}
	if !r.state.roomFor(keys...) {
		r.mu.Unlock()
		return fmt.Errorf("import slashing history: %w", errFull)
	}
	p := r.change(changes)
	r.mu.Unlock()
	if err := p.Wait(); err != nil {
		return fmt.Errorf("import slashing history: %w", err)
	}
	return nil
}
