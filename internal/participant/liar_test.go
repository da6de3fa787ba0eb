package participant

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/proof/prooftest"
)

// TestLiars has nodes bring a seat what is not so. It notices, stands where it
// stood, and goes on with what an honest node brings.
func TestLiars(t *testing.T) {
	lies := map[string]struct {
		bundle func(h *hall, s *Seat) *Bundle
		want   error // nil: any
	}{
		"drops the last entry": {func(h *hall, s *Seat) *Bundle {
			b := h.bundle(s.me, s.Entries())
			b.Log = b.Log[:len(b.Log)-len(h.entries[len(h.entries)-1])]
			return b
		}, ErrShort},
		"drops an entry in the middle": {func(h *hall, s *Seat) *Bundle {
			kept := h.entries
			defer func() { h.entries = kept }()
			h.entries = slices.Delete(slices.Clone(kept), len(kept)-2, len(kept)-1)
			b := h.bundle(s.me, s.Entries())
			b.Log = append(b.Log, kept[0]...)
			return b
		}, ErrLog},
		"tells another time": {func(h *hall, s *Seat) *Bundle {
			b := h.bundle(s.me, s.Entries())
			b.Log[7] ^= 1
			return b
		}, ErrLog},
		"shows an older log": {func(h *hall, s *Seat) *Bundle {
			old := h.bundle(s.me, s.Entries())
			h.block(time.Second)
			if err := s.Take(h.bundle(s.me, s.Entries())); err != nil {
				t.Fatal(err)
			}
			old.From, old.Log = 0, append(bytes.Clone(h.head), bytes.Join(h.entries[:len(h.entries)-1], nil)...)
			return old
		}, ErrOld},
		"shows the board of another ceremony": {func(h *hall, s *Seat) *Bundle {
			p := shapes["everybody deals"]
			p.Nonce[0] = 1
			other := newHall(t, p)
			b := other.bundle(s.me, 0)
			b.Ceremony = s.cid
			return b
		}, nil},
		"leaves a gap": {func(h *hall, s *Seat) *Bundle {
			h.block(time.Second)
			return h.bundle(s.me, s.Entries()+1)
		}, ErrGap},
		"forges the ledger's word": {func(h *hall, s *Seat) *Bundle {
			other := prooftest.New(8)
			other.Cluster, other.ChainID = h.ledger.Cluster, h.ledger.ChainID
			other.Block(time.Hour)
			mine := h.ledger
			defer func() { h.ledger = mine }()
			h.ledger = other
			h.block(time.Second)
			return h.bundle(s.me, s.Entries())
		}, proof.ErrValidators},
		"proves nothing": {func(h *hall, s *Seat) *Bundle {
			b := h.bundle(s.me, s.Entries())
			b.Certificate = nil
			return b
		}, nil},
		"cuts an entry": {func(h *hall, s *Seat) *Bundle {
			b := h.bundle(s.me, s.Entries())
			b.Log = b.Log[:len(b.Log)-1]
			return b
		}, nil},
	}
	for name, lie := range lies {
		for _, new := range []bool{false, true} {
			h := newHall(t, shapes["everybody deals"])
			s := h.seat(t.TempDir(), 1)
			defer s.Close()
			if !new {
				h.post(h.turn(s))
			}
			h.block(time.Second)
			h.block(time.Second)
			if new && (name == "tells another time" || name == "leaves a gap") {
				continue // there is a head in front, which the cut does not reach
			}
			at, before := s.Entries(), len(h.entries)
			err := s.Take(lie.bundle(h, s))
			if err == nil || lie.want != nil && !errors.Is(err, lie.want) {
				t.Errorf("%s: %v", name, err)
			}
			if name != "shows an older log" && s.Entries() != at {
				t.Errorf("%s: the seat followed it", name)
			}
			if len(h.entries) != before && name == "forges the ledger's word" {
				continue // the forger has played with our world
			}
			if err := s.Take(h.bundle(s.me, s.Entries())); err != nil {
				t.Errorf("%s: then the truth is refused: %v", name, err)
			}
		}
	}
}

// TestForeignSeed refuses to speak for a seat that joined from elsewhere.
func TestForeignSeed(t *testing.T) {
	h := newHall(t, shapes["everybody deals"])
	first := h.seat(t.TempDir(), 1)
	defer first.Close()
	h.post(h.turn(first))
	h.block(time.Second)

	c := first.config
	c.Dir, c.Random = t.TempDir(), bytes.NewReader(bytes.Repeat([]byte{9}, assembly.SeedSize))
	second, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := second.Take(h.bundle(1, 0)); !errors.Is(err, ErrForeign) {
		t.Fatalf("another seed speaks for the seat: %v", err)
	}
	c.Signer, c.Dir = credentialOf(h, 2), t.TempDir()
	other, err := Open(c)
	if err == nil {
		defer other.Close()
		err = other.Take(h.bundle(1, 0))
	}
	if err == nil {
		t.Fatal("another's identity key speaks for the seat")
	}
}

// TestLetters waits for letters, and keeps none but those that were committed to.
func TestLetters(t *testing.T) {
	h, dir := newHall(t, shapes["hybrid"]), t.TempDir()
	seats := h.until(assembly.PhaseVerify, dir)
	s := seats[0]
	honest := h.mail[2]
	h.mail[2] = bytes.Repeat([]byte{1}, len(honest))
	if r := h.turn(s); len(r.Posts) > 0 || !slices.Equal(s.Missing(), []int{2}) {
		t.Fatalf("it reports without a letter that may still come: misses %v", s.Missing())
	}
	h.mail[2] = honest
	if r := h.turn(s); len(r.Posts) != 1 || len(s.Missing()) > 0 {
		t.Fatalf("all letters are there: %d messages, misses %v", len(r.Posts), s.Missing())
	}
	kept, err := os.ReadFile(s.path(fileLetter + "2"))
	if err != nil {
		t.Fatal(err)
	}
	kept[99] ^= 1
	if err := os.WriteFile(s.path(fileLetter+"2"), kept, 0o600); err != nil {
		t.Fatal(err)
	}
	if missing := s.Missing(); !slices.Equal(missing, []int{2}) {
		t.Fatalf("a letter is damaged: misses %v", missing)
	}
	h.turn(s)
	if missing := s.Missing(); len(missing) > 0 {
		t.Fatalf("the damaged letter is not fetched again: misses %v", missing)
	}
	delete(h.mail, 3)
	late := seats[1]
	h.turn(late)
	h.block(31 * time.Second)
	r := h.turn(late)
	if len(r.Posts) != 1 {
		t.Fatal("half of the time is over, and it does not report")
	}
	m, err := assembly.ParseMessage(r.Posts[0].Message)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.(*assembly.Report).Withheld; !slices.Equal(got, []uint16{3}) {
		t.Fatalf("withheld %v", got)
	}
}

// TestLostLetter loses a letter between report and share: it is fetched again.
func TestLostLetter(t *testing.T) {
	h, dir := newHall(t, shapes["hybrid"]), t.TempDir()
	seats := h.until(assembly.PhaseConfirm, dir)
	s := seats[0]
	if err := os.Remove(s.path(fileLetter + "3")); err != nil {
		t.Fatal(err)
	}
	mail := h.mail[3]
	delete(h.mail, 3)
	if r := h.turn(s); len(r.Posts) > 0 || s.HasShare() || !slices.Equal(s.Missing(), []int{3}) {
		t.Fatalf("without a letter: %d messages, misses %v", len(r.Posts), s.Missing())
	}
	h.mail[3] = mail
	if r := h.turn(s); len(r.Posts) != 1 || !s.HasShare() || len(s.Missing()) > 0 {
		t.Fatalf("with the letter: %d messages, misses %v", len(r.Posts), s.Missing())
	}
}

// TestDamagedLog cuts and flips what a dealer keeps at many places. Whatever
// is left, the seat comes to where it was, and says what it said, byte by byte.
func TestDamagedLog(t *testing.T) {
	t.Parallel()
	h, dir := newHall(t, shapes["everybody deals"]), t.TempDir()
	var seats []*Seat
	for i := 1; i <= 5; i++ {
		seats = append(seats, h.seat(dir, i))
		h.post(h.turn(seats[i-1]))
		h.block(time.Second)
	}
	for _, s := range seats[1:] {
		s.Close()
	}
	s := seats[0]
	said := h.turn(s)
	if len(said.Posts) < 2 {
		t.Fatalf("no dealing: %d messages in phase %s", len(said.Posts), said.Phase)
	}
	s.Close()
	chance := rand.New(rand.NewPCG(1, 2))
	damaged := 0
	for _, name := range []string{fileLog, fileProof} {
		path := s.path(name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		breaks := map[string][]byte{"is empty": {}, "is longer": append(bytes.Clone(whole), 1)}
		for range 24 {
			at := chance.IntN(len(whole))
			breaks[fmt.Sprintf("ends at %d", at)] = whole[:at]
			at = chance.IntN(len(whole))
			flipped := bytes.Clone(whole)
			flipped[at] ^= 1 << chance.IntN(8)
			breaks[fmt.Sprintf("has byte %d flipped", at)] = flipped
		}
		for how, raw := range breaks {
			if err := os.WriteFile(path, raw, 0o600); err != nil {
				t.Fatal(err)
			}
			s := h.seat(dir, 1)
			if s.Damage() != nil {
				damaged++
				if r, err := s.Reply(t.Context()); err != nil || len(r.Posts) > 0 || s.Entries() > 0 {
					t.Fatalf("%s %s: it speaks from it: %d messages, %v", name, how, len(r.Posts), err)
				}
			} else if s.Entries() != said.Entries {
				t.Fatalf("%s %s: it counts up to entry %d", name, how, s.Entries())
			}
			if got := h.turn(s); !bytes.Equal(got.Encode(), said.Encode()) || s.Damage() != nil {
				t.Fatalf("%s %s: it says something else than before: %v", name, how, s.Damage())
			}
			s.Close()
			if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, whole) {
				t.Fatalf("%s %s: it is not mended: %v", name, how, err)
			}
		}
	}
	if damaged < 90 {
		t.Errorf("%d times the damage was seen", damaged)
	}
}

// TestCrashWhileKeeping stops between the log and its proof, within
// what was being written: what was proven stays, and nothing else counts.
func TestCrashWhileKeeping(t *testing.T) {
	t.Parallel()
	h, dir := newHall(t, shapes["everybody deals"]), t.TempDir()
	s := h.seat(dir, 1)
	read := func(name string) []byte {
		raw, err := os.ReadFile(s.path(name))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	h.post(h.turn(s))
	before, proof := read(fileLog), read(fileProof)
	proven := s.Entries()
	h.block(time.Second)
	h.turn(s)
	s.Close()
	after := read(fileLog)
	for size := len(before); size <= len(after); size += 1 + (len(after)-len(before))/60 {
		for name, raw := range map[string][]byte{fileLog: after[:size], fileProof: proof} {
			if err := os.WriteFile(s.path(name), raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s = h.seat(dir, 1)
		if s.Entries() != proven || s.Damage() != nil {
			t.Fatalf("%d bytes: %d entries, proven were %d, %v", size, s.Entries(), proven, s.Damage())
		}
		h.turn(s)
		s.Close()
		if !bytes.Equal(read(fileLog), after) {
			t.Fatalf("%d bytes: the log is another", size)
		}
	}
}

// TestOtherHome refuses the directory of another ceremony, and leaves it as it is.
func TestOtherHome(t *testing.T) {
	h, dir := newHall(t, shapes["everybody deals"]), t.TempDir()
	s := h.seat(dir, 1)
	h.turn(s)
	s.Close()
	p := shapes["everybody deals"]
	p.Nonce[0] = 1
	other := newHall(t, p)
	if _, err := other.open(dir, 1); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("directory of ceremony %x", s.cid)) {
		t.Errorf("another ceremony is joined from it: %v", err)
	}
	s = h.seat(dir, 1)
	defer s.Close()
	if s.Entries() == 0 {
		t.Error("what it held is gone")
	}
}

func FuzzBundle(f *testing.F) {
	h := newHall(f, shapes["hybrid"])
	f.Add(h.bundle(1, 0).Encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := ParseBundle(raw)
		if err == nil && !bytes.Equal(b.Encode(), raw) {
			t.Fatal("another encoding of a bundle")
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Add((&Reply{Seat: 1, Entries: 2, Posts: []Post{{[]byte("m"), []byte("s")}}, Seal: []byte("seal")}).Encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := ParseReply(raw)
		if err == nil && !bytes.Equal(r.Encode(), raw) {
			t.Fatal("another encoding of a reply")
		}
	})
}

func FuzzInvitation(f *testing.F) {
	f.Add([]byte(`{"version":1,"ceremony":"00","genesis":"e30=","seat":1,"name":"a","nodes":[]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if inv, err := ParseInvitation(raw); err == nil && (inv.Location() == nil || inv.Seat < 1) {
			t.Fatal("an invitation without a seat")
		}
	})
}

func FuzzEntries(f *testing.F) {
	h := newHall(f, shapes["everybody deals"])
	s := h.seat(f.TempDir(), 1)
	h.post(h.turn(s))
	s.Close()
	f.Add(bytes.Join(h.entries, nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		entries, err := assembly.ReadEntries(raw)
		var whole []byte
		for i := range entries {
			whole = append(whole, entries[i].Raw...)
		}
		if !bytes.HasPrefix(raw, whole) || err == nil && len(whole) != len(raw) {
			t.Fatal("entries are cut wrongly")
		}
	})
}

func FuzzShare(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if s, err := parseShare(raw); err == nil && (s.Seat < 1 || s.Seat > int(s.Params.N) || s.Secret.Len() != 32) {
			t.Fatal("a share of no seat")
		}
	})
}

// TestTooLate leaves a seat out that comes after joining has ended.
func TestTooLate(t *testing.T) {
	h, dir := newHall(t, shapes["everybody deals"]), t.TempDir()
	for i := 1; i <= 4; i++ {
		s := h.seat(dir, i)
		h.post(h.turn(s))
		if s.Left() {
			t.Fatal("a seat that joins is left out")
		}
		s.Close()
	}
	h.block(61 * time.Second)
	late := h.seat(dir, 5)
	defer late.Close()
	if r := h.turn(late); len(r.Posts) > 0 || !late.Left() {
		t.Errorf("a seat that came too late says %d messages", len(r.Posts))
	}
}

// TestDiskFull fails the write of the log: the seat stops, and goes on where
// it was when it is opened again.
func TestDiskFull(t *testing.T) {
	h, dir := newHall(t, shapes["everybody deals"]), t.TempDir()
	s := h.seat(dir, 1)
	h.post(h.turn(s))
	h.block(time.Second)
	s.log.Close()
	if err := s.Take(h.bundle(1, s.Entries())); !errors.Is(err, ErrStop) {
		t.Errorf("the log does not take it: %v", err)
	}
	s.Close()
	s = h.seat(dir, 1)
	defer s.Close()
	h.turn(s)
	if s.Entries() != uint64(len(h.entries)) {
		t.Errorf("followed %d of %d", s.Entries(), len(h.entries))
	}
}
