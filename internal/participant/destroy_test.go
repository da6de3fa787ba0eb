package participant

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/dkg"
)

// settle has all people but the last deal, and the nodes come to hold the key.
func (x *takeover) settle() {
	x.t.Helper()
	x.nodesAct(nil)
	for seat := 1; seat < int(x.hall.params.N); seat++ {
		x.post(x.deal(seat))
		x.prove()
	}
	x.board, _ = x.board.Tick(x.board.Deadline(), [32]byte{}) // it is armed
	x.board, _ = x.board.Tick(x.board.Deadline(), [32]byte{})
	for x.nodesAct(nil) {
	}
	x.record.State, x.record.Epoch, x.record.T, x.record.N, x.record.Commitment = action.KeyActive, 1, 3, 4, make([]byte, 3*48)
	x.prove()
	if x.board.Phase() != dkg.PhaseDone || !x.board.DepositSafe() {
		x.t.Fatalf("phase %s, %s confirmed", x.board.Phase(), x.board.Holders())
	}
}

// TestDestroyStopsAnywhere: from the moment at which the proof is on disk the
// share serves nobody, whatever of it a stop has left, and the next start
// leaves nothing. Before that moment it is what it was.
func TestDestroyStopsAnywhere(t *testing.T) {
	x := newTakeover(t, 5, false)
	early := x.summons()
	x.settle()
	home := filepath.Join(x.dir, "p2")
	whole := map[string][]byte{}
	var secrets []string
	for _, name := range x.files(2) {
		raw, err := os.ReadFile(filepath.Join(home, name))
		if err != nil {
			t.Fatal(err)
		}
		if whole[name] = raw; secretFile(name) {
			secrets = append(secrets, name)
		}
	}
	if len(secrets) < 3 || !slices.Contains(secrets, fileShare) || !slices.Contains(secrets, fileSeed) {
		t.Fatalf("its secrets are in %v", secrets)
	}
	restore := func(state int, more string) { // digit of each secret: whole, overwritten, gone
		if err := os.RemoveAll(home); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(home, 0o700); err != nil {
			t.Fatal(err)
		}
		write := func(name string, raw []byte) {
			if err := os.WriteFile(filepath.Join(home, name), raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(more, []byte("proof"))
		for name, raw := range whole {
			left := 0
			if i := slices.Index(secrets, name); i >= 0 {
				for left = state; i > 0; i-- {
					left /= 3
				}
			}
			switch left % 3 {
			case 0:
				write(name, raw)
			case 1:
				write(name, make([]byte, len(raw)))
			}
		}
	}
	states := 1
	for range secrets {
		states *= 3
	}
	for state := range states {
		restore(state, fileHandedOver)
		if _, err := ReadShare(home, credential.Box{}); !errors.Is(err, ErrHandedOver) {
			t.Fatalf("state %d: the share signs: %v", state, err)
		}
		if _, err := x.hall.open(x.dir, 2); !errors.Is(err, ErrHandedOver) {
			t.Fatalf("state %d: the seat is taken again: %v", state, err)
		}
		h, err := x.open(2)
		if err != nil || !h.Done() {
			t.Fatalf("state %d: %v", state, err)
		}
		h.Close()
		if got := x.files(2); slices.ContainsFunc(got, secretFile) || !slices.Contains(got, fileHandedOver) {
			t.Fatalf("state %d: %v is left", state, got)
		}
	}
	// Killed while it wrote the proof.
	restore(0, fileHandedOver+".tmp-0123456789abcdef")
	if share, err := ReadShare(home, credential.Box{}); err != nil {
		t.Fatal(err)
	} else {
		share.Secret.Destroy()
	}
	h, err := x.open(2)
	if err != nil || h.Done() {
		t.Fatalf("half a proof is one: %v", err)
	}
	defer h.Close()
	if h.Destroy() == nil || h.Take(early) != nil || h.Destroy() == nil {
		t.Fatal("it destroys what nothing proves, or what was proven before the nodes held the key")
	}
	if err := h.Take(x.summons()); err != nil || h.Destroy() != nil {
		t.Fatalf("and what is proven it does not: %v", err)
	}
}

// TestDestroyAfterItsOwnCeremony: a hand-over that was aborted destroys nothing,
// though another one took the key over.
func TestDestroyAfterItsOwnCeremony(t *testing.T) {
	x := newTakeover(t, 4, false)
	x.nodesAct(nil)
	x.post(x.deal(1)) // and nobody else
	for range 2 {
		x.board, _ = x.board.Tick(x.board.Deadline(), [32]byte{})
	}
	x.record.State, x.record.Epoch, x.record.T, x.record.N, x.record.Commitment = action.KeyActive, 1, 3, 4, make([]byte, 3*48)
	x.prove()
	before := x.files(1)
	h, err := x.open(1)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Take(x.summons()); err != nil || h.Board().Phase() != dkg.PhaseAborted {
		t.Fatalf("in phase %s: %v", x.board.Phase(), err)
	}
	if r, err := h.Reply(t.Context()); err != nil || len(r.Posts) != 0 {
		t.Errorf("it says something: %v", err)
	}
	if h.Destroy() == nil || !slices.Equal(x.files(1), before) {
		t.Errorf("%v is left of %v", x.files(1), before)
	}
}
