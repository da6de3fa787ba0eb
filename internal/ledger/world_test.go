package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// memory is committed state without a disk.
type memory map[string][]byte

func (m memory) Get(key []byte) []byte { return m[string(key)] }

func (m memory) Iterate(prefix []byte, visit func(key, value []byte) bool) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if strings.HasPrefix(k, string(prefix)) && !visit([]byte(k), m[k]) {
			return
		}
	}
}

func (m memory) commit(t testing.TB, writes []Write) {
	for _, w := range writes {
		switch {
		case w.Value == nil:
			delete(m, string(w.Key))
		case len(w.Value) == 0 || len(w.Key) > wire.MaxPath || len(w.Value) > wire.MaxFrame:
			t.Fatalf("the store would refuse %d bytes under %q", len(w.Value), w.Key)
		default:
			m[string(w.Key)] = w.Value
		}
	}
}

// world is a whole ledger in memory with everyone who may sign on it.
type world struct {
	testing.TB
	genesis *action.Genesis
	cluster action.ClusterID
	keys    map[action.Signer]ident.PrivateKey
	custody []ident.PrivateKey // of seat i at i-1

	state, bodies memory
	frontier      []byte
	block         Block
	nonces        map[action.Signer]uint64
	events        []Event // all there ever were
}

func nodeSigner(i int) action.Signer {
	return action.Signer{Class: action.SignerNode, Name: fmt.Sprintf("node%d", i)}
}

func memberSigner(id string) action.Signer {
	return action.Signer{Class: action.SignerMember, Name: id}
}

// Members of every world: alice is a custodian, olga observes.
var alice, olga = memberSigner("alice"), memberSigner("olga")

// seeded returns the same key for the same name, made once: a hybrid key
// takes a while.
func seeded(suite ident.Suite, name string) ident.PrivateKey {
	keyring.Lock()
	defer keyring.Unlock()
	if k, ok := keyring.keys[name]; ok {
		return k
	}
	a, b := sha256.Sum256([]byte("a"+name)), sha256.Sum256([]byte("b"+name))
	k, err := ident.FromSeed(suite, append(a[:], b[:]...))
	if err != nil {
		panic(err)
	}
	keyring.keys[name] = k
	return k
}

var keyring = struct {
	sync.Mutex
	keys map[string]ident.PrivateKey
}{keys: map[string]ident.PrivateKey{}}

// newWorld founds a cluster of n nodes and makes its first block. Custodians
// may do everything by rule, nodes only import.
func newWorld(t testing.TB, n int) *world {
	mainnet, err := eth.LookupNetwork("mainnet")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{TB: t, keys: map[action.Signer]ident.PrivateKey{}, state: memory{}, bodies: memory{}, nonces: map[action.Signer]uint64{}}
	g := &action.Genesis{
		Version: 1, Time: time.UnixMilli(1_700_000_000_000).UTC(), Namespace: "root", ImportHistory: action.HistoryNone,
		Network: mainnet.Config(),
		Rules: map[action.Rule][]string{
			action.RuleKeygen: {"member:custodian"}, action.RuleImport: {"node", "member:custodian"}, action.RuleExit: {"member:custodian"},
			action.RuleDeposit: {"member:custodian"}, action.RuleSettings: {"member:custodian", "node"}, action.RuleArchive: {},
		},
	}
	for i := range n {
		id := seeded(ident.Ed25519, fmt.Sprint("node", i))
		c := seeded(ident.Ed25519MLDSA65, fmt.Sprint("custody", i))
		w.keys[nodeSigner(i)], w.custody = id, append(w.custody, c)
		g.Nodes = append(g.Nodes, action.NodeRecord{
			Name: nodeSigner(i).Name, Operator: fmt.Sprint("op", i), Region: "r", Identity: id.Public(),
			Vote: action.HexKey(sha256.Sum256(fmt.Append(nil, i))), Comet: "127.0.0.1:1", Peer: "127.0.0.1:2",
			Custody: []action.CustodyRecord{{Domain: action.DomainValidator, Identity: c.Public()}},
		})
	}
	for who, role := range map[action.Signer]string{alice: action.RoleCustodian, olga: action.RoleObserver} {
		key := seeded(ident.Ed25519MLDSA65, who.Name)
		w.keys[who] = key
		g.Members = append(g.Members, action.MemberRecord{ID: who.Name, Name: who.Name, Operator: "op0", Region: "r",
			Roles: []string{role}, Keys: []ident.PublicKey{seeded(ident.Ed25519, who.Name+" old").Public(), key.Public()}})
	}
	slices.SortFunc(g.Members, func(a, b action.MemberRecord) int { return strings.Compare(a.ID, b.ID) })
	doc, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	if w.genesis, w.cluster, err = action.ParseGenesis(doc); err != nil {
		t.Fatal(err)
	}
	w.block.Time = uint64(g.Time.UnixMilli())
	w.next()
	return w
}

// view opens the committed state.
func (w *world) view() *State {
	s, err := NewState(w.cluster, proof.Namespace(w.genesis.Namespace), w.state, w.bodies, w.frontier)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// next makes a block of transactions one second later.
func (w *world) next(txs ...[]byte) []Result { return w.at(w.block.Time+1000, txs...) }

func (w *world) at(now uint64, txs ...[]byte) []Result {
	w.Helper()
	w.block = Block{Height: w.block.Height + 1, Time: now, Hash: sha256.Sum256(binary.BigEndian.AppendUint64(nil, now))}
	s := w.view()
	if w.block.Height == 1 {
		if err := s.Genesis(w.genesis); err != nil {
			w.Fatal(err)
		}
	}
	s.Begin(w.block)
	var results []Result
	for _, raw := range txs {
		results = append(results, carry(s, w.block, raw))
	}
	w.commit(s)
	return results
}

// carry is what a replica does with one transaction of a block.
func carry(s *State, b Block, raw []byte) Result {
	tx, err := Parse(raw)
	if err != nil {
		return Result{Code: err.(*Error).Code, Info: err.Error()}
	}
	v, err := s.Verify(tx, nil)
	if err != nil {
		return Result{Code: err.(*Error).Code, Info: err.Error()}
	}
	return s.Apply(b, v)
}

func (w *world) commit(s *State) {
	w.state.commit(w, s.Writes())
	w.bodies.commit(w, s.Bodies())
	w.frontier = s.Frontier()
	w.events = append(w.events, s.Events()...)
}

// digest stands for everything that a block can change.
func (w *world) digest() [32]byte { return digest(w.view()) }

func digest(s *State) [32]byte {
	h := sha256.New()
	for _, all := range []func(func(k, v []byte) bool){
		func(visit func(k, v []byte) bool) { s.iterate("", visit) },
		func(visit func(k, v []byte) bool) {
			for _, b := range s.Bodies() {
				visit(b.Key, b.Value)
			}
		},
	} {
		all(func(k, v []byte) bool {
			fmt.Fprintf(h, "%d %d ", len(k), len(v))
			h.Write(k)
			h.Write(v)
			return true
		})
	}
	h.Write(s.Frontier())
	fmt.Fprint(h, len(s.Events()))
	return [32]byte(h.Sum(nil))
}

// tx signs a transaction with the signer's next number.
func (w *world) tx(who action.Signer, kind action.Kind, body []byte) []byte {
	w.nonces[who]++
	return w.numbered(who, w.nonces[who], kind, body)
}

func (w *world) numbered(who action.Signer, nonce uint64, kind action.Kind, body []byte) []byte {
	tx := action.Tx{Cluster: w.cluster, Kind: kind, Signer: who, Nonce: nonce, Body: body}
	binary.BigEndian.PutUint64(tx.Salt[:], nonce)
	return tx.Sign(w.keys[who])
}

// want makes a block of one transaction and checks its code.
func (w *world) want(code Code, raw []byte) Result {
	w.Helper()
	before, nonce := w.digest(), w.block.Time
	r := w.next(raw)[0]
	if r.Code != code {
		w.Fatalf("got %s (%s), want %s", r.Code, r.Info, code)
	}
	// Only what succeeds or is denied leaves a trace; time does not, here.
	if changed := w.digest() != before; changed != (code == OK || code == CodeDenied) {
		w.Fatalf("%s (%s) at %d: state changed: %t", r.Code, r.Info, nonce, changed)
	}
	return r
}

func grantOf(a action.Action) []byte { return GrantRequest{&a}.Encode() }

// keygen returns the parameters of a ceremony of this cluster.
func (w *world) keygen(keys int, nonce byte) dkg.Params {
	roster := action.NewRoster(w.genesis.Nodes, action.DomainValidator)
	th, err := action.DefaultThreshold(len(roster))
	if err != nil {
		w.Fatal(err)
	}
	return dkg.Params{
		Mode: dkg.ModeKeygen, Suite: dkg.SuiteG1, N: uint8(th.N()), T: uint8(th.T()), Keys: uint32(keys), Nonce: [32]byte{nonce},
		Cluster: w.cluster, Roster: roster.Hash(w.cluster),
		Deadlines: dkg.Deadlines{Join: 60e3, Deal: 60e3, Verify: 60e3, Answer: 60e3, Confirm: 60e3, Publish: 60e3},
	}
}

// giveKey puts a key into the inventory without a ceremony, for tests of what
// comes after one.
func (w *world) giveKey(k action.KeyRecord) *action.KeyRecord {
	k.Domain, k.Curve, k.T, k.N = action.DomainValidator, action.CurveBLS12381G1, 3, 4
	k.PublicKey = bytes.Repeat(k.PublicKey, 48)
	k.Commitment = make([]byte, 3*48)
	s := w.view()
	s.putKey(&k)
	w.commit(s)
	return &k
}

// participant plays a seat; its seed is the seat's own.
func (w *world) participant(p dkg.Params, seat int) *dkg.Participant {
	seed := sha256.Sum256(fmt.Append(nil, "seed", seat))
	q, err := dkg.NewParticipant(p, seat, secret.New(seed[:]))
	if err != nil {
		w.Fatal(err)
	}
	return q
}

func (w *world) join(p dkg.Params, seat int) dkg.Message { return w.participant(p, seat).Join() }

// message is what a custody process has its node post.
func (w *world) message(p dkg.Params, seat int, m dkg.Message) []byte {
	raw, id := m.Encode(), p.ID()
	sig := w.custody[seat-1].Sign(wire.TagCeremonyMessage, action.CeremonyParts(id, uint16(seat), raw)...)
	return CeremonyMessage{Ceremony: id, Seat: uint16(seat), Message: raw, Signature: sig}.Encode()
}

// openUnchecked puts an open ceremony on the ledger, whatever the limits say.
func (w *world) openUnchecked(p dkg.Params) {
	board, _, err := dkg.NewBoard(p, w.block.Time)
	if err != nil {
		w.Fatal(err)
	}
	s, id := w.view(), p.ID()
	s.set(s.ns.Ceremony(id[:]), board.Encode())
	s.set(s.aboutPath(id), About{}.encode())
	s.set(s.openPath(id), id[:])
	w.commit(s)
}
