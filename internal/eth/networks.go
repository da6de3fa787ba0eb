package eth

import (
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// NetworkNames lists the networks that LookupNetwork knows.
func NetworkNames() []string { return []string{"mainnet", "hoodi", "sepolia", "holesky"} }

// LookupNetwork returns a public network, as its configuration stood when this
// was written: a fork that is scheduled later changes no signing root, because
// clients name the version in force.
func LookupNetwork(name string) (*Network, error) {
	if !slices.Contains(NetworkNames(), name) {
		return nil, fmt.Errorf("look up network %.40q: none of %v", name, NetworkNames())
	}
	n := &Network{Name: name, Preset: mainnetPreset, SlotDuration: 12 * time.Second}
	switch name {
	case "mainnet":
		n.GenesisTime = 1606824023
		n.GenesisValidatorsRoot = mustRoot("4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95")
		n.Forks = [forkCount]ScheduledFork{
			Phase0:    {Version{0x00, 0, 0, 0}, 0},
			Altair:    {Version{0x01, 0, 0, 0}, 74240},
			Bellatrix: {Version{0x02, 0, 0, 0}, 144896},
			Capella:   {Version{0x03, 0, 0, 0}, 194048},
			Deneb:     {Version{0x04, 0, 0, 0}, 269568},
			Electra:   {Version{0x05, 0, 0, 0}, 364032},
			Fulu:      {Version{0x06, 0, 0, 0}, 411392},
			Gloas:     {Version{0x07, 0, 0, 0}, FarFutureEpoch},
		}
	case "hoodi":
		n.GenesisTime = 1742213400
		n.GenesisValidatorsRoot = mustRoot("212f13fc4df078b6cb7db228f1c8307566dcecf900867401a92023d7ba99cb5f")
		n.Forks = [forkCount]ScheduledFork{
			Phase0:    {Version{0x10, 0, 0x09, 0x10}, 0},
			Altair:    {Version{0x20, 0, 0x09, 0x10}, 0},
			Bellatrix: {Version{0x30, 0, 0x09, 0x10}, 0},
			Capella:   {Version{0x40, 0, 0x09, 0x10}, 0},
			Deneb:     {Version{0x50, 0, 0x09, 0x10}, 0},
			Electra:   {Version{0x60, 0, 0x09, 0x10}, 2048},
			Fulu:      {Version{0x70, 0, 0x09, 0x10}, 50688},
			Gloas:     {Version{0x80, 0, 0x09, 0x10}, FarFutureEpoch},
		}
	case "sepolia":
		n.GenesisTime = 1655733600
		n.GenesisValidatorsRoot = mustRoot("d8ea171f3c94aea21ebc42a1ed61052acf3f9209c00e4efbaaddac09ed9b8078")
		n.Forks = [forkCount]ScheduledFork{
			Phase0:    {Version{0x90, 0, 0, 0x69}, 0},
			Altair:    {Version{0x90, 0, 0, 0x70}, 50},
			Bellatrix: {Version{0x90, 0, 0, 0x71}, 100},
			Capella:   {Version{0x90, 0, 0, 0x72}, 56832},
			Deneb:     {Version{0x90, 0, 0, 0x73}, 132608},
			Electra:   {Version{0x90, 0, 0, 0x74}, 222464},
			Fulu:      {Version{0x90, 0, 0, 0x75}, 272640},
			Gloas:     {Version{0x90, 0, 0, 0x76}, 353024},
		}
	case "holesky":
		n.GenesisTime = 1695902400
		n.GenesisValidatorsRoot = mustRoot("9143aa7c615a7f7115e2b6aac319c03529df8242ae705fba9df39b79c59fa8b1")
		n.Forks = [forkCount]ScheduledFork{
			Phase0:    {Version{0x01, 0x01, 0x70, 0}, 0},
			Altair:    {Version{0x02, 0x01, 0x70, 0}, 0},
			Bellatrix: {Version{0x03, 0x01, 0x70, 0}, 0},
			Capella:   {Version{0x04, 0x01, 0x70, 0}, 256},
			Deneb:     {Version{0x05, 0x01, 0x70, 0}, 29696},
			Electra:   {Version{0x06, 0x01, 0x70, 0}, 115968},
			Fulu:      {Version{0x07, 0x01, 0x70, 0}, 165120},
			Gloas:     {Epoch: FarFutureEpoch}, // holesky ended before
		}
	}
	return n, nil
}

func mustRoot(s string) *Root {
	var r Root
	if n, err := hex.Decode(r[:], []byte(s)); err != nil || n != len(r) {
		panic("eth: malformed constant " + s)
	}
	return &r
}
