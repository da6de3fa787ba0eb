package verify

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Genesis is what the genesis file says of who may sign.
type Genesis struct {
	Cluster [32]byte

	namespace string // first component of the ledger's paths

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
		Version   int
		Namespace string
		Nodes     []struct {
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
	g := &Genesis{Cluster: taggedHash("quorate/v1/cluster", doc), namespace: file.Namespace, signers: map[string][]identity{}, nodes: len(file.Nodes)}
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

// votePower is every genesis validator's. It is even, because the engine halves
// it for the median that is block time.
const votePower = 2
