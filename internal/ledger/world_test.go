package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/ledger/ledgertest"
	"github.com/quorate/quorate/internal/policy"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/wire"
)

// store commits what a real store would take.
func store(t testing.TB, m ledgertest.Memory, writes []Write) {
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

// world is a ledger in memory with everyone who may sign on it.
type world struct {
	testing.TB
	*ledgertest.Cluster

	state, bodies ledgertest.Memory
	frontier      []byte
	cache         *Cache
	block         Block
	events        []Event // all there ever were
}

var (
	node0 = ledgertest.Node(0)
	node1 = ledgertest.Node(1)
	alice = ledgertest.Alice
	olga  = ledgertest.Olga
)

// newWorld founds a cluster of n nodes and makes its first block.
func newWorld(t testing.TB, n int) *world {
	w := &world{TB: t, Cluster: ledgertest.New(t, n), state: ledgertest.Memory{}, bodies: ledgertest.Memory{}, cache: &Cache{}}
	w.block.Time = uint64(w.Genesis.Time.UnixMilli())
	w.next()
	return w
}

// view opens the committed state.
func (w *world) view() *State {
	s, err := NewState(w.ID, proof.Namespace(w.Genesis.Namespace), w.state, w.bodies, w.frontier, w.cache)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// next makes a block of transactions one second later.
func (w *world) next(txs ...[]byte) []Result { return w.at(w.block.Time+1000, txs...) }

func (w *world) at(now uint64, txs ...[]byte) []Result {
	w.Helper()
	s := w.begin(now)
	var results []Result
	for _, raw := range txs {
		results = append(results, carry(s, w.block, raw))
	}
	w.commit(s)
	return results
}

func (w *world) begin(now uint64) *State {
	w.Helper()
	w.block = Block{Height: w.block.Height + 1, Time: now, Hash: sha256.Sum256(binary.BigEndian.AppendUint64(nil, now))}
	s := w.view()
	if w.block.Height == 1 {
		if err := s.Genesis(w.Genesis); err != nil {
			w.Fatal(err)
		}
	}
	s.Begin(w.block)
	return s
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
	store(w, w.state, s.Writes())
	store(w, w.bodies, s.Bodies())
	w.frontier = s.Frontier()
	w.events = append(w.events, s.Events()...)
}

// digest stands for all that a block can change, and for all that it has
// changed so far.
func digest(s *State) [32]byte { return digestBut(s, "") }

// trace is that without the numbers of transactions, which a refusal uses up.
func trace(s *State) [32]byte { return digestBut(s, s.ns.Prefix("nonce")) }

// moved says whether a transaction left the trace that its code allows.
func moved(s *State, before, traced [32]byte, code Code) bool {
	if code == OK || code == CodeDenied {
		return digest(s) != before
	}
	return trace(s) == traced
}

func digestBut(s *State, without proof.Path) [32]byte {
	h := sha256.New()
	pair := func(k, v []byte) bool {
		fmt.Fprintf(h, "%d %d %t ", len(k), len(v), v == nil)
		h.Write(k)
		h.Write(v)
		return true
	}
	s.iterate("", func(k, v []byte) bool {
		return without != "" && strings.HasPrefix(string(k), string(without)) || pair(k, v)
	})
	for _, b := range s.Bodies() {
		pair(b.Key, b.Value)
	}
	fmt.Fprintf(h, "%x %d", s.Frontier(), len(s.Events()))
	return [32]byte(h.Sum(nil))
}

// want makes a block of one transaction, checks its code, and that only what
// succeeds or is denied leaves a trace.
func (w *world) want(code Code, raw []byte) Result {
	w.Helper()
	s := w.begin(w.block.Time + 1000)
	before, traced := digest(s), trace(s)
	r := carry(s, w.block, raw)
	if r.Code != code {
		w.Fatalf("got %s (%s), want %s", r.Code, r.Info, code)
	}
	if !moved(s, before, traced, code) {
		w.Fatalf("%s (%s): left no trace, or one that it must not leave", r.Code, r.Info)
	}
	w.commit(s)
	return r
}

// govern puts a policy in force, whoever may or may not change it.
func (w *world) govern(document string) {
	w.Helper()
	p, err := policy.Compile([]byte(document))
	if err != nil {
		w.Fatal(err)
	}
	s := w.view()
	s.putPolicy(p.Hash(), []byte(document))
	w.commit(s)
}

// last returns the newest event.
func (w *world) last() Event { return w.events[len(w.events)-1] }

func grantOf(a action.Action) []byte { return Ask{Action: &a}.Encode() }

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

// say is the body of a transaction that carries what a seat says.
func (w *world) say(id [32]byte, seat int, m dkg.Message) []byte {
	raw := m.Encode()
	return CeremonyMessage{Ceremony: id, Seat: uint16(seat), Message: raw, Signature: w.Say(id, seat, raw)}.Encode()
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
