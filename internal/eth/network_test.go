package eth

import (
	"bytes"
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/wire"
)

func TestBuiltInNetworks(t *testing.T) {
	for _, name := range NetworkNames() {
		n := network(t, name)
		if err := n.check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		decoded, err := DecodeNetwork(n.Encode())
		if err != nil || !reflect.DeepEqual(decoded, n) {
			t.Errorf("%s: decoded %+v (%v), want %+v", name, decoded, err, n)
		}
		read, err := NetworkFromConfig(n.Config())
		if err != nil || !reflect.DeepEqual(read, n) {
			t.Errorf("%s: read %+v (%v), want %+v", name, read, err, n)
		}
	}
	if n, err := LookupNetwork("goerli"); err == nil {
		t.Errorf("found %v", n)
	}
}

func minimalConfig() map[string]string {
	return map[string]string{
		"CONFIG_NAME": "devnet", "PRESET_BASE": "minimal", "SECONDS_PER_SLOT": "1",
		"GENESIS_FORK_VERSION": "0x00000001",
		"ALTAIR_FORK_VERSION":  "0x01000001", "ALTAIR_FORK_EPOCH": "3",
		"BELLATRIX_FORK_VERSION": "0x02000001",
		"TERMINAL_BLOCK_HASH":    "0x00", "MAX_BLOBS_PER_BLOCK": "6",
	}
}

func TestNetworkFromConfig(t *testing.T) {
	n, err := NetworkFromConfig(minimalConfig())
	if err != nil {
		t.Fatal(err)
	}
	if n.Name != "devnet" || n.Preset != minimalPreset || n.SlotDuration != time.Second || n.GenesisValidatorsRoot != nil {
		t.Errorf("network %+v", n)
	}
	if n.ForkAt(2) != Phase0 || n.ForkAt(3) != Altair || n.ForkAt(FarFutureEpoch) != Altair {
		t.Errorf("schedule %+v", n.Forks)
	}
	if f, ok := n.ForkOf(Version{2, 0, 0, 1}); !ok || f != Bellatrix {
		t.Errorf("fork of bellatrix's version: %s, %v", f, ok)
	}
	if f, ok := n.ForkOf(Version{}); ok {
		t.Errorf("the zero version is %s", f)
	}
}

func TestNetworkFromConfigRefuses(t *testing.T) {
	cases := []struct{ key, value, want string }{
		{"PRESET_BASE", "", "PRESET_BASE"},
		{"PRESET_BASE", "gnosis", "neither mainnet nor minimal"},
		{"CONFIG_NAME", "", "name"},
		{"CONFIG_NAME", strings.Repeat("x", 65), "name"},
		{"SECONDS_PER_SLOT", "0", "SLOT_DURATION_MS"},
		{"SECONDS_PER_SLOT", "12s", "SECONDS_PER_SLOT"},
		{"SECONDS_PER_SLOT", "18446744073709551615", "SLOT_DURATION_MS"},
		{"SLOT_DURATION_MS", "12000", "differs from SECONDS_PER_SLOT"},
		{"GENESIS_FORK_VERSION", "00000001", "GENESIS_FORK_VERSION: not 0x"},
		{"GENESIS_FORK_VERSION", "0x000001", "GENESIS_FORK_VERSION: not 0x"},
		{"GENESIS_TIME", "-1", "GENESIS_TIME"},
		{"GENESIS_TIME", "18446744073709551615", "genesis time"},
		{"GENESIS_VALIDATORS_ROOT", "0x1234", "GENESIS_VALIDATORS_ROOT"},
		{"ALTAIR_FORK_VERSION", "0x00000001", "ALTAIR has the version of PHASE0"},
		{"BELLATRIX_FORK_EPOCH", "2", "BELLATRIX is before ALTAIR"},
		{"CAPELLA_FORK_EPOCH", "4", "CAPELLA is before BELLATRIX"},
		{"DENEB_FORK_VERSION", "0x04000001", "DENEB has a version, CAPELLA none"},
	}
	for _, c := range cases {
		config := minimalConfig()
		config[c.key] = c.value
		if n, err := NetworkFromConfig(config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%q: %+v, error %v, want %q", c.key, c.value, n, err, c.want)
		}
	}
	for _, key := range []string{"PRESET_BASE", "GENESIS_FORK_VERSION", "SECONDS_PER_SLOT", "ALTAIR_FORK_VERSION"} {
		config := maps.Clone(minimalConfig())
		delete(config, key)
		if _, err := NetworkFromConfig(config); err == nil {
			t.Errorf("built without %s", key)
		}
	}
}

func TestSlotAt(t *testing.T) {
	n := network(t, "mainnet")
	genesis := time.Unix(1606824023, 0)
	for _, c := range []struct {
		at   time.Time
		slot uint64
		ok   bool
	}{
		{genesis.Add(-time.Nanosecond), 0, false},
		{genesis, 0, true},
		{genesis.Add(12*time.Second - 1), 0, true},
		{genesis.Add(12 * time.Second), 1, true},
		{time.Unix(1733839223, 0), 10584600, true},
	} {
		if slot, ok := n.SlotAt(c.at); slot != c.slot || ok != c.ok {
			t.Errorf("at %v: slot %d, %v; want %d, %v", c.at, slot, ok, c.slot, c.ok)
		}
	}
	n.GenesisTime = 0
	if _, ok := n.SlotAt(genesis); ok {
		t.Error("a slot without a genesis time")
	}
	if n.EpochOf(95) != 2 {
		t.Errorf("epoch of slot 95 is %d", n.EpochOf(95))
	}
}

func FuzzDecodeNetwork(f *testing.F) {
	for _, name := range NetworkNames() {
		f.Add(network(f, name).Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := DecodeNetwork(b)
		if err != nil {
			if !errors.Is(err, wire.ErrMalformed) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if again := n.Encode(); !bytes.Equal(again, b) {
			t.Fatalf("decoded %x, encoded %x", b, again)
		}
		if _, err := NetworkFromConfig(n.Config()); err != nil {
			t.Fatalf("configuration of a decoded network: %v", err)
		}
	})
}
