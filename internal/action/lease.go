package action

import (
	"fmt"
	"time"

	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/wire"
)

// Ceiling is how far an incarnation of a custody process may go with
// slashable duties: blocks up to Slot, attestations up to Target with sources
// up to Source, all inclusive. It is committed to the ledger before anything
// is signed under it, so that a later incarnation knows, whatever happened to
// the disk, above what nothing was signed.
type Ceiling struct{ Slot, Source, Target uint64 }

// Max returns the higher of two ceilings, in each part.
func (c Ceiling) Max(o Ceiling) Ceiling {
	return Ceiling{max(c.Slot, o.Slot), max(c.Source, o.Source), max(c.Target, o.Target)}
}

// Min returns the lower of two ceilings, in each part.
func (c Ceiling) Min(o Ceiling) Ceiling {
	return Ceiling{min(c.Slot, o.Slot), min(c.Source, o.Source), min(c.Target, o.Target)}
}

// Covers reports whether nothing of o lies above c.
func (c Ceiling) Covers(o Ceiling) bool { return c == c.Max(o) }

// CeilingAt is the highest ceiling that may be committed in a block of that
// time: the end of the next epoch. This is the lease: how long signing goes
// on without the ledger.
func CeilingAt(n *eth.Network, t time.Time) Ceiling {
	slot, _ := n.SlotAt(t) // 0 before genesis
	epoch := n.EpochOf(slot)
	return Ceiling{Slot: (epoch+2)*n.Preset.SlotsPerEpoch - 1, Source: epoch, Target: epoch + 1}
}

// FloorAfter is what a new incarnation has to stay above: every ceiling that
// the ledger remembers of those before, and every ceiling that could have been
// committed up to the header that shows the registration. The header makes the
// difference when the ledger itself was rolled back; its time is that of votes
// cast after the process drew its id, whereas the time of the block with the
// registration may be as old as the ledger was at rest.
func FloorAfter(n *eth.Network, former Ceiling, header time.Time) Ceiling {
	return former.Max(CeilingAt(n, header))
}

// Incarnation is one life of a custody process, from start to end, as the
// ledger keeps it. The ledger, and every peer, listens to the newest only.
type Incarnation struct {
	Number   uint64
	ID       [32]byte // an Ed25519 key that exists in the process's memory only
	Previous [32]byte // id of the incarnation before
	Height   uint64   // of its registration
	Former   Ceiling  // the highest of all incarnations before
	Ceiling  Ceiling  // its own
	Before   Anchored // the last of the incarnation before
	Anchor   Anchored // its own last
	// Handovers counts the reshares that replaced shares of this custody
	// process, in all its lives. One that has not carried out as many takes no
	// further ceiling.
	Handovers uint64
}

func (c Ceiling) encode(e *wire.Encoder) {
	e.U64(c.Slot)
	e.U64(c.Source)
	e.U64(c.Target)
}

func readCeiling(d *wire.Decoder) Ceiling {
	return Ceiling{Slot: d.U64(), Source: d.U64(), Target: d.U64()}
}

// RolledBack reports whether a record that opened at an anchor is older than
// the one that the incarnation before had.
func (i Incarnation) RolledBack(opened Anchor) bool { return opened.Behind(i.Before.Anchor) }

// Encode returns the record's canonical bytes.
func (i Incarnation) Encode() []byte {
	var e wire.Encoder
	e.U8(recordVersion)
	e.U64(i.Number)
	e.Fixed(i.ID[:])
	e.Fixed(i.Previous[:])
	e.U64(i.Height)
	i.Former.encode(&e)
	i.Ceiling.encode(&e)
	i.Before.encode(&e)
	i.Anchor.encode(&e)
	e.U64(i.Handovers)
	return e.Out()
}

// ParseIncarnation reads what Encode returned.
func ParseIncarnation(b []byte) (i Incarnation, err error) {
	d := wire.NewDecoder(b)
	if v := d.U8(); d.Err() == nil && v != recordVersion {
		d.Fail(fmt.Errorf("version %d", v))
	}
	i.Number = d.U64()
	d.Fixed(i.ID[:])
	d.Fixed(i.Previous[:])
	i.Height = d.U64()
	i.Former, i.Ceiling = readCeiling(d), readCeiling(d)
	i.Before, i.Anchor = decodeAnchored(d), decodeAnchored(d)
	i.Handovers = d.U64()
	if err := d.Finish(); err != nil {
		return Incarnation{}, fmt.Errorf("parse incarnation: %w", err)
	}
	return i, nil
}

// EthNetwork returns the network that the cluster signs for. One that does
// not say when it began began with the cluster.
func (g *Genesis) EthNetwork() (*eth.Network, error) {
	n, err := eth.NetworkFromConfig(g.Network)
	if err != nil {
		return nil, fmt.Errorf("read the genesis's network: %w", err)
	}
	if n.GenesisTime == 0 {
		n.GenesisTime = uint64(g.Time.Unix())
	}
	return n, nil
}
