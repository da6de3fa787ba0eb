package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/slashing"
)

// TestHandOver takes keys from six holders to four of them and back, while they
// sign, with real processes of which one is killed each time. What cannot be
// slashed is signed throughout. Blocks and votes pause, for the old and the new
// holders could sign without an honest one in common, until enough of the old
// ones have said where they stopped: not for the two epochs of the floor.
func TestHandOver(t *testing.T) {
	needsClusters(t)
	t.Parallel()
	const nodes = 6
	c := newClusterOf(t, nodes, 5)
	seats := make([]string, nodes)
	c.hold(0, 0, "--mode", "refresh", "--all") // it names the seats
	for i := range seats {
		seats[i] = strconv.Itoa(c.seat(i))
	}
	var between atomic.Bool // commit and stops
	end := c.duties([]int{0, 1, 2}, c.keys[:3], func(d duty) bool { return between.Load() && d.duty.Slashable() != nil })
	stop := sync.OnceValue(end)
	defer stop() // the cluster ends after it
	probe, quiet := c.keys[3], c.keys[4]
	c.mustSign(0, c.block(quiet, c.slot(), 1))

	// To four. One of those that leave dies meanwhile.
	between.Store(true)
	id := c.open(0, "--mode", "reshare", "--all", "--seats", strings.Join(seats[:4], ","), "--phase-timeout", "6s")
	c.stopNode(5, syscall.SIGKILL)
	c.mustOperate(1, "ceremony", "watch", id)
	last, floor := c.signsBelowFloor(id, probe)
	between.Store(false)
	c.inEpoch(0, 2)
	c.mustSign(0, c.block(quiet, last, 1)) // nothing more

	// It comes back, carries the hand-over out, and signs nothing.
	if err := c.startNode(5); err != nil {
		t.Fatal(err)
	}
	c.eventually(patience, "the one that left gives its shares up", func() error {
		if s, err := c.status(c.socket(5)); err != nil || s.Keys != 0 || s.Handovers != 1 {
			return fmt.Errorf("%+v, %w", s, err)
		}
		return nil
	})

	// Back to six. One of the old four dies, and comes back.
	c.connected()
	c.pass(floor)
	between.Store(true)
	id = c.open(1, "--mode", "reshare", "--all", "--seats", strings.Join(seats, ","), "--phase-timeout", "6s")
	c.stopNode(3, syscall.SIGKILL)
	if err := c.startNode(3); err != nil {
		t.Fatal(err)
	}
	c.mustOperate(2, "ceremony", "watch", id)
	c.signsBelowFloor(id, probe)
	between.Store(false)
	c.inEpoch(0, 3)
	t.Logf("%d signatures meanwhile", stop())

	// Who came knows what others signed before it was a holder, and holds to it.
	for _, comer := range []int{4, 5} {
		marks := c.history(comer, quiet)
		if !marks.Block.Known || marks.Block.Slot != last {
			t.Errorf("node%d came with %+v, and slot %d was signed before", comer, marks.Block, last)
		}
		d := c.block(quiet, last, 99)
		d.epoch = 3
		c.eventually(patience, "the history holds", func() error {
			err := c.partial(c.socket(comer), d)
			var refused *rpc.Error
			switch {
			case errors.As(err, &refused) && (refused.Code == rpc.CodeSlashable || refused.Code == rpc.CodeFenced):
				return nil
			case err == nil:
				t.Errorf("node%d signs against a block of before", comer)
				return nil
			}
			return err // it waits for its share
		})
	}
}

// signsBelowFloor waits until a key signs blocks again after a reshare, and
// wants that to be before the floor has passed: because of the stops.
func (c *cluster) signsBelowFloor(id string, key bls.PublicKey) (slot, floor uint64) {
	c.t.Helper()
	c.level()
	one, err := c.ops(0).Ceremony(c.t.Context(), id)
	if err != nil || one.Handover == nil || len(one.Handover.Floored) != one.Holders {
		c.t.Fatalf("%+v, %v", one, err)
	}
	floor = one.Handover.Floor
	from := time.Now()
	said := c.eventually(patience, "enough old holders say where they stopped", func() error {
		if one, err = c.ops(0).Ceremony(c.t.Context(), id); err != nil || len(one.Handover.Stopped) < one.Handover.Needed {
			return fmt.Errorf("%+v, %w", one.Handover, err)
		}
		return nil
	})
	c.eventually(patience, "the key signs again", func() error {
		slot = c.slot()
		if status, answer := c.sign(0, c.block(key, slot, 2)); status != http.StatusOK {
			return fmt.Errorf("status %d: %s", status, answer)
		}
		return nil
	})
	if slot > floor {
		c.t.Errorf("signed at slot %d only, the floor is %d: the stops changed nothing", slot, floor)
	}
	c.t.Logf("%d stops %s after the commit, signed %s after it at slot %d, floor %d",
		len(one.Handover.Stopped), said.Round(time.Millisecond), time.Since(from).Round(time.Millisecond), slot, floor)
	return slot, floor
}

// pass waits until a slot is over. What a reshare says of the sharings before
// it does not go down: the next within two epochs would have to wait for it.
func (c *cluster) pass(slot uint64) {
	c.t.Helper()
	c.eventually(patience, "the floor has passed", func() error {
		if now := c.slot(); now <= slot {
			return fmt.Errorf("slot %d of %d", now, slot)
		}
		return nil
	})
}

// history is what a node's own holder knows of a key.
func (c *cluster) history(node int, key bls.PublicKey) (w slashing.Watermarks) {
	c.t.Helper()
	err := c.ask(c.socket(node), func(ctx context.Context, cu *custody.Client) error {
		ic, err := cu.ExportSlashing(ctx, [][bls.PublicKeySize]byte{key.Bytes()})
		if i := slices.IndexFunc(ic.Keys, func(k slashing.KeyHistory) bool { return k.Key == key.Bytes() }); err == nil && i >= 0 {
			w = ic.Keys[i].Watermarks
		}
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return w
}

// TestHandOverApart takes keys to holders of whom none held them before.
func TestHandOverApart(t *testing.T) {
	if !isNightly() {
		return
	}
	needsClusters(t)
	t.Parallel()
	c := newClusterOf(t, 8, 4)
	c.hold(0, 0, "--mode", "refresh", "--all")
	var halves [2][]string
	for i := range 8 {
		halves[i/4] = append(halves[i/4], strconv.Itoa(c.seat(i)))
	}
	var between atomic.Bool
	stop := sync.OnceValue(c.duties([]int{0, 4}, c.keys[:3], func(d duty) bool { return between.Load() && d.duty.Slashable() != nil }))
	defer stop()
	for turn, half := range []int{0, 1, 0} {
		between.Store(true)
		id := c.hold(turn%8, 0, "--mode", "reshare", "--all", "--seats", strings.Join(halves[half], ","), "--phase-timeout", "10s")
		_, floor := c.signsBelowFloor(id, c.keys[3])
		between.Store(false)
		c.pass(floor)
	}
	t.Logf("%d signatures meanwhile", stop())
	for i := range 8 {
		c.eventually(patience, "shares are where they belong", func() error {
			if s, err := c.status(c.socket(i)); err != nil || (s.Keys > 0) != (i < 4) {
				return fmt.Errorf("node%d: %+v, %w", i, s, err)
			}
			return nil
		})
	}
}
