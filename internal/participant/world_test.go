package participant

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/proof/prooftest"
	"github.com/quorate/quorate/internal/wire"
)

// hall is a ledger that holds one ceremony: real validators' signatures over a
// record whose link is that of the log.
type hall struct {
	t       testing.TB
	params  assembly.Params
	doc     []byte
	genesis *action.Genesis
	keys    []ident.PrivateKey
	ledger  *prooftest.Ledger
	board   *assembly.Follower
	head    []byte
	entries [][]byte
	mail    map[int][]byte
	seals   map[int][]byte
	blocks  int
}

const second = 1000

func newHall(t testing.TB, p assembly.Params) *hall {
	h := &hall{t: t, mail: map[int][]byte{}, seals: map[int][]byte{}}
	var roster assembly.Roster
	for i := 1; i <= int(p.N); i++ {
		a, b := sha256.Sum256([]byte{1, byte(i), byte(i >> 8)}), sha256.Sum256([]byte{2, byte(i), byte(i >> 8)})
		key, err := ident.FromSeed(ident.Ed25519, append(a[:], b[:]...))
		if err != nil {
			t.Fatal(err)
		}
		h.keys = append(h.keys, key)
		roster = append(roster, key.Public())
	}
	p.Roster = roster.Hash()
	p.Deadlines = assembly.Deadlines{Join: 60 * second, Deal: 60 * second, Verify: 60 * second, Answer: 60 * second, Replay: 60 * second, Confirm: 60 * second}
	h.params = p

	h.genesis = &action.Genesis{Version: 1, Time: time.Unix(1_700_000_000, 0).UTC(), Namespace: "root", Policy: "none", ImportHistory: action.HistoryNone}
	for i := range 4 {
		node := action.NodeRecord{Name: fmt.Sprintf("node%d", i), Operator: fmt.Sprintf("op%d", i), Region: "eu", Comet: "127.0.0.1:1", Peer: "127.0.0.1:2"}
		seed := sha256.Sum256([]byte{3, byte(i)})
		key, err := ident.FromSeed(ident.Ed25519, append(seed[:], seed[:]...))
		if err != nil {
			t.Fatal(err)
		}
		node.Identity = key.Public()
		custody, err := ident.FromSeed(ident.Ed25519MLDSA65, append(seed[:], seed[:]...))
		if err != nil {
			t.Fatal(err)
		}
		node.Custody = []action.CustodyRecord{{Domain: action.DomainValidator, Identity: custody.Public()}}
		copy(node.Vote[:], prooftest.Key(i).Public().(ed25519.PublicKey))
		h.genesis.Nodes = append(h.genesis.Nodes, node)
	}
	var err error
	if h.doc, err = json.Marshal(h.genesis); err != nil {
		t.Fatal(err)
	}
	_, cluster, err := action.ParseGenesis(h.doc)
	if err != nil {
		t.Fatal(err)
	}
	h.ledger = prooftest.New(4)
	h.ledger.Cluster, h.ledger.ChainID = cluster, cluster.ChainID()
	h.head = assembly.Head(p, roster, uint64(h.ledger.Time().UnixMilli()))
	if h.board, err = assembly.Follow(h.head); err != nil {
		t.Fatal(err)
	}
	h.block(time.Second)
	return h
}

func (h *hall) take(entry []byte) error {
	if err := h.board.Take(entry); err != nil {
		return err
	}
	h.entries = append(h.entries, entry)
	return nil
}

// block lets time pass, and proves the record as it is then.
func (h *hall) block(d time.Duration) {
	h.blocks++
	now := h.ledger.Time().Add(d)
	if h.board.Board().Phase() < assembly.PhaseDone {
		if err := h.take(assembly.TickEntry(uint64(now.UnixMilli()), sha256.Sum256([]byte{4, byte(h.blocks), byte(h.blocks >> 8)}))); err != nil {
			h.t.Fatal(err)
		}
	}
	h.record()
	h.ledger.Block(d)
}

func (h *hall) record() {
	b := h.board.Board()
	r := action.AssemblyRecord{Assembly: action.Assembly{Params: h.params.Encode()}, Link: h.board.Link(), Entries: h.board.Entries(), Phase: uint8(b.Phase()), Deadline: b.Deadline()}
	cid := h.params.ID()
	h.ledger.Set(proof.Root.Assembly(cid[:]), r.Encode())
}

// bundle is what an honest node hands to a seat that has followed so far.
func (h *hall) bundle(seat int, from uint64) *Bundle {
	cid := h.params.ID()
	b := &Bundle{Ceremony: cid, From: from, Letters: map[int]assembly.Letter{}}
	if from == 0 {
		b.Log = bytes.Clone(h.head)
	}
	for _, e := range h.entries[from:] {
		b.Log = append(b.Log, e...)
	}
	var err error
	if b.Certificate, err = h.ledger.Certify(0, proof.Root.Assembly(cid[:])).Encode(); err != nil {
		h.t.Fatal(err)
	}
	for dealer, mail := range h.mail {
		if l := h.letter(dealer, seat, mail); l != nil {
			b.Letters[dealer] = *l
		}
	}
	return b
}

// letter cuts a seat's letter out of what a dealer sent.
func (h *hall) letter(dealer, seat int, mail []byte) *assembly.Letter {
	at := -1
	var leaves [][32]byte
	for k, i := range h.board.Board().Joined() {
		if i == seat {
			at = k
		}
		leaves = append(leaves, wire.LeafHash(mail[k*kem.CiphertextSize:(k+1)*kem.CiphertextSize]))
	}
	if at < 0 {
		return nil
	}
	return &assembly.Letter{Ciphertext: mail[at*kem.CiphertextSize : (at+1)*kem.CiphertextSize], Path: wire.NewTree(leaves).Path(0, at)}
}

// post takes what a seat says, as often as it comes.
func (h *hall) post(r *Reply) {
	for _, p := range r.Posts {
		err := h.take(assembly.PostEntry(r.Seat, p.Message, p.Signature))
		if err != nil && !errors.Is(err, assembly.ErrDuplicate) && !errors.Is(err, assembly.ErrPhase) {
			h.t.Fatalf("seat %d in phase %s: %v", r.Seat, h.board.Board().Phase(), err)
		}
	}
	if len(r.Mail) > 0 {
		h.mail[r.Seat] = r.Mail
	}
	if len(r.Seal) > 0 {
		h.seals[r.Seat] = r.Seal
	}
}

// archive closes the log with the seals that there are.
func (h *hall) archive() []byte {
	raw := bytes.Clone(h.head)
	for _, e := range h.entries {
		raw = append(raw, e...)
	}
	e := wire.NewEncoder(raw)
	e.U8(0)
	e.Count(len(h.seals))
	for i := 1; i <= int(h.params.N); i++ {
		if seal := h.seals[i]; seal != nil {
			e.U16(uint16(i))
			e.Bytes(seal)
		}
	}
	return e.Out()
}

func (h *hall) invitation(seat int) *Invitation {
	cid := h.params.ID()
	raw, err := json.Marshal(&Invitation{Version: 1, Ceremony: hex.EncodeToString(cid[:]), Genesis: h.doc, Seat: seat, Name: fmt.Sprintf("p%d", seat), Zone: "Europe/Paris", Nodes: []string{"http://127.0.0.1:9003"}})
	if err != nil {
		h.t.Fatal(err)
	}
	inv, err := ParseInvitation(raw)
	if err != nil {
		h.t.Fatal(err)
	}
	return inv
}

// seat opens a seat in a directory, with coins of its own.
func (h *hall) seat(dir string, seat int) *Seat {
	s, err := h.open(dir, seat)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// until lets all seats of a directory take part until a phase has begun, and
// returns them.
func (h *hall) until(phase assembly.Phase, dir string) (seats []*Seat) {
	for i := 1; i <= int(h.params.N); i++ {
		s := h.seat(dir, i)
		h.t.Cleanup(s.Close)
		seats = append(seats, s)
	}
	for h.board.Board().Phase() < phase {
		for _, s := range seats {
			if h.board.Board().Phase() < phase {
				h.post(h.turn(s))
			}
		}
		h.block(time.Second)
	}
	return seats
}

func (h *hall) open(dir string, seat int) (*Seat, error) { return Open(h.config(dir, seat)) }

func (h *hall) config(dir string, seat int) Config {
	seed := sha256.Sum256([]byte{5, byte(seat), byte(seat >> 8)})
	return Config{
		Dir: filepath.Join(dir, fmt.Sprintf("p%d", seat)), Invitation: h.invitation(seat),
		Signer: credential.FromKey(h.keys[seat-1]), Sealer: credential.Box{}, Random: bytes.NewReader(seed[:]),
	}
}

// turn brings a seat what happened and takes what it says.
func (h *hall) turn(s *Seat) *Reply {
	if err := s.Take(h.bundle(s.me, s.Entries())); err != nil {
		h.t.Fatalf("seat %d: %v", s.me, err)
	}
	r, err := s.Reply(context.Background())
	if err != nil {
		h.t.Fatalf("seat %d: %v", s.me, err)
	}
	// On paper and back.
	again, err := ParseReply(r.Encode())
	if err != nil {
		h.t.Fatal(err)
	}
	return again
}

// run plays the ceremony with the seats until it has ended and is sealed.
// between is called before each turn, and may replace the seat.
func (h *hall) run(seats []*Seat, between func(*Seat) *Seat) {
	for range 200 {
		for k, s := range seats {
			if between != nil {
				s = between(s)
				seats[k] = s
			}
			h.post(h.turn(s))
			h.block(time.Second)
		}
		if h.board.Board().Phase() >= assembly.PhaseDone && len(h.seals) == len(seats) {
			return
		}
		h.block(10 * time.Second)
	}
	h.t.Fatalf("the ceremony hangs in phase %s", h.board.Board().Phase())
}

func credentialOf(h *hall, seat int) credential.Signer { return credential.FromKey(h.keys[seat-1]) }
