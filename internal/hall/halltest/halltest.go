// Package halltest puts a hall before a real ledger in memory, with real
// participants, for tests of what stands before a hall.
//
// Owns: [World], a cluster's ledger on which one ceremony is open.
//
// Never: a mock. Consensus is missing: each transaction is a block.
package halltest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"sync"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/dkg/assembly/assemblytest"
	"github.com/quorate/quorate/internal/hall"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/ledger/ledgertest"
)

// World is a real ledger that makes a block of each transaction, a hall
// before it, and people.
type World struct {
	testing.TB
	*assemblytest.Crowd
	Cluster *ledgertest.Cluster
	Hall    *hall.Hall
	Config  hall.Config // of the hall
	ID      [32]byte    // of the ceremony
	Sent    int         // transactions that the hall handed over

	mu            sync.Mutex
	state, bodies ledgertest.Memory
	frontier      []byte
	block         ledger.Block
	cache         ledger.Cache
}

// New opens the crowd's ceremony.
func New(t testing.TB, c *assemblytest.Crowd) *World {
	f := &World{TB: t, Crowd: c, Cluster: ledgertest.New(t, 4), state: ledgertest.Memory{}, bodies: ledgertest.Memory{}, ID: c.Params.ID()}
	f.block.Time = uint64(f.Cluster.Genesis.Time.UnixMilli())
	f.Config = hall.Config{View: f.View, Submit: f.Submit, Dir: t.TempDir()}
	f.Hall = hall.New(f.Config)
	f.Make(0, nil)
	ask := ledger.Ask{Action: c.Action("treasury"), Seats: c.List.Encode()}
	if r := f.Make(1000, f.Cluster.Tx(ledgertest.Alice, action.KindRequest, ask.Encode())); r.Code != ledger.OK {
		t.Fatal(r.Info)
	}
	return f
}

func (f *World) view() *ledger.State {
	s, err := ledger.NewState(f.Cluster.ID, "root", maps.Clone(f.state), maps.Clone(f.bodies), f.frontier, &f.cache)
	if err != nil {
		f.Fatal(err)
	}
	return s
}

// View is the committed state.
func (f *World) View() (*ledger.State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.view(), nil
}

// Make makes a block some time later, of one transaction or none.
func (f *World) Make(later uint64, raw []byte) (r ledger.Result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.view()
	f.block.Height, f.block.Time = f.block.Height+1, f.block.Time+later
	f.block.Hash = sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(f.block.Height)))
	if f.block.Height == 1 {
		if err := s.Genesis(f.Cluster.Genesis); err != nil {
			f.Fatal(err)
		}
	}
	s.Begin(f.block)
	if raw != nil {
		tx, err := ledger.Parse(raw)
		if err != nil {
			f.Fatal(err)
		}
		v, err := s.Verify(tx, nil)
		if err != nil {
			f.Fatal(err)
		}
		r = s.Apply(f.block, v)
	}
	for _, w := range s.Writes() {
		if f.state[string(w.Key)] = w.Value; w.Value == nil {
			delete(f.state, string(w.Key))
		}
	}
	for _, w := range s.Bodies() {
		f.bodies[string(w.Key)] = w.Value
	}
	f.frontier = s.Frontier()
	return r
}

// Submit makes a block of a transaction of the first node.
func (f *World) Submit(_ context.Context, kind action.Kind, body []byte) (ledger.Result, error) {
	f.Sent++
	r := f.Make(1000, f.Cluster.Tx(ledgertest.Node(0), kind, body))
	if r.Code != ledger.OK {
		return r, &ledger.Error{Code: r.Code, Err: errors.New(r.Info)}
	}
	return r, nil
}

// Say has the hall carry a message.
func (f *World) Say(p assemblytest.Post) (uint64, error) {
	return f.Hall.Say(f.Context(), ledger.AssemblyMessage{Ceremony: f.ID, Seat: uint16(p.Seat), Message: p.Message, Signature: p.Signature})
}

// Play has everybody who is not gone say what there is to say, until the
// ceremony has ended. look sees the room each time before they do, and between
// is called with the phase once nobody reads.
func (f *World) Play(gone map[int]assembly.Phase, look func(*hall.Room), between func(assembly.Phase)) {
	f.Helper()
	for range 200 {
		var posts []assemblytest.Post
		var ended, waits bool
		var phase assembly.Phase
		if err := f.Hall.Read(f.ID, func(r *hall.Room) error {
			b := r.Follower.Board()
			ended, waits = b.Phase().Ended(), b.Phase().AwaitsRandomness()
			for seat := 1; seat <= int(f.Params.N); seat++ {
				if since, ok := gone[seat]; !ok || b.Phase() < since {
					posts = append(posts, f.Next(r.Follower, seat)...)
				}
			}
			look(r)
			phase = b.Phase()
			return nil
		}); err != nil {
			f.Fatal(err)
		}
		between(phase)
		for _, p := range posts {
			if _, err := f.Say(p); err == nil {
				f.Took(p)
			}
		}
		switch {
		case ended:
			return
		case waits:
			f.Make(1000, nil)
		case len(posts) == 0:
			f.Make(60_000, nil)
		}
	}
	f.Fatal("it does not end")
}
