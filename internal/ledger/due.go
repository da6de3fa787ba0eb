package ledger

import (
	"encoding/binary"
	"fmt"

	"github.com/quorate/quorate/internal/proof"
)

// What has to happen later stands in two indexes, ordered by time and by
// height, so that a block looks at what is due and at nothing else.

// Kinds of things that become due.
const (
	dueRequest  = "request"
	dueReturn   = "return"   // a suspended member comes back
	dueErase    = "erase"    // bodies of events may have been kept long enough
	dueRotation = "rotation" // the shares that a ceremony made may have grown too old
	dueSharings = "sharings" // the policy has changed: all shares, from those of a ceremony on
	dueTimer    = "timer"
	dueThaw     = "thaw"   // a frozen key comes back
	dueBeacon   = "beacon" // a ceremony has waited for the beacon long enough
)

func (s *State) timePath(at uint64, kind, id string) proof.Path {
	return s.ns.Path("due", fmt.Sprintf("%016x", at), kind, id)
}

func (s *State) heightPath(at uint64, kind, id string) proof.Path {
	return s.ns.Path("due-height", fmt.Sprintf("%016x", at), kind, id)
}

func (s *State) wakeAt(time uint64, kind, id string) {
	s.set(s.timePath(time, kind, id), dueValue(time, kind, id))
}

func (s *State) wakeAtHeight(height uint64, kind, id string) {
	s.set(s.heightPath(height, kind, id), dueValue(height, kind, id))
}

func dueValue(at uint64, kind, id string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, at), kind+" "+id...)
}

// due is one entry of an index.
type due struct {
	path     proof.Path
	kind, id string
}

// actOnDue acts on what is due. What an entry stands for may have come to an
// end since: whoever acts looks.
func (s *State) actOnDue(ctx txContext) {
	ready := append(s.dueUpTo("due", ctx.block.Time), s.dueUpTo("due-height", uint64(ctx.block.Height))...)
	for _, d := range ready {
		s.delete(d.path)
	}
	acts := map[string]func(txContext, string){
		dueRequest: s.requestDue, dueReturn: s.returnDue, dueErase: s.eraseDue, dueRotation: s.rotationDue,
		dueSharings: s.rotationChanged, dueTimer: s.timerDue, dueThaw: s.thawDue, dueBeacon: s.beaconDue,
	}
	for _, d := range ready {
		if act, known := acts[d.kind]; known {
			act(ctx, d.id)
		}
	}
}

func (s *State) dueUpTo(index string, limit uint64) (out []due) {
	s.iterate(s.ns.Prefix(index), func(k, v []byte) bool {
		if binary.BigEndian.Uint64(v) > limit {
			return false
		}
		d := due{path: proof.Path(k)}
		if _, err := fmt.Sscan(string(v[8:]), &d.kind, &d.id); err != nil {
			panic("ledger: own state is damaged: due entry: " + err.Error())
		}
		out = append(out, d)
		return true
	})
	return out
}

// NextDue returns the earliest moment, in milliseconds of block time, at which
// something is due, and whether something waits for the next height. A node
// makes a block then, which an idle ledger would not.
func (s *State) NextDue() (at uint64, waits, height bool) {
	s.iterate(s.ns.Prefix("due"), func(_, v []byte) bool {
		at, waits = binary.BigEndian.Uint64(v), true
		return false
	})
	s.iterate(s.ns.Prefix("due-height"), func(_, _ []byte) bool {
		height = true
		return false
	})
	return at, waits, height
}
