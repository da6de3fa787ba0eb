package verify

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
)

// Genesis is what the genesis file says of who may sign.
type Genesis struct {
	Cluster [32]byte

	voters  voters
	signers map[string][]identity // of transactions, by "node/NAME" and "member/ID"
	lines   []lineKey             // of checkpoints, in the order in which they stand
	nodes   int
}

// ParseGenesis reads the genesis file. The cluster's id is the hash of its
// bytes, so that the file is the one or is of another cluster.
func ParseGenesis(doc []byte) (*Genesis, error) {
	if len(doc) > maxGenesis {
		return nil, fmt.Errorf("read genesis: %d bytes are over the limit of %d", len(doc), maxGenesis)
	}
	var file struct {
		Version int
		Nodes   []struct {
			Name         string
			Identity     string
			ConsensusKey string `json:"consensus_key"`
		}
		Members []struct {
			ID   string
			Keys []string
		}
		Witnesses []struct{ Name, Key string }
	}
	if err := json.Unmarshal(doc, &file); err != nil {
		return nil, fmt.Errorf("read genesis: %w", err)
	}
	if file.Version != 1 || len(file.Nodes) == 0 || len(file.Nodes) > maxNodes {
		return nil, fmt.Errorf("read genesis: version %d with %d nodes is unknown", file.Version, len(file.Nodes))
	}
	g := &Genesis{Cluster: taggedHash("quorate/v1/cluster", doc), signers: map[string][]identity{}, nodes: len(file.Nodes)}
	for _, w := range file.Witnesses {
		key, err := parseHex(w.Key)
		if err != nil || len(key) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("read genesis: key of witness %q", w.Name)
		}
		g.lines = append(g.lines, witnessLine(w.Name, key))
	}
	for i, n := range file.Nodes {
		key, err := parseHex(n.ConsensusKey)
		if err != nil || len(key) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("read genesis: consensus key of node %q", n.Name)
		}
		id, err := parseIdentity(n.Identity)
		if err == nil && id.raw[0] > suiteHybrid {
			err = errors.New("its suite is no node's")
		}
		if err != nil {
			return nil, fmt.Errorf("read genesis: identity of node %q: %w", n.Name, err)
		}
		g.voters = append(g.voters, voter{key, votePower})
		g.signers["node/"+n.Name] = []identity{id}
		g.lines = append(g.lines, nodeLines(g.origin()+"/"+n.Name, i, id)...)
	}
	g.voters.sorted()
	for _, m := range file.Members {
		for _, k := range m.Keys {
			id, err := parseIdentity(k)
			if err != nil {
				return nil, fmt.Errorf("read genesis: key of member %q: %w", m.ID, err)
			}
			g.signers["member/"+m.ID] = append(g.signers["member/"+m.ID], id)
		}
	}
	return g, nil
}

// chain is the consensus engine's name of the cluster.
func (g *Genesis) chain() string { return "quorate-" + hex.EncodeToString(g.Cluster[:16]) }

// origin is the log's name.
func (g *Genesis) origin() string { return "quorate/" + hex.EncodeToString(g.Cluster[:]) }

func parseHex(s string) ([]byte, error) {
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok {
		return nil, errors.New("no 0x")
	}
	return hex.DecodeString(digits)
}

// Suites of identity keys. Members may have others (SSH keys, passkeys), whose
// signatures this program does not check and counts as not verified.
const (
	suiteEd25519 = 1
	suiteHybrid  = 2
)

// identity is a key that signs under a tag.
type identity struct {
	raw []byte // suite, Ed25519, ML-DSA-65
	ml  *mldsa65.PublicKey
}

func parseIdentity(s string) (identity, error) {
	raw, err := parseHex(s)
	if err != nil {
		return identity{}, err
	}
	return newIdentity(raw)
}

func newIdentity(raw []byte) (identity, error) {
	id := identity{raw: raw}
	switch {
	case len(id.raw) == 1+ed25519.PublicKeySize && id.raw[0] == suiteEd25519:
		return id, nil
	case len(id.raw) == 1+ed25519.PublicKeySize+mldsa65.PublicKeySize && id.raw[0] == suiteHybrid:
		id.ml = new(mldsa65.PublicKey)
		return id, id.ml.UnmarshalBinary(id.raw[1+ed25519.PublicKeySize:])
	case len(id.raw) > 1 && id.raw[0] > suiteHybrid:
		return id, nil
	}
	return id, fmt.Errorf("key of %d bytes of an unknown suite", len(id.raw))
}

func (id identity) classical() ed25519.PublicKey {
	return ed25519.PublicKey(id.raw[1 : 1+ed25519.PublicKeySize])
}

// verify judges a signature over H(tag, message): both halves must hold.
func (id identity) verify(tag string, message, sig []byte) bool {
	digest := taggedHash(tag, message)
	if id.raw[0] > suiteHybrid || len(sig) < 1+ed25519.SignatureSize || sig[0] != id.raw[0] ||
		!ed25519.Verify(id.classical(), digest[:], sig[1:1+ed25519.SignatureSize]) {
		return false
	}
	rest := sig[1+ed25519.SignatureSize:]
	if id.ml == nil {
		return len(rest) == 0
	}
	return len(rest) == mldsa65.SignatureSize && mldsa65.Verify(id.ml, digest[:], []byte(tag), rest)
}

// votePower is every genesis validator's. It is even, because the engine halves
// it for the median that is block time.
const votePower = 2
