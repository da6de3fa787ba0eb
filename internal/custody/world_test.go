package custody

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/proof/prooftest"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/seal"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/slashing"
	"github.com/quorate/quorate/internal/wire"
)

// world is a cluster whose ledger is in the test's hands: certificates are
// signed by real validator keys over real headers and trees, and the custody
// processes believe what they believe of the real one. The test plays all
// nodes, in an intruder's hands or not.
type world struct {
	handed  []byte // key that an assembly hands over
	t       testing.TB
	dir     string
	doc     []byte
	genesis *action.Genesis
	cluster action.ClusterID
	network *eth.Network
	roster  action.Roster
	ledger  *prooftest.Ledger
	lives   int
	log     io.Writer
	disks   map[int]durable.FS // under nodes' safes and records; durable.OS elsewhere
	shares  uint32             // the epoch that signatures are asked for in
}

const ns = proof.Namespace("root")

// newWorld founds a cluster of n nodes; edit may change its genesis.
func newWorld(t testing.TB, n int, edit func(*action.Genesis)) *world {
	t.Helper()
	mainnet, err := eth.LookupNetwork("mainnet")
	if err != nil {
		t.Fatal(err)
	}
	// A test that asks for the epoch twice gets the same: the world's begins
	// with it, and outlasts it.
	slot, _ := mainnet.SlotAt(time.Now())
	epoch := time.Duration(mainnet.EpochOf(slot)*mainnet.Preset.SlotsPerEpoch) * mainnet.SlotDuration
	mainnet.GenesisTime = uint64(time.Now().Add(-epoch).Unix())
	w := &world{t: t, dir: t.TempDir(), log: io.Discard}
	g := &action.Genesis{Version: 1, Time: time.Now().UTC().Truncate(time.Second), Namespace: string(ns),
		Network: mainnet.Config(), ImportHistory: action.HistoryNone, Policy: "version: 1\n"}
	for i := range n {
		rec, err := Init(w.home(i), action.DomainValidator)
		if err != nil {
			t.Fatal(err)
		}
		identity, _, err := ident.Generate(ident.Ed25519, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		g.Nodes = append(g.Nodes, action.NodeRecord{Name: nodeName(i), Operator: fmt.Sprintf("op%d", i), Region: "local",
			Identity: identity.Public(), Vote: action.HexKey(prooftest.Key(i).Public().(ed25519.PublicKey)), Custody: []action.CustodyRecord{rec}})
	}
	if edit != nil {
		edit(g)
	}
	if w.doc, err = json.Marshal(g); err != nil {
		t.Fatal(err)
	}
	if w.genesis, w.cluster, err = action.ParseGenesis(w.doc); err != nil {
		t.Fatal(err)
	}
	if w.network, err = w.genesis.EthNetwork(); err != nil {
		t.Fatal(err)
	}
	w.roster = action.NewRoster(w.genesis.Nodes, action.DomainValidator)
	w.ledger = prooftest.New(n)
	w.ledger.Cluster, w.ledger.ChainID = w.cluster, w.cluster.ChainID()
	w.ledger.Block(time.Since(w.ledger.Time()))
	for i := range n {
		if err := Bind(w.home(i), w.doc, nodeName(i)); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func nodeName(i int) string        { return fmt.Sprintf("node%d", i) }
func (w *world) home(i int) string { return filepath.Join(w.dir, fmt.Sprint(i)) }
func (w *world) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// open starts the custody of node i, without socket, lock and confinement.
func (w *world) open(i int) *Process {
	w.t.Helper()
	p, err := open(Config{Home: w.home(i), Log: w.logger(), fs: w.disks[i]})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { p.close() }) // once more does no harm
	return p
}

// start opens the custody of node i as an honest node would have it: anchored
// and registered, with a lease.
func (w *world) start(i int) *Process {
	w.t.Helper()
	p := w.open(i)
	w.anchor(p)
	w.lease(p)
	return p
}

// restart ends a process and starts the next one on the same home.
func (w *world) restart(p *Process) *Process {
	w.t.Helper()
	p.close()
	return w.start(int(p.seat.Index) - 1)
}

// certify makes a block and proves paths by its header.
func (w *world) certify(paths ...proof.Path) []byte {
	w.t.Helper()
	w.ledger.Block(time.Millisecond)
	return w.prove(paths...)
}

// prove proves paths by the last header.
func (w *world) prove(paths ...proof.Path) []byte {
	w.t.Helper()
	raw, err := w.ledger.Certify(0, paths...).Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

func (w *world) anchor(p *Process) {
	w.t.Helper()
	nonce := w.must(p, MethodChallenge, nil)
	path := ns.Fresh(p.seat.Node, string(p.domain))
	w.ledger.Set(path, nonce)
	w.must(p, MethodAnchor, w.certify(path))
}

// lease registers a process's incarnation with as much as a ledger may give.
func (w *world) lease(p *Process) {
	w.t.Helper()
	w.lives++
	w.leaseUpTo(p, action.Incarnation{Number: uint64(w.lives), ID: p.life.id, Ceiling: action.CeilingAt(w.network, time.Now())})
}

func (w *world) leaseUpTo(p *Process, in action.Incarnation) {
	w.t.Helper()
	path := ns.Incarnation(p.seat.Node, string(p.domain))
	w.ledger.Set(path, in.Encode())
	w.must(p, MethodLease, w.certify(path))
}

// ask is one call over the socket, without the socket.
func ask(p *Process, method uint16, body []byte) ([]byte, error) {
	return p.handle(context.Background(), method, bytes.Clone(body))
}

func (w *world) must(p *Process, method uint16, body []byte) []byte {
	w.t.Helper()
	out, err := ask(p, method, body)
	if err != nil {
		w.t.Fatalf("method %d: %v", method, err)
	}
	return out
}

// refused wants an error with a code.
func refused(t testing.TB, what string, err error, want rpc.Code) {
	t.Helper()
	if err == nil || rpc.CodeOf(err) != want {
		t.Errorf("%s: got %v, want %s", what, err, want)
	}
}

// give puts a share into a process as a ceremony would have, and returns its
// key: the share's own public key, so that its partial is a signature of it.
func (w *world) give(p *Process, name string) [bls.PublicKeySize]byte {
	w.t.Helper()
	scalar := sha256.Sum256([]byte(name))
	scalar[0] &= 0x3f
	e := seal.Entry{Secret: secret.New(bytes.Clone(scalar[:]))}
	share, err := bls.NewShare(p.seat.Index, &scalar)
	if err != nil {
		w.t.Fatal(err)
	}
	key := share.PublicShare().Bytes()
	e.Header = p.header(seal.KindShare, key[:])
	e.Curve, e.N, e.T, e.X = action.CurveBLS12381G1, uint16(len(p.roster)), uint16(len(p.roster)), p.seat.Index
	if err := errors.Join(p.record.Register(key, slashing.History{Mode: slashing.HistoryNone}), p.safe.Put(e), p.shares.load(e)); err != nil {
		w.t.Fatal(err)
	}
	return key
}

// bringIn is a request to take a history that the ledger granted.
func (w *world) bringIn(doc []byte) []byte {
	w.t.Helper()
	return w.historyRequest(doc, doc, time.Minute)
}

// historyRequest hands over one document with the grant of another.
func (w *world) historyRequest(doc, granted []byte, left time.Duration) []byte {
	w.t.Helper()
	ic, _ := slashing.ParseInterchange(granted)
	a := HistoryAction(granted, len(ic.Keys))
	hash := a.Hash(w.cluster)
	path := ns.Grant(hash[:])
	g := action.Grant{Request: action.Request{Action: a.Encode(), By: "node/" + nodeName(0)}, Expires: uint64(time.Now().Add(left).UnixMilli())}
	w.ledger.Set(path, g.Encode())
	var e wire.Encoder
	Evidence{Certificate: w.certify(path)}.encode(&e)
	e.Bytes(doc)
	return e.Out()
}

// fork is the fork information of every duty here.
func (w *world) fork() eth.ForkInfo {
	return eth.ForkInfo{CurrentVersion: w.network.Forks[eth.Fulu].Version, GenesisValidatorsRoot: *w.network.GenesisValidatorsRoot}
}

func (w *world) epoch() uint64 {
	slot, _ := w.network.SlotAt(time.Now())
	return w.network.EpochOf(slot)
}

func (w *world) attestation(source, target uint64, head byte) eth.Duty {
	return eth.Duty{Fork: w.fork(), Message: &eth.AttestationData{Slot: target * 32, BeaconBlockRoot: eth.Root{head},
		Source: eth.Checkpoint{Epoch: source}, Target: eth.Checkpoint{Epoch: target}}}
}

func (w *world) block(slot uint64, body byte) eth.Duty {
	return eth.Duty{Fork: w.fork(), Message: &eth.BeaconBlockHeader{Slot: slot, BodyRoot: eth.Root{body}}}
}

// sign asks for a partial signature.
func (w *world) sign(p *Process, key [bls.PublicKeySize]byte, duty eth.Duty, cert []byte) (SignResponse, error) {
	raw, err := ask(p, MethodSign, SignRequest{Key: key, Epoch: w.shares, Duty: eth.EncodeDuty(duty), Evidence: Evidence{Certificate: cert}}.Encode())
	if err != nil {
		return SignResponse{}, err
	}
	return ParseSignResponse(raw)
}

// signed wants a partial of a key that give made, and verifies it.
func (w *world) signed(p *Process, key [bls.PublicKeySize]byte, duty eth.Duty, cert []byte) {
	w.t.Helper()
	answer, err := w.sign(p, key, duty, cert)
	if err != nil {
		w.t.Errorf("sign %s: %v", duty.Kind(), err)
		return
	}
	if !w.verifies(key, duty, answer) {
		w.t.Errorf("the partial of a %s does not verify", duty.Kind())
	}
}

func (w *world) verifies(key [bls.PublicKeySize]byte, duty eth.Duty, answer SignResponse) bool {
	partial, err := bls.ParsePartial(answer.Partial[:])
	if err != nil || partial.Index() == 0 {
		return false
	}
	// One partial of index 1 and threshold 1 is the share's own signature.
	raw := partial.Bytes()
	raw[0], raw[1] = 0, 1
	if partial, err = bls.ParsePartial(raw[:]); err != nil {
		return false
	}
	sig, err := bls.Combine(1, []bls.Partial{partial})
	if err != nil {
		return false
	}
	pk, err := bls.ParsePublicKey(key[:])
	if err != nil {
		return false
	}
	root, err := duty.SigningRoot(w.network)
	return err == nil && bls.Verify(pk, root, sig)
}

// bytesOf encodes a list of public keys as the socket has it.
func keyList(keys ...[bls.PublicKeySize]byte) []byte { return EncodeKeys(keys) }

// ceremonyRequest is what Client.Ceremony sends.
func ceremonyRequest(id [32]byte, cert []byte, imports [][]byte) []byte {
	var e wire.Encoder
	e.Fixed(id[:])
	Evidence{Certificate: cert}.encode(&e)
	e.Count(len(imports))
	for _, k := range imports {
		e.Bytes(k)
	}
	return e.Out()
}

// blobRequest is what Client.Blob sends.
func blobRequest(id, name [32]byte, body []byte) []byte {
	var e wire.Encoder
	e.Fixed(id[:])
	e.Fixed(name[:])
	e.Bytes(body)
	return e.Out()
}
