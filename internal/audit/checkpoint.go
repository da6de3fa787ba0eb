package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/wire"
)

// ErrCheckpoint is wrapped by every reason to refuse a checkpoint.
var ErrCheckpoint = errors.New("checkpoint refused")

// Checkpoint is how long the log was, and its root then.
type Checkpoint struct {
	Size uint64
	Root [32]byte
}

// Types of keys in signed notes.
const (
	noteEd25519     = "\x01"
	noteCosignature = "\x04"
	noteHybrid      = "\xff" + string(wire.TagCheckpoint)
)

// noteKey is one key that may sign lines of a note.
type noteKey struct {
	name string
	id   [4]byte
	// verify judges a signature over a text, and reads the time it states.
	verify func(text, sig []byte) (time.Time, bool)
}

func newNoteKey(name, kind string, public []byte, verify func(text, sig []byte) (time.Time, bool)) noteKey {
	h := sha256.Sum256(append([]byte(name+"\n"+kind), public...))
	return noteKey{name, [4]byte(h[:4]), verify}
}

func (k noteKey) line(sig []byte) []byte {
	return []byte("— " + k.name + " " + base64.StdEncoding.EncodeToString(append(k.id[:], sig...)) + "\n")
}

// signatory is a node or a witness, with the lines that it has to write.
type signatory struct {
	name  string // as the genesis has it
	lines []noteKey
}

// Signatories are who signs checkpoints of a cluster.
type Signatories struct {
	origin    string
	nodes     []signatory
	witnesses []signatory
}

// NewSignatories takes them from the genesis.
func NewSignatories(g *action.Genesis, id action.ClusterID) *Signatories {
	s := &Signatories{origin: Origin(id)}
	for _, n := range g.Nodes {
		s.nodes = append(s.nodes, signatory{n.Name, nodeKeys(s.origin+"/"+n.Name, n.Identity)})
	}
	for _, w := range g.Witnesses {
		s.witnesses = append(s.witnesses, signatory{w.Name, []noteKey{newNoteKey(w.Name, noteCosignature, w.Key[:], verifyCosignature(w.Key[:]))}})
	}
	return s
}

// Origin names the cluster's log.
func Origin(id action.ClusterID) string { return "quorate/" + hex.EncodeToString(id[:]) }

func nodeKeys(name string, pk ident.PublicKey) []noteKey {
	keys := []noteKey{newNoteKey(name, noteEd25519, pk.Ed25519(), func(text, sig []byte) (time.Time, bool) {
		return time.Time{}, ed25519.Verify(pk.Ed25519(), text, sig)
	})}
	if pk.Suite() == ident.Ed25519MLDSA65 {
		keys = append(keys, newNoteKey(name, noteHybrid, pk.Bytes(), func(text, sig []byte) (time.Time, bool) {
			return time.Time{}, pk.Verify(sig, wire.TagCheckpoint, text) == nil
		}))
	}
	return keys
}

func verifyCosignature(pk ed25519.PublicKey) func(text, sig []byte) (time.Time, bool) {
	return func(text, sig []byte) (time.Time, bool) {
		if len(sig) != 8+ed25519.SignatureSize {
			return time.Time{}, false
		}
		at := binary.BigEndian.Uint64(sig)
		return time.Unix(int64(at), 0).UTC(), at < 1<<40 && ed25519.Verify(pk, cosigned(at, text), sig[8:])
	}
}

// Text is what is signed.
func (s *Signatories) Text(c Checkpoint) []byte {
	return []byte(s.origin + "\n" + strconv.FormatUint(c.Size, 10) + "\n" + base64.StdEncoding.EncodeToString(c.Root[:]) + "\n")
}

// Sign returns the lines of a node.
func (s *Signatories) Sign(node string, key ident.PrivateKey, c Checkpoint) ([]byte, error) {
	for _, n := range s.nodes {
		if n.name != node {
			continue
		}
		text := s.Text(c)
		out := n.lines[0].line(ed25519.Sign(key.ExposeEd25519(), text))
		if len(n.lines) > 1 {
			out = append(out, n.lines[1].line(key.Sign(wire.TagCheckpoint, text))...)
		}
		return out, nil
	}
	return nil, fmt.Errorf("sign checkpoint: the genesis knows no node %q", node)
}

// Quorum is how many nodes have to sign: the fewest that are more than two
// thirds of all.
func (s *Signatories) Quorum() int { return 2*len(s.nodes)/3 + 1 }

// Assemble makes a checkpoint of the lines of nodes, with those of self and of
// no more nodes than it needs. Lines that do not verify are passed over: a
// node may say anything.
func (s *Signatories) Assemble(c Checkpoint, self string, lines map[string][]byte) ([]byte, error) {
	text := s.Text(c)
	chosen := map[string]bool{}
	consider := func(n signatory) {
		if rest, _, ok := n.take(text, lines[n.name]); ok && len(rest) == 0 && len(chosen) < s.Quorum() {
			chosen[n.name] = true
		}
	}
	for _, first := range []bool{true, false} {
		for _, n := range s.nodes {
			if (n.name == self) == first {
				consider(n)
			}
		}
	}
	if len(chosen) < s.Quorum() {
		return nil, fmt.Errorf("%w: %d nodes signed, %d have to", ErrCheckpoint, len(chosen), s.Quorum())
	}
	out := append(text, '\n')
	for _, n := range s.nodes {
		if chosen[n.name] {
			out = append(out, lines[n.name]...)
		}
	}
	return out, nil
}

// Cosign adds what witnesses answered to a checkpoint. What is no line of a
// witness that the genesis names is passed over.
func (s *Signatories) Cosign(checkpoint []byte, answers ...[]byte) []byte {
	text, lines, ok := bytes.Cut(checkpoint, []byte("\n\n"))
	if !ok {
		return checkpoint
	}
	text = append(bytes.Clone(text), '\n')
	out := append(bytes.Clone(text), '\n')
	for _, w := range s.witnesses {
		for _, line := range bytes.SplitAfter(bytes.Join(append(answers, lines), nil), []byte("\n")) {
			if rest, _, ok := w.take(text, line); ok && len(rest) == 0 {
				out = append(out, line...)
				break
			}
		}
	}
	for len(lines) > 0 { // the nodes' lines follow those of witnesses
		line, rest := cutLine(lines)
		if bytes.HasPrefix(line, []byte("— "+s.origin+"/")) {
			out = append(out, line...)
		}
		lines = rest
	}
	return out
}

// Cosignature is a witness's word that it had seen the log so far.
type Cosignature struct {
	Witness string
	Time    time.Time
}

// Line is the signature line that says it, under the text of a checkpoint
// with its newline.
func (c Cosignature) Line(key ed25519.PrivateKey, text []byte) []byte {
	public := key.Public().(ed25519.PublicKey)
	at := uint64(c.Time.Unix())
	sig := ed25519.Sign(key, cosigned(at, text))
	return newNoteKey(c.Witness, noteCosignature, public, nil).line(append(binary.BigEndian.AppendUint64(nil, at), sig...))
}

func cosigned(at uint64, text []byte) []byte {
	return append([]byte("cosignature/v1\ntime "+strconv.FormatUint(at, 10)+"\n"), text...)
}

// Signed is who signed a checkpoint.
type Signed struct {
	Nodes        []string
	Cosignatures []Cosignature
}

// Parse reads a checkpoint and verifies every line of it.
func (s *Signatories) Parse(raw []byte) (Checkpoint, Signed, error) {
	fail := func(format string, args ...any) (Checkpoint, Signed, error) {
		return Checkpoint{}, Signed{}, fmt.Errorf("%w: "+format, append([]any{ErrCheckpoint}, args...)...)
	}
	if len(raw) > wire.MaxCheckpoint {
		return fail("%d bytes are over the limit of %d", len(raw), wire.MaxCheckpoint)
	}
	c, err := s.parseText(raw)
	if err != nil {
		return fail("%w", err)
	}
	text := s.Text(c)
	lines, ok := bytes.CutPrefix(raw, append(bytes.Clone(text), '\n'))
	if !ok {
		return fail("its text is not written as it should be")
	}
	var signed Signed
	for _, w := range s.witnesses {
		if rest, at, ok := w.take(text, lines); ok {
			lines, signed.Cosignatures = rest, append(signed.Cosignatures, Cosignature{w.name, at})
		}
	}
	for _, n := range s.nodes {
		if rest, _, ok := n.take(text, lines); ok && len(signed.Nodes) < s.Quorum() {
			lines, signed.Nodes = rest, append(signed.Nodes, n.name)
		}
	}
	if len(lines) > 0 {
		line, _ := cutLine(lines)
		return fail("this line is of nobody whom the genesis names, does not verify, or stands in the wrong place: %.100q", line)
	}
	if len(signed.Nodes) < s.Quorum() {
		return fail("%d nodes signed, %d have to", len(signed.Nodes), s.Quorum())
	}
	return c, signed, nil
}

func (s *Signatories) parseText(raw []byte) (c Checkpoint, err error) {
	origin, rest := cutLine(raw)
	size, rest := cutLine(rest)
	root, _ := cutLine(rest)
	if string(origin) != s.origin+"\n" {
		return c, fmt.Errorf("it is of another log, %.100q", origin)
	}
	if c.Size, err = strconv.ParseUint(string(bytes.TrimSuffix(size, []byte("\n"))), 10, 64); err != nil {
		return c, fmt.Errorf("its size is %.30q", size)
	}
	h, err := base64.StdEncoding.DecodeString(string(bytes.TrimSuffix(root, []byte("\n"))))
	if err != nil || len(h) != len(c.Root) {
		return c, fmt.Errorf("its root is %.60q", root)
	}
	c.Root = [32]byte(h)
	return c, nil
}

// take reads the lines that this signatory writes under a text, in their one
// form, and returns what follows.
func (g signatory) take(text, lines []byte) (rest []byte, at time.Time, ok bool) {
	for _, k := range g.lines {
		var line []byte
		line, lines = cutLine(lines)
		encoded, found := bytes.CutPrefix(line, []byte("— "+k.name+" "))
		if !found {
			return nil, at, false
		}
		raw, err := base64.StdEncoding.DecodeString(string(bytes.TrimSuffix(encoded, []byte("\n"))))
		if err != nil || len(raw) < 4 || [4]byte(raw) != k.id || !bytes.Equal(line, k.line(raw[4:])) {
			return nil, at, false
		}
		if at, ok = k.verify(text, raw[4:]); !ok {
			return nil, at, false
		}
	}
	return lines, at, true
}

// cutLine returns the first line with its newline, and the rest.
func cutLine(b []byte) (line, rest []byte) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i+1], b[i+1:]
	}
	return b, nil
}

// VerifierKeys are the keys in the form that tlog tools take ("vkey"): the
// classical key of each node, and those of the witnesses.
func (s *Signatories) VerifierKeys(g *action.Genesis) []string {
	var out []string
	vkey := func(k noteKey, kind string, public []byte) {
		out = append(out, fmt.Sprintf("%s+%x+%s", k.name, k.id, base64.StdEncoding.EncodeToString(append([]byte(kind), public...))))
	}
	for i, n := range g.Nodes {
		vkey(s.nodes[i].lines[0], noteEd25519, n.Identity.Ed25519())
	}
	for i, w := range g.Witnesses {
		vkey(s.witnesses[i].lines[0], noteCosignature, w.Key[:])
	}
	return out
}
