package action

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/wire"
)

// ClusterID is the hash of the genesis document. It enters everything that
// is signed, hashed or sealed, so that nothing of one cluster means anything
// in another.
type ClusterID [32]byte

func (id ClusterID) String() string { return hex.EncodeToString(id[:]) }

// ChainID is the consensus engine's name for the cluster.
func (id ClusterID) ChainID() string { return "quorate-" + hex.EncodeToString(id[:16]) }

// Genesis is the document that all operators start from. It is JSON because
// operators read and compare it; its hash is taken over the file's bytes.
type Genesis struct {
	Version   int       `json:"version"` // 1
	Time      time.Time `json:"genesis_time"`
	Namespace string    `json:"namespace"` // first component of every ledger path

	// Network holds the consensus-specs' configuration keys.
	Network map[string]string `json:"network"`

	Nodes   []NodeRecord   `json:"nodes"`
	Members []MemberRecord `json:"members"`

	// Policy is the first policy document: who may do what, and who has to
	// agree. What it does not permit is forbidden.
	Policy string `json:"policy"`

	// Floors are approvals that no policy can do without: custody knows them
	// from here, and asks for them whatever the ledger says.
	Floors map[Rule]Need `json:"floors,omitempty"`

	// Witnesses cosign checkpoints of the audit log. Whoever checks evidence
	// knows their keys from here.
	Witnesses []WitnessRecord `json:"witnesses,omitempty"`

	// ImportHistory says what an imported key may sign when it comes without
	// its slashing history: "refuse" (nothing slashable), "now" (nothing up
	// to the present slot and epoch) or "none" (it never signed; for tests).
	ImportHistory string `json:"import_history"`

	// ProposerDefaults is what a key without settings of its own registers
	// with. A field that is missing is left to the validator client.
	ProposerDefaults ProposerSettings `json:"proposer_defaults"`
}

// Values of [Genesis.ImportHistory].
const (
	HistoryRefuse = "refuse"
	HistoryNow    = "now"
	HistoryNone   = "none"
)

// NodeRecord is one operator's node as the ledger knows it.
type NodeRecord struct {
	Name     string          `json:"name"`
	Operator string          `json:"operator"`
	Region   string          `json:"region"`
	Identity ident.PublicKey `json:"identity"`      // signs the node's transactions; its Ed25519 half authenticates its channels
	Vote     HexKey          `json:"consensus_key"` // CometBFT validator, Ed25519
	Comet    string          `json:"consensus_address"`
	Peer     string          `json:"peer_address"`
	Custody  []CustodyRecord `json:"custody"`
}

// CustodyRecord is one custody process of a node.
type CustodyRecord struct {
	Domain   Domain          `json:"domain"`
	Identity ident.PublicKey `json:"identity"` // hybrid; signs ceremony messages
}

// Domain is a key domain: keys of different domains have nothing in common.
type Domain string

const DomainValidator Domain = "validator"

// WitnessRecord is somebody outside the cluster who has seen checkpoints.
type WitnessRecord struct {
	Name string `json:"name"` // as its signature lines say it
	Key  HexKey `json:"key"`  // Ed25519
}

// HexKey is a raw Ed25519 public key, written as hex with 0x.
type HexKey [ed25519.PublicKeySize]byte

func (k HexKey) MarshalText() ([]byte, error) { return []byte("0x" + hex.EncodeToString(k[:])), nil }

func (k *HexKey) UnmarshalText(b []byte) error {
	if len(b) != 2+2*len(k) || string(b[:2]) != "0x" {
		return fmt.Errorf("parse key: want 0x and %d hex digits", 2*len(k))
	}
	_, err := hex.Decode(k[:], b[2:])
	return err
}

// ParseGenesis reads and checks a document and returns the cluster it founds.
func ParseGenesis(doc []byte) (*Genesis, ClusterID, error) {
	if len(doc) > wire.MaxGenesis {
		return nil, ClusterID{}, fmt.Errorf("parse genesis: %d bytes are over the limit of %d", len(doc), wire.MaxGenesis)
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.DisallowUnknownFields()
	var g Genesis
	if err := dec.Decode(&g); err != nil {
		return nil, ClusterID{}, fmt.Errorf("parse genesis: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, ClusterID{}, errors.New("parse genesis: data after the document")
	}
	if err := g.check(); err != nil {
		return nil, ClusterID{}, fmt.Errorf("check genesis: %w", err)
	}
	return &g, ClusterID(wire.Hash(wire.TagCluster, doc)), nil
}

func (g *Genesis) check() error {
	if g.Version != 1 {
		return fmt.Errorf("version is %d, want 1", g.Version)
	}
	if g.Time.IsZero() {
		return errors.New("genesis_time is missing")
	}
	if err := CheckName("namespace", g.Namespace); err != nil {
		return err
	}
	if len(g.Nodes) == 0 || len(g.Nodes) > wire.MaxNodes {
		return fmt.Errorf("%d nodes, want 1 to %d", len(g.Nodes), wire.MaxNodes)
	}
	switch g.ImportHistory {
	case HistoryRefuse, HistoryNow, HistoryNone:
	default:
		return fmt.Errorf("import_history is %q, want refuse, now or none", g.ImportHistory)
	}
	seen := map[string]bool{}
	once := func(kind string, key []byte) error {
		if seen[string(key)] {
			return fmt.Errorf("%s stands twice", kind)
		}
		seen[string(key)] = true
		return nil
	}
	if err := g.checkNodes(once); err != nil {
		return err
	}
	for i, m := range g.Members {
		if err := errors.Join(m.Check(), once("member "+m.ID, []byte("member/"+m.ID))); err != nil {
			return fmt.Errorf("member %d: %w", i, err)
		}
		for _, k := range m.Keys {
			if err := once("key of member "+m.ID, k.Bytes()); err != nil {
				return err
			}
		}
	}
	if g.Policy == "" || len(g.Policy) > wire.MaxPolicy {
		return fmt.Errorf("policy: want a document of at most %d bytes", wire.MaxPolicy)
	}
	for r := range g.Floors {
		if !r.Known() {
			return fmt.Errorf("floors: action %q is unknown", r)
		}
	}
	if len(g.Witnesses) > wire.MaxWitnesses {
		return fmt.Errorf("%d witnesses, want at most %d", len(g.Witnesses), wire.MaxWitnesses)
	}
	for i, w := range g.Witnesses {
		if err := errors.Join(checkKeyName(w.Name), once("witness "+w.Name, []byte("witness/"+w.Name)), once("key of witness "+w.Name, w.Key[:])); err != nil {
			return fmt.Errorf("witness %d: %w", i, err)
		}
	}
	return nil
}

// checkNodes wants nodes that can be told apart, by once, and spoken to.
func (g *Genesis) checkNodes(once func(kind string, key []byte) error) error {
	for i, n := range g.Nodes {
		if err := errors.Join(
			CheckName("node name", n.Name), CheckName("operator", n.Operator), CheckName("region", n.Region),
			once("node name "+n.Name, []byte("name/"+n.Name)),
			once("consensus key of "+n.Name, n.Vote[:]),
			once("identity of "+n.Name, n.Identity.Bytes()),
		); err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
		if n.Identity.Ed25519() == nil || n.Vote == (HexKey{}) {
			return fmt.Errorf("node %s: a key is missing, or its identity has no Ed25519 half to pin channels to", n.Name)
		}
		for _, c := range n.Custody {
			if c.Domain != DomainValidator {
				return fmt.Errorf("node %s: unknown key domain %q", n.Name, c.Domain)
			}
			if c.Identity.Suite() != ident.Ed25519MLDSA65 {
				return fmt.Errorf("node %s: the identity of custody %s is not hybrid", n.Name, c.Domain)
			}
			if err := errors.Join(once("custody identity", c.Identity.Bytes()),
				once("custody "+string(c.Domain), []byte("custody/"+n.Name+"/"+string(c.Domain)))); err != nil {
				return fmt.Errorf("node %s: %w", n.Name, err)
			}
		}
		// What the ledger could not read back would stop every node at once.
		if _, err := ParseNodeRecord(n.Encode()); err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	return nil
}

// checkKeyName accepts what can name a key in a signed note, and is no node's.
func checkKeyName(s string) error {
	if s == "" || len(s) > 4*wire.MaxName || strings.HasPrefix(s, "quorate/") {
		return fmt.Errorf("name %q: want 1 to %d characters, and not those of a node", s, 4*wire.MaxName)
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c == '+' {
			return fmt.Errorf("name %q: want printable ASCII without spaces and +", s)
		}
	}
	return nil
}

// Node returns the record of a node by name.
func (g *Genesis) Node(name string) (NodeRecord, bool) {
	for _, n := range g.Nodes {
		if n.Name == name {
			return n, true
		}
	}
	return NodeRecord{}, false
}

// CheckName accepts what can be a component of a ledger path: lower-case
// letters, digits, and - . _ inside.
func CheckName(what, s string) error {
	if s == "" || len(s) > wire.MaxName {
		return fmt.Errorf("%s: want 1 to %d characters", what, wire.MaxName)
	}
	for i, c := range []byte(s) {
		inner := i > 0 && i < len(s)-1
		if (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (inner && (c == '-' || c == '.' || c == '_')) {
			continue
		}
		return fmt.Errorf("%s: character %d is not a lower-case letter, a digit or an inner - . _", what, i+1)
	}
	return nil
}

// Encode returns the record's canonical bytes, as the ledger keeps them.
func (n *NodeRecord) Encode() []byte {
	var e wire.Encoder
	e.U8(recordVersion)
	for _, s := range []string{n.Name, n.Operator, n.Region, n.Comet, n.Peer} {
		e.String(s)
	}
	e.Bytes(n.Identity.Bytes())
	e.Fixed(n.Vote[:])
	e.Count(len(n.Custody))
	for _, c := range n.Custody {
		e.String(string(c.Domain))
		e.Bytes(c.Identity.Bytes())
	}
	return e.Out()
}

// ParseNodeRecord reads what Encode returned.
func ParseNodeRecord(b []byte) (*NodeRecord, error) {
	var n NodeRecord
	d := wire.NewDecoder(b)
	if v := d.U8(); d.Err() == nil && v != recordVersion {
		d.Fail(fmt.Errorf("version %d", v))
	}
	for _, s := range []*string{&n.Name, &n.Operator, &n.Region, &n.Comet, &n.Peer} {
		*s = d.String(4 * wire.MaxName)
	}
	n.Identity = decodeIdentity(d)
	d.Fixed(n.Vote[:])
	for range d.Count(8, 8) {
		n.Custody = append(n.Custody, CustodyRecord{Domain(d.String(wire.MaxName)), decodeIdentity(d)})
	}
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse node record: %w", err)
	}
	return &n, nil
}

func decodeIdentity(d *wire.Decoder) ident.PublicKey {
	raw := d.Bytes(ident.MaxPublicKey)
	if d.Err() != nil {
		return ident.PublicKey{}
	}
	pk, err := ident.ParsePublicKey(raw)
	d.Fail(err)
	return pk
}
