package participant

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// takeover is nodes that take the key of a hall's people over, on the hall's
// ledger, each with its real part in the ceremony.
type takeover struct {
	*hall
	dir    string
	params dkg.Params
	nodes  map[int]*dkg.Participant
	board  *dkg.Board
	blobs  map[[32]byte][]byte
	key    []byte
	record action.KeyRecord
}

// newTakeover has n people make a key and opens the ceremony.
func newTakeover(t *testing.T, n int, hybrid bool) *takeover {
	h := newHall(t, assembly.Params{N: uint16(n), T: uint16(n - (n-1)/3), Cohorts: 1})
	x := &takeover{hall: h, dir: t.TempDir(), nodes: map[int]*dkg.Participant{}, blobs: map[[32]byte][]byte{}}
	var seats []*Seat
	for seat := 1; seat <= n; seat++ {
		seats = append(seats, h.seat(x.dir, seat))
	}
	h.run(seats, nil)
	certificate, err := h.board.Board().Certificate()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range seats {
		if err := os.WriteFile(s.path(fileCertificate), certificate.Encode(), 0o644); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	public, err := certificate.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	raw := public.Bytes()
	x.key = raw[:]
	genesis, cluster, err := action.ParseGenesis(h.doc)
	if err != nil {
		t.Fatal(err)
	}
	roster := action.NewRoster(genesis.Nodes, action.DomainValidator)
	x.params = dkg.Params{Mode: dkg.ModeReshare, Suite: dkg.SuiteG1, Hybrid: hybrid, N: 4, T: 3, Epoch: 1, Keys: 1, Cluster: cluster, Roster: roster.Hash(cluster), Nonce: [32]byte{1},
		Expected: certificate.Result(), Old: dkg.Old{T: h.params.T, N: h.params.N, Assembly: h.params.ID()},
		Deadlines: dkg.Deadlines{Join: 60e3, Deal: 600e3, Verify: 60e3, Answer: 600e3, Confirm: 60e3, Publish: 60e3}}
	for seat := 1; seat <= 4; seat++ {
		seed := sha256.Sum256([]byte{9, byte(seat)})
		if x.nodes[seat], err = dkg.NewParticipant(x.params, seat, secret.New(seed[:])); err != nil {
			t.Fatal(err)
		}
	}
	x.record = action.KeyRecord{Domain: action.DomainValidator, Curve: action.CurveBLS12381G1, PublicKey: x.key, State: action.KeyHeld,
		Provenance: action.ProvenanceAssembled, Ceremony: h.params.ID(), T: h.params.T, N: h.params.N}
	if x.board, _, err = dkg.NewBoard(x.params, uint64(h.ledger.Time().UnixMilli())); err != nil {
		t.Fatal(err)
	}
	x.prove()
	return x
}

// prove puts the ceremony and the key's record on the ledger as they are now.
func (x *takeover) prove() {
	id := x.params.ID()
	x.ledger.Set(proof.Root.Ceremony(id[:]), x.board.Encode())
	x.ledger.Set(proof.Root.Key(string(action.DomainValidator), x.key), x.record.Encode())
	x.ledger.Block(time.Second)
}

func (x *takeover) summons() *Summons {
	id := x.params.ID()
	return x.summonsTo(id, proof.Root.Ceremony(id[:]), proof.Root.Key(string(action.DomainValidator), x.key))
}

func (x *takeover) summonsTo(id [32]byte, paths ...proof.Path) *Summons {
	x.t.Helper()
	raw, err := x.ledger.Certify(0, paths...).Encode()
	if err != nil {
		x.t.Fatal(err)
	}
	s := &Summons{Ceremony: id, Certificate: raw}
	for _, name := range x.board.DealerBodies() {
		s.Bodies = append(s.Bodies, dkg.Posted{Name: name, Body: x.blobs[name]})
	}
	// On paper and back.
	again, err := ParseSummons(s.Encode())
	if err != nil {
		x.t.Fatal(err)
	}
	return again
}

func (x *takeover) source(name [32]byte) ([]byte, error) {
	if b := x.blobs[name]; b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("no body %x", name[:8])
}

func (x *takeover) took(next *dkg.Board, events []dkg.Event, raw []byte) {
	for _, ev := range events {
		if ev.Kind == dkg.EventStore {
			x.blobs[ev.Name] = raw
		}
	}
	x.board = next
}

// nodesAct lets the nodes say what they have to, but for some in a phase.
func (x *takeover) nodesAct(but func(seat int) bool) (moved bool) {
	x.t.Helper()
	for seat := 1; seat <= 4; seat++ {
		if but != nil && but(seat) {
			continue
		}
		out, err := x.nodes[seat].Next(x.board, x.source)
		if err != nil {
			x.t.Fatalf("node %d in %s: %v", seat, x.board.Phase(), err)
		}
		for _, m := range out {
			if next, events, err := x.board.Apply(uint64(x.ledger.Time().UnixMilli()), seat, m); err == nil {
				x.took(next, events, m.Encode())
				moved = true
			}
		}
	}
	x.prove()
	return moved
}

func (x *takeover) open(seat int) (*HandOver, error) {
	return OpenHandOver(Config{Dir: filepath.Join(x.dir, fmt.Sprintf("p%d", seat)), Invitation: x.invitation(seat),
		Signer: credential.FromKey(x.keys[seat-1]), Sealer: credential.Box{}, Random: rand.Reader}, x.params.ID())
}

// deal has a seat deal, from a program started anew, and returns what it said.
func (x *takeover) deal(seat int) *HandOverReply {
	x.t.Helper()
	h, err := x.open(seat)
	if err != nil {
		x.t.Fatal(err)
	}
	defer h.Close()
	if err := h.Take(x.summons()); err != nil {
		x.t.Fatal(err)
	}
	r, err := h.Reply(context.Background())
	if err != nil {
		x.t.Fatal(err)
	}
	again, err := ParseHandOverReply(r.Encode())
	if err != nil {
		x.t.Fatal(err)
	}
	return again
}

func (x *takeover) post(r *HandOverReply) {
	x.t.Helper()
	for _, p := range r.Posts {
		if err := x.keys[r.Seat-1].Public().Verify(p.Signature, wire.TagDealerMessage, action.CeremonyParts(x.params.ID(), uint16(r.Seat), p.Message)...); err != nil {
			x.t.Fatal(err)
		}
		m, err := dkg.ParseMessage(p.Message)
		if err != nil {
			x.t.Fatal(err)
		}
		next, events, err := x.board.ApplyDealer(uint64(x.ledger.Time().UnixMilli()), r.Seat, m)
		if err != nil {
			x.t.Fatal(err)
		}
		x.took(next, events, p.Message)
	}
}

// files names what a seat's directory holds.
func (x *takeover) files(seat int) (names []string) {
	entries, err := os.ReadDir(filepath.Join(x.dir, fmt.Sprintf("p%d", seat)))
	if err != nil {
		x.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestHandOver: a participant says the same however often it is started, and
// destroys its share when the ledger proves that the nodes hold the key, not
// before; then nothing of it is left, whenever it was stopped.
func TestHandOver(t *testing.T) {
	for _, hybrid := range []bool{false, true} {
		x := newTakeover(t, 5, hybrid)
		if r := x.deal(1); len(r.Posts) != 0 {
			t.Fatal("it deals before the nodes have joined")
		}
		x.nodesAct(nil)
		for seat := 1; seat <= 4; seat++ {
			first, again := x.deal(seat), x.deal(seat)
			if len(first.Posts) != 1 || !bytes.Equal(first.Encode(), again.Encode()) {
				t.Fatalf("seat %d says %d messages, and then others", seat, len(first.Posts))
			}
			x.post(first)
			x.prove()
			if r := x.deal(seat); len(r.Posts) != 0 {
				t.Fatal("it deals twice")
			}
		}
		for x.board.Phase() == dkg.PhaseDeal { // the fifth never comes
			x.board, _ = x.board.Tick(x.board.Deadline(), [32]byte{})
		}
		destroys := func(seat int) bool {
			h, err := x.open(seat)
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			if err := h.Take(x.summons()); err != nil {
				t.Fatal(err)
			}
			err = h.Destroy()
			if (err == nil) != h.Settled() {
				t.Fatalf("settled %t: %v", h.Settled(), err)
			}
			return err == nil
		}
		for x.nodesAct(func(seat int) bool { return seat == 4 && x.board.Phase() >= dkg.PhaseConfirm }) {
			if destroys(1) {
				t.Fatalf("in phase %s", x.board.Phase())
			}
		}
		if x.board.Phase() != dkg.PhaseDone || x.board.DepositSafe() {
			t.Fatalf("phase %s, %s confirmed", x.board.Phase(), x.board.Holders())
		}
		x.record.State, x.record.Epoch, x.record.T, x.record.N, x.record.Commitment = action.KeyActive, 1, 3, 4, make([]byte, 3*48)
		x.prove()
		if destroys(1) {
			t.Fatal("too few have confirmed")
		}
		committed := x.record
		x.record.State, x.record.Epoch, x.record.T, x.record.N, x.record.Commitment = action.KeyHeld, 0, 4, 5, nil
		x.nodesAct(nil)
		if !x.board.DepositSafe() || destroys(1) {
			t.Fatal("the key's record is that of before")
		}
		x.record = committed
		x.prove()
		if !destroys(1) || !destroys(5) {
			t.Fatal("the nodes hold the key, and the shares stay")
		}
		for _, seat := range []int{1, 5} {
			if got := x.files(seat); slices.ContainsFunc(got, secretFile) || !slices.Contains(got, fileHandedOver) || !slices.Contains(got, fileCertificate) {
				t.Errorf("seat %d: %v is left", seat, got)
			}
			h, err := x.open(seat)
			if err != nil || !h.Done() {
				t.Fatalf("started again: %v", err)
			}
			h.Close()
			if _, err := x.hall.open(x.dir, seat); !errors.Is(err, ErrStop) {
				t.Errorf("the seat is taken again: %v", err)
			}
		}
		// Stopped after it noted why, it goes on.
		home := filepath.Join(x.dir, "p2")
		if err := os.WriteFile(filepath.Join(home, fileHandedOver), []byte("proof"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(home, fileShare)); err != nil {
			t.Fatal(err)
		}
		h, err := x.open(2)
		if err != nil {
			t.Fatal(err)
		}
		h.Close()
		if got := x.files(2); slices.ContainsFunc(got, secretFile) {
			t.Errorf("stopped in between: %v is left", got)
		}
	}
}

// TestHandOverBelievesNobody: what does not prove that these nodes take over
// this key makes a seat say nothing.
func TestHandOverBelievesNobody(t *testing.T) {
	x := newTakeover(t, 4, true)
	old := x.summons()
	x.nodesAct(nil)
	id := x.params.ID()
	on := func(edit func(*dkg.Params)) *Summons {
		p := x.params
		edit(&p)
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		board, _, err := dkg.NewBoard(p, 1)
		if err != nil {
			t.Fatal(err)
		}
		x.ledger.Set(proof.Root.Ceremony(id[:]), board.Encode()) // a ledger that lies
		x.ledger.Block(time.Second)
		defer x.prove()
		return x.summons()
	}
	good := x.summons()
	for name, c := range map[string]struct {
		summons *Summons
		want    error
	}{
		"of another ceremony":   {&Summons{Ceremony: [32]byte{1}, Certificate: good.Certificate, Bodies: good.Bodies}, nil},
		"without certificate":   {&Summons{Ceremony: id, Bodies: good.Bodies}, nil},
		"a bit flipped":         {&Summons{Ceremony: id, Certificate: flipped(good.Certificate), Bodies: good.Bodies}, nil},
		"without bodies":        {&Summons{Ceremony: id, Certificate: good.Certificate}, ErrSummons},
		"not on the ledger":     {x.summonsTo(id, proof.Root.Key(string(action.DomainValidator), x.key)), ErrUnknown},
		"without the key":       {x.summonsTo(id, proof.Root.Ceremony(id[:])), ErrSummons},
		"another nonce":         {on(func(p *dkg.Params) { p.Nonce[3]++ }), ErrOtherKey},
		"another cluster":       {on(func(p *dkg.Params) { p.Cluster[3]++ }), ErrOtherKey},
		"other nodes":           {on(func(p *dkg.Params) { p.Roster[3]++ }), ErrOtherKey},
		"another key":           {on(func(p *dkg.Params) { p.Expected[3]++ }), ErrOtherKey},
		"another assembly":      {on(func(p *dkg.Params) { p.Old.Assembly[3]++ }), ErrOtherKey},
		"a reshare of seats":    {on(func(p *dkg.Params) { p.Old = dkg.Old{T: 3, Dealers: dkg.AllSeats(4)} }), ErrOtherKey},
		"more old participants": {on(func(p *dkg.Params) { p.Old.N, p.Old.T = 5, 4 }), ErrOtherKey},
	} {
		h, err := x.open(1)
		if err != nil {
			t.Fatal(err)
		}
		err = h.Take(c.summons)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || h.Board() != nil {
			t.Errorf("%s: %v", name, err)
		}
		if h.Take(x.summons()) != nil || h.Take(old) == nil {
			t.Errorf("%s: then it takes nothing that is true, or what is old", name)
		}
		h.Close()
	}
	// A body is held to its name before it counts: who changes one is no reason
	// to stop, and what an honest node brings then counts.
	h, err := x.open(1)
	if err != nil {
		t.Fatal(err)
	}
	changed := x.summons()
	changed.Bodies[0].Body = flipped(changed.Bodies[0].Body)
	if err := h.Take(changed); !errors.Is(err, ErrSummons) || errors.Is(err, ErrStop) {
		t.Errorf("keys that are not the nodes': %v", err)
	}
	if err := h.Take(x.summons()); err != nil {
		t.Fatal(err)
	}
	if r, err := h.Reply(context.Background()); err != nil || len(r.Posts) != 1 {
		t.Errorf("after a lie it deals no more: %v", err)
	}
	h.Close()
	// Neither without a share, nor with another's.
	home := filepath.Join(x.dir, "p1")
	share, err := os.ReadFile(filepath.Join(x.dir, "p2", fileShare))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, fileShare), share, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := x.open(1); err == nil || !strings.Contains(err.Error(), "seat 2") {
		t.Errorf("another's share: %v", err)
	}
	if err := os.Remove(filepath.Join(home, fileShare)); err != nil {
		t.Fatal(err)
	}
	if _, err := x.open(1); !errors.Is(err, ErrNoShare) {
		t.Errorf("no share: %v", err)
	}
}

func flipped(raw []byte) []byte {
	out := bytes.Clone(raw)
	out[len(out)/2] ^= 4
	return out
}

func FuzzSummons(f *testing.F) {
	f.Add((&Summons{Ceremony: [32]byte{1}, Certificate: []byte{2}, Bodies: []dkg.Posted{{Name: [32]byte{3}, Body: []byte{4}}}}).Encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		if s, err := ParseSummons(raw); err == nil && !bytes.Equal(s.Encode(), raw) {
			t.Error("a summons changes when it is read")
		}
	})
}

func FuzzHandOverReply(f *testing.F) {
	f.Add((&HandOverReply{Ceremony: [32]byte{1}, Seat: 2, Phase: dkg.PhaseDeal, Posts: []Post{{[]byte{3}, []byte{4}}}}).Encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := ParseHandOverReply(raw); err == nil && !bytes.Equal(r.Encode(), raw) {
			t.Error("a reply changes when it is read")
		}
	})
}
