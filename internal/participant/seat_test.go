package participant

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/dkg/assembly"
)

var shapes = map[string]assembly.Params{
	"everybody deals": {N: 5, T: 4, Cohorts: 1},
	"hybrid":          {N: 5, T: 4, Cohorts: 1, Hybrid: true},
	"drawn":           {N: 8, T: 6, Cohorts: 2, Dealers: 3},
}

// play runs a ceremony of which the last seat is absent, and returns archive
// and shares.
func play(t *testing.T, p assembly.Params, between func(h *hall, dir string) func(*Seat) *Seat) (*hall, map[int]string) {
	h, dir := newHall(t, p), t.TempDir()
	var seats []*Seat
	for i := 1; i < int(p.N); i++ {
		seats = append(seats, h.seat(dir, i))
	}
	var change func(*Seat) *Seat
	if between != nil {
		change = between(h, dir)
	}
	h.run(seats, change)
	shares := map[int]string{}
	for _, s := range seats {
		if s.HasShare() {
			share, err := ReadShare(s.config.Dir, credential.Box{})
			if err != nil {
				t.Fatal(err)
			}
			share.Secret.Expose(func(b []byte) { shares[s.me] = fmt.Sprintf("%x", sha256.Sum256(b)) })
		}
		s.Close()
	}
	return h, shares
}

// TestRestartAnywhere has every participant die before every step: archive and
// shares are those of a ceremony in which nobody died.
func TestRestartAnywhere(t *testing.T) {
	for name, p := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calm, want := play(t, p, nil)
			if got := calm.board.Board(); got.Phase() != assembly.PhaseDone || len(got.Holders()) != int(p.N)-1 {
				t.Fatalf("phase %s, held by %v", got.Phase(), got.Holders())
			}
			if _, err := assembly.Replay(calm.archive()); err != nil {
				t.Fatal(err)
			}
			if len(want) != int(p.N)-1 {
				t.Fatalf("%d shares on disk", len(want))
			}
			stormy, got := play(t, p, func(h *hall, dir string) func(*Seat) *Seat {
				return func(s *Seat) *Seat {
					h.turn(s) // says it, and dies before anybody hears it
					s.Close()
					return h.seat(dir, s.me)
				}
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error("shares differ:", diff)
			}
			if string(calm.archive()) != string(stormy.archive()) {
				t.Error("the archives differ")
			}
		})
	}
}

// TestShareBeforeConfirmation fails the disk where the share goes: nothing is
// confirmed.
func TestShareBeforeConfirmation(t *testing.T) {
	h, dir := newHall(t, shapes["everybody deals"]), t.TempDir()
	seats := h.until(assembly.PhaseConfirm, dir)
	s := seats[2]
	if err := os.MkdirAll(filepath.Join(s.path(fileShare), "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Take(h.bundle(s.me, s.Entries())); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Reply(t.Context()); err == nil {
		t.Fatalf("it confirms what it could not keep: %d messages", len(r.Posts))
	}
}

// TestWrongKeyLeavesNothing takes a seat with somebody else's key first. The
// directory is then free for the right one, and one that has followed a log
// keeps its seed.
func TestWrongKeyLeavesNothing(t *testing.T) {
	h, dir := newHall(t, shapes["everybody deals"]), t.TempDir()
	wrong := h.config(dir, 2)
	wrong.Signer = h.config(dir, 3).Signer
	s, err := Open(wrong)
	if err != nil {
		t.Fatal(err)
	}
	if !Taken(wrong.Dir) {
		t.Error("a seat that was opened does not have its directory")
	}
	if err := s.Take(h.bundle(2, 0)); !errors.Is(err, ErrIdentity) || !errors.Is(err, ErrStop) {
		t.Errorf("took the log with the key of another seat: %v", err)
	}
	s.Close()
	if Taken(wrong.Dir) {
		t.Errorf("%s is still that of a seat", wrong.Dir)
	}

	s = h.seat(dir, 2)
	if err := s.Take(h.bundle(2, 0)); err != nil {
		t.Fatal(err)
	}
	seed, err := os.ReadFile(s.path(fileSeed))
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s, err = Open(wrong)
	if err == nil {
		t.Error("the key of another seat opened one that has followed a log")
		s.Close()
	}
	if again, err := os.ReadFile(filepath.Join(wrong.Dir, fileSeed)); err != nil || string(again) != string(seed) {
		t.Errorf("the seed of a seat that may have spoken changed: %v", err)
	}
}
