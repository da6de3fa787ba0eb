package eth

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/quorate/quorate/internal/wire"
)

// FarFutureEpoch is the epoch of what is not scheduled.
const FarFutureEpoch = math.MaxUint64

// Fork is an upgrade of the consensus layer.
type Fork uint8

// The forks in their order.
const (
	Phase0 Fork = iota
	Altair
	Bellatrix
	Capella
	Deneb
	Electra
	Fulu
	Gloas
	forkCount
)

// String returns the name that the APIs use.
func (f Fork) String() string {
	switch f {
	case Phase0:
		return "PHASE0"
	case Altair:
		return "ALTAIR"
	case Bellatrix:
		return "BELLATRIX"
	case Capella:
		return "CAPELLA"
	case Deneb:
		return "DENEB"
	case Electra:
		return "ELECTRA"
	case Fulu:
		return "FULU"
	case Gloas:
		return "GLOAS"
	}
	return fmt.Sprintf("fork %d", uint8(f))
}

// ParseFork returns the fork of a name.
func ParseFork(name string) (Fork, error) {
	for f := range forkCount {
		if f.String() == name {
			return f, nil
		}
	}
	return 0, fmt.Errorf("parse fork %.40q: no such fork", name)
}

// Preset holds the constants that differ between the presets of the
// consensus-specs and that roots or epochs depend on.
type Preset struct {
	Name                 string
	SlotsPerEpoch        uint64
	MaxCommitteesPerSlot uint64
	SyncCommitteeSize    uint64
}

// The two presets. Each size of mainnet is the larger one.
var (
	mainnetPreset = Preset{"mainnet", 32, 64, 512}
	minimalPreset = Preset{"minimal", 8, 4, 32}
)

// LookupPreset returns the preset of a name.
func LookupPreset(name string) (Preset, error) {
	switch name {
	case mainnetPreset.Name:
		return mainnetPreset, nil
	case minimalPreset.Name:
		return minimalPreset, nil
	}
	return Preset{}, fmt.Errorf("look up preset %.40q: neither mainnet nor minimal", name)
}

// ScheduledFork is when a network takes a fork, and under which version.
type ScheduledFork struct {
	Version Version // zero where the network does not know the fork
	Epoch   uint64
}

// Network is what a signer needs to know of a network. It does not change once
// built, except that a genesis_validators_root may be pinned later.
type Network struct {
	Name                  string
	Preset                Preset
	SlotDuration          time.Duration
	GenesisTime           uint64 // Unix seconds; zero while unknown
	GenesisValidatorsRoot *Root  // nil while unknown: any is accepted
	Forks                 [forkCount]ScheduledFork
}

// EpochOf returns the epoch of a slot.
func (n *Network) EpochOf(slot uint64) uint64 { return slot / n.Preset.SlotsPerEpoch }

// SlotAt returns the slot at t; false before genesis or while its time is unknown.
func (n *Network) SlotAt(t time.Time) (uint64, bool) {
	if n.GenesisTime == 0 || t.Unix() < int64(n.GenesisTime) {
		return 0, false
	}
	return uint64(t.Sub(time.Unix(int64(n.GenesisTime), 0)) / n.SlotDuration), true
}

// ForkOf returns the fork that has the version on this network.
func (n *Network) ForkOf(v Version) (Fork, bool) {
	for f, s := range n.Forks {
		if s.Version == v && (f == 0 || v != Version{}) {
			return Fork(f), true
		}
	}
	return 0, false
}

// ForkAt returns the fork that the schedule puts in force at epoch.
func (n *Network) ForkAt(epoch uint64) Fork {
	at := Phase0
	for f, s := range n.Forks {
		if s.Epoch <= epoch && s.Epoch != FarFutureEpoch {
			at = Fork(f)
		}
	}
	return at
}

// check reports what makes the network unusable.
func (n *Network) check() error {
	switch {
	case n.Name == "" || len(n.Name) > wire.MaxName:
		return errors.New("name is empty or too long")
	case n.SlotDuration <= 0 || n.SlotDuration > time.Hour || n.SlotDuration%time.Millisecond != 0:
		return errors.New("slot duration is not between a millisecond and an hour")
	case n.GenesisTime > math.MaxInt64/2:
		return errors.New("genesis time out of range")
	case n.Forks[Phase0].Epoch != 0:
		return errors.New("phase0 does not start at epoch 0")
	}
	for f := Altair; f < forkCount; f++ {
		this, last := n.Forks[f], n.Forks[f-1]
		if this.Epoch < last.Epoch {
			return fmt.Errorf("%s is before %s", f, f-1)
		}
		if this.Version == (Version{}) && this.Epoch != FarFutureEpoch {
			return fmt.Errorf("%s is scheduled without a version", f)
		}
		if this.Version != (Version{}) && f > Altair && last.Version == (Version{}) {
			return fmt.Errorf("%s has a version, %s none", f, f-1)
		}
		if other, known := n.ForkOf(this.Version); known && other != f && this.Version != (Version{}) {
			return fmt.Errorf("%s has the version of %s", f, other)
		}
	}
	return nil
}

// Encode returns the canonical bytes.
func (n *Network) Encode() []byte {
	e := wire.NewEncoder(nil)
	e.String(n.Name)
	e.String(n.Preset.Name)
	e.U64(uint64(n.SlotDuration.Milliseconds()))
	e.U64(n.GenesisTime)
	e.Bool(n.GenesisValidatorsRoot != nil)
	if n.GenesisValidatorsRoot != nil {
		e.Fixed(n.GenesisValidatorsRoot[:])
	}
	for _, f := range n.Forks {
		e.Fixed(f.Version[:])
		e.U64(f.Epoch)
	}
	return e.Out()
}

// DecodeNetwork reads what Encode returned.
func DecodeNetwork(b []byte) (*Network, error) {
	d := wire.NewDecoder(b)
	n := &Network{Name: d.String(wire.MaxName)}
	preset, err := LookupPreset(d.String(wire.MaxName))
	d.Fail(err)
	n.Preset = preset
	if ms := d.U64(); ms <= uint64(time.Hour/time.Millisecond) {
		n.SlotDuration = time.Duration(ms) * time.Millisecond
	}
	n.GenesisTime = d.U64()
	if d.Bool() {
		n.GenesisValidatorsRoot = new(Root)
		d.Fixed(n.GenesisValidatorsRoot[:])
	}
	for i := range n.Forks {
		d.Fixed(n.Forks[i].Version[:])
		n.Forks[i].Epoch = d.U64()
	}
	if d.Err() == nil {
		d.Fail(n.check())
	}
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("decode network: %w", err)
	}
	return n, nil
}
