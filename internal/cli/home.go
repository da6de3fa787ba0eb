package cli

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/node"
	"github.com/quorate/quorate/internal/opsapi"
)

// home is a node's directory.
type home string

func (h home) path(name string) string { return filepath.Join(string(h), name) }

func (h home) record() string          { return h.path("node.json") }
func (h home) config() string          { return h.path("config.yaml") }
func (h home) genesis() string         { return h.path("genesis.json") }
func (h home) keymanagerToken() string { return h.path("keymanager.token") }
func (h home) opsToken() string        { return h.path("ops.token") }

func (h home) custody(d action.Domain) string       { return h.path("custody-" + string(d)) }
func (h home) custodySocket(d action.Domain) string { return h.path("custody-" + string(d) + ".sock") }

// config is HOME/config.yaml: what an operator may change at any time. What
// others rely on stands in the genesis.
type config struct {
	Listen listen `yaml:"listen"`

	// Custody says where the custody process of the validator domain is.
	Custody struct {
		// Binary is started as a child, and node and custody then live and die
		// together. Empty: quorate-custody beside this program or in PATH.
		Binary string `yaml:"binary,omitempty"`
		// Socket, when set, belongs to a custody process that somebody else
		// runs, under a user of its own: what production should do.
		Socket string `yaml:"socket,omitempty"`
	} `yaml:"custody,omitempty"`

	// Strict answers 400 to a signing root that contradicts the duty, where
	// Web3Signer answers 500.
	Strict bool `yaml:"strict,omitempty"`

	// Passkeys, when set, lets members make passkeys for the relying party id
	// and use them on the origins, which must be the same at all operators.
	Passkeys opsapi.RelyingParty `yaml:"passkeys,omitempty"`

	// Witnesses says where to have checkpoints of the audit log cosigned: the
	// submission prefix of each (C2SP tlog-witness), under its name in the
	// genesis.
	Witnesses map[string]string `yaml:"witnesses,omitempty"`

	// Hosts are further names by which the HTTP servers may be addressed.
	Hosts []string `yaml:"hosts,omitempty"`

	// KeepBlocks, when set, is how long this node keeps blocks at most, as 720h,
	// a week at least. In any case they go when the policy has bodies of events
	// erased. Who was away for longer than the others keep blocks cannot catch up.
	KeepBlocks time.Duration `yaml:"keep_blocks,omitempty"`

	// Log is the least level that is logged: debug, info, warn or error.
	Log string `yaml:"log"`
}

func (c config) witnesses() (out []node.Witness) {
	for _, name := range slices.Sorted(maps.Keys(c.Witnesses)) {
		out = append(out, node.Witness{Name: name, URL: c.Witnesses[name]})
	}
	return out
}

// listen is where a node listens, each as host:port.
type listen struct {
	Signer    string `yaml:"signer"` // Web3Signer and Keymanager APIs
	Metrics   string `yaml:"metrics"`
	Ops       string `yaml:"ops"`       // operator API
	Consensus string `yaml:"consensus"` // other nodes' consensus engines
	Peer      string `yaml:"peer"`      // other nodes' requests for partial signatures
}

// Offsets of a node's ports from its base port.
const (
	portSigner    = 0
	portMetrics   = 1
	portOps       = 3
	portConsensus = 4
	portPeer      = 5
)

// listenAt gives each server its port above base.
func listenAt(host string, base int) listen {
	at := func(offset int) string { return net.JoinHostPort(host, strconv.Itoa(base+offset)) }
	return listen{at(portSigner), at(portMetrics), at(portOps), at(portConsensus), at(portPeer)}
}

// newNode says what a home is made for.
type newNode struct {
	Name, Operator, Region string
	Consensus, Peer        string // where other nodes find this one
	Config                 config
	CustodyBinary          string
	KeymanagerToken        []byte // nil: a new one
}

// initHome creates a node's home: keys, tokens, configuration, a custody
// process's own home, and the record that goes into the genesis. It refuses
// a directory that holds a node already.
func initHome(h home, n newNode) (action.NodeRecord, error) {
	rec := action.NodeRecord{Name: n.Name, Operator: n.Operator, Region: n.Region, Comet: n.Consensus, Peer: n.Peer}
	for what, v := range map[string]string{"name": n.Name, "operator": n.Operator, "region": n.Region} {
		if err := action.CheckName(what, v); err != nil {
			return rec, fail(exitBadUse, "", "%w", err)
		}
	}
	for what, v := range map[string]string{"consensus": n.Consensus, "peer": n.Peer} {
		if _, _, err := net.SplitHostPort(v); err != nil {
			return rec, fail(exitBadUse, "--"+what+"-address takes host:port, as other nodes reach it", "%s address %q: %w", what, v, err)
		}
	}
	if _, err := os.Lstat(h.record()); !errors.Is(err, os.ErrNotExist) {
		return rec, fail(exitFailed, "quorate node run --home "+string(h), "create node: %s exists", h.record())
	}
	if err := os.MkdirAll(string(h), 0o700); err != nil {
		return rec, fmt.Errorf("create node: %w", err)
	}
	var err error
	if rec.Identity, rec.Vote, err = node.InitKeys(string(h)); err != nil {
		return rec, err
	}
	custody, err := initCustody(n.CustodyBinary, h, action.DomainValidator)
	if err != nil {
		return rec, err
	}
	rec.Custody = []action.CustodyRecord{custody}
	if n.KeymanagerToken == nil {
		n.KeymanagerToken = newToken()
	}
	if err := writeNew(h.keymanagerToken(), n.KeymanagerToken, 0o600); err != nil {
		return rec, err
	}
	if err := writeNew(h.opsToken(), newToken(), 0o600); err != nil {
		return rec, err
	}
	text, err := yaml.Marshal(n.Config)
	if err != nil {
		return rec, fmt.Errorf("create node: %w", err)
	}
	if err := writeNew(h.config(), text, 0o600); err != nil {
		return rec, err
	}
	// The record comes last: a home that has one is complete.
	doc, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return rec, fmt.Errorf("create node: %w", err)
	}
	return rec, writeNew(h.record(), append(doc, '\n'), 0o644)
}

// newToken returns 256 random bits as text.
func newToken() []byte {
	raw := make([]byte, 32)
	rand.Read(raw)
	return append([]byte(hex.EncodeToString(raw)), '\n')
}

// initCustody lets the custody binary make its own home and keys, and returns
// what it says of itself.
func initCustody(binary string, h home, domain action.Domain) (action.CustodyRecord, error) {
	var rec action.CustodyRecord
	out, err := runCustody(binary, "init", "--home", h.custody(domain), "--domain", string(domain))
	if err != nil {
		return rec, err
	}
	if err := json.Unmarshal(out, &rec); err != nil {
		return rec, fmt.Errorf("create custody: read its answer: %w", err)
	}
	return rec, nil
}

// joinCluster gives a home its genesis and binds its custody process to it.
func joinCluster(h home, doc []byte, custodyBinary string) (action.ClusterID, error) {
	g, id, err := action.ParseGenesis(doc)
	if err != nil {
		return id, err
	}
	own, err := h.readRecord()
	if err != nil {
		return id, err
	}
	if _, ok := g.Node(own.Name); !ok {
		return id, fail(exitFailed, "give "+h.record()+" to whoever assembles the genesis", "join cluster: the genesis knows no node %q", own.Name)
	}
	// The genesis last: a home that has one has joined.
	staged := h.path("genesis.joining.json")
	if err := durable.WriteOSFile(staged, doc, 0o644); err != nil {
		return id, err
	}
	if _, err := os.Lstat(h.genesis()); err == nil {
		return id, fail(exitFailed, "a node belongs to one cluster for ever; make another home", "join cluster: %s exists", h.genesis())
	}
	if _, err := runCustody(custodyBinary, "bind", "--home", h.custody(action.DomainValidator), "--genesis", staged, "--node", own.Name); err != nil {
		return id, err
	}
	if err := os.Rename(staged, h.genesis()); err != nil {
		return id, fmt.Errorf("join cluster: %w", err)
	}
	return id, nil
}

func (h home) readRecord() (action.NodeRecord, error) {
	recs, err := readAll[action.NodeRecord]([]string{h.record()})
	if errors.Is(err, os.ErrNotExist) {
		return action.NodeRecord{}, fail(exitNotFound, "quorate node init --home "+string(h), "open node: %w", err)
	}
	if err != nil {
		return action.NodeRecord{}, err
	}
	return recs[0], nil
}

func (h home) readConfig() (config, error) {
	var c config
	raw, err := durable.ReadFile(durable.OS{}, h.config(), maxNetworkFile)
	if err != nil {
		return c, hinted(err, "quorate node init --home "+string(h))
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("read %s: %w", h.config(), err)
	}
	if c.KeepBlocks != 0 && c.KeepBlocks < minKeepBlocks {
		return c, fail(exitBadUse, "leave it out, or say at least 168h", "read %s: keep_blocks is %s: who was away for longer could not catch up", h.config(), c.KeepBlocks)
	}
	return c, nil
}

const minKeepBlocks = 7 * 24 * time.Hour

// runCustody runs a verb of the custody binary that ends by itself.
func runCustody(binary string, args ...string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", custodyName, args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
