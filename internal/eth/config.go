package eth

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// NetworkFromConfig builds a network from configuration keys of the
// consensus-specs. Of a fork that is absent the network has none; other keys
// are passed over, as a published configuration has many more.
//
//	CONFIG_NAME               the name; "custom" if absent
//	PRESET_BASE               mainnet or minimal
//	SLOT_DURATION_MS          or the older SECONDS_PER_SLOT
//	GENESIS_FORK_VERSION
//	<FORK>_FORK_VERSION, <FORK>_FORK_EPOCH
//	GENESIS_TIME              optional, Unix seconds
//	GENESIS_VALIDATORS_ROOT   optional
func NetworkFromConfig(config map[string]string) (*Network, error) {
	c := configReader{config: config}
	n := &Network{Name: "custom", GenesisTime: c.number("GENESIS_TIME", 0)}
	if name, ok := config["CONFIG_NAME"]; ok {
		n.Name = name
	}
	preset, err := LookupPreset(c.must("PRESET_BASE"))
	c.fail("PRESET_BASE", err)
	n.Preset = preset
	n.SlotDuration = c.slotDuration()
	if _, ok := config["GENESIS_VALIDATORS_ROOT"]; ok {
		n.GenesisValidatorsRoot = new(Root)
		c.hex("GENESIS_VALIDATORS_ROOT", n.GenesisValidatorsRoot[:])
	}
	c.must("GENESIS_FORK_VERSION")
	c.hex("GENESIS_FORK_VERSION", n.Forks[Phase0].Version[:])
	for f := Altair; f < forkCount; f++ {
		c.hex(f.String()+"_FORK_VERSION", n.Forks[f].Version[:])
		n.Forks[f].Epoch = c.number(f.String()+"_FORK_EPOCH", FarFutureEpoch)
	}
	c.fail("schedule", n.check())
	if c.err != nil {
		return nil, fmt.Errorf("read network configuration: %w", c.err)
	}
	return n, nil
}

// Config returns the keys from which NetworkFromConfig builds the network.
func (n *Network) Config() map[string]string {
	c := map[string]string{
		"CONFIG_NAME":          n.Name,
		"PRESET_BASE":          n.Preset.Name,
		"SLOT_DURATION_MS":     strconv.FormatInt(n.SlotDuration.Milliseconds(), 10),
		"GENESIS_FORK_VERSION": hex0x(n.Forks[Phase0].Version[:]),
	}
	if n.GenesisTime != 0 {
		c["GENESIS_TIME"] = strconv.FormatUint(n.GenesisTime, 10)
	}
	if n.GenesisValidatorsRoot != nil {
		c["GENESIS_VALIDATORS_ROOT"] = hex0x(n.GenesisValidatorsRoot[:])
	}
	for f := Altair; f < forkCount; f++ {
		if s := n.Forks[f]; s.Version != (Version{}) {
			c[f.String()+"_FORK_VERSION"] = hex0x(s.Version[:])
			c[f.String()+"_FORK_EPOCH"] = strconv.FormatUint(s.Epoch, 10)
		}
	}
	return c
}

func hex0x(b []byte) string { return "0x" + hex.EncodeToString(b) }

// configReader keeps the first error.
type configReader struct {
	config map[string]string
	err    error
}

func (c *configReader) fail(key string, err error) {
	if c.err == nil && err != nil {
		c.err = fmt.Errorf("%s: %w", key, err)
	}
}

func (c *configReader) must(key string) string {
	v, ok := c.config[key]
	if !ok {
		c.fail(key, errors.New("missing"))
	}
	return v
}

func (c *configReader) number(key string, absent uint64) uint64 {
	v, ok := c.config[key]
	if !ok {
		return absent
	}
	x, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		c.fail(key, errors.New("not a decimal integer of 64 bits"))
	}
	return x
}

func (c *configReader) hex(key string, dst []byte) {
	v, ok := c.config[key]
	if !ok {
		return
	}
	digits, ok := strings.CutPrefix(v, "0x")
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) != len(dst) {
		c.fail(key, fmt.Errorf("not 0x and %d hexadecimal digits", 2*len(dst)))
		return
	}
	copy(dst, b)
}

// slotDuration reads either key; where both stand they must agree.
func (c *configReader) slotDuration() time.Duration {
	const maxMilliseconds = uint64(time.Hour / time.Millisecond)
	seconds := c.number("SECONDS_PER_SLOT", 0)
	ms := c.number("SLOT_DURATION_MS", 1000*min(seconds, maxMilliseconds))
	if seconds != 0 && ms != 1000*min(seconds, maxMilliseconds) {
		c.fail("SLOT_DURATION_MS", errors.New("differs from SECONDS_PER_SLOT"))
	}
	if ms == 0 || ms > maxMilliseconds {
		c.fail("SLOT_DURATION_MS", errors.New("not between 1 and an hour, and no SECONDS_PER_SLOT"))
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}
