package proof

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/quorate/quorate/internal/wire"
)

// VotePower is each node's weight in the engine: operators are equal. It is
// even because CometBFT halves a commit's weight in integers to find the median
// of its votes' times, and rounds down: three votes of weight 1 would have the
// lowest time for their median, and one clock that lags could stop the
// ledger's time.
const VotePower = 2

// maxTotalPower is CometBFT's cap; it keeps three times the power in a uint64.
const maxTotalPower = math.MaxInt64 / 8

// Validator is one seat of consensus.
type Validator struct {
	PubKey ed25519.PublicKey
	Power  uint64
}

// Address is how CometBFT names the validator in a header.
func (v Validator) Address() [20]byte {
	h := sha256.Sum256(v.PubKey)
	return [20]byte(h[:20])
}

// simpleProto is CometBFT's SimpleValidator, the leaf of the set's hash.
func (v Validator) simpleProto() []byte {
	key := protoBytes(nil, 1, v.PubKey) // oneof ed25519
	return protoUint(protoMessage(nil, 1, key), 2, v.Power)
}

// compare orders as CometBFT does: most power first, then by address.
func (v Validator) compare(w Validator) int {
	if v.Power != w.Power {
		if v.Power > w.Power {
			return -1
		}
		return 1
	}
	a, b := v.Address(), w.Address()
	return bytes.Compare(a[:], b[:])
}

// ValidatorSet is a non-empty set of validators in CometBFT's order. It is
// immutable, and its zero value is no set at all: nothing verifies under it.
type ValidatorSet struct {
	vals  []Validator
	total uint64
	hash  [32]byte
}

// NewValidatorSet takes validators in any order.
func NewValidatorSet(vals []Validator) (ValidatorSet, error) {
	s := ValidatorSet{vals: slices.Clone(vals)}
	if len(vals) == 0 || len(vals) > wire.MaxNodes {
		return ValidatorSet{}, fmt.Errorf("make validator set: %d validators, want 1 to %d", len(vals), wire.MaxNodes)
	}
	leaves := make([][]byte, len(vals))
	seen := make(map[string]bool, len(vals))
	for i, v := range s.vals {
		switch {
		case len(v.PubKey) != ed25519.PublicKeySize:
			return ValidatorSet{}, fmt.Errorf("make validator set: key %d has %d bytes", i, len(v.PubKey))
		case seen[string(v.PubKey)]:
			return ValidatorSet{}, fmt.Errorf("make validator set: key %x stands twice", v.PubKey)
		case v.Power == 0 || v.Power > maxTotalPower-s.total:
			return ValidatorSet{}, fmt.Errorf("make validator set: power %d of key %x out of range", v.Power, v.PubKey)
		}
		seen[string(v.PubKey)] = true
		s.vals[i].PubKey = slices.Clone(v.PubKey)
		s.total += v.Power
	}
	slices.SortFunc(s.vals, Validator.compare)
	for i, v := range s.vals {
		leaves[i] = v.simpleProto()
	}
	s.hash = merkleRoot(leaves)
	return s, nil
}

// Hash is what a header calls ValidatorsHash.
func (s ValidatorSet) Hash() [32]byte { return s.hash }

// Len is the number of validators; a commit's indices run below it.
func (s ValidatorSet) Len() int { return len(s.vals) }

// Validators returns a copy in CometBFT's order.
func (s ValidatorSet) Validators() []Validator { return slices.Clone(s.vals) }

// isQuorum says whether power is more than two thirds of the whole.
func (s ValidatorSet) isQuorum(power uint64) bool {
	return len(s.vals) > 0 && 3*power > 2*s.total
}

func (s ValidatorSet) encode(e *wire.Encoder) {
	e.Count(len(s.vals))
	for _, v := range s.vals {
		e.Fixed(v.PubKey)
		e.U64(v.Power)
	}
}

var errSetOrder = errors.New("validators not in canonical order")

func decodeValidatorSet(d *wire.Decoder) ValidatorSet {
	vals := make([]Validator, d.Count(wire.MaxNodes, ed25519.PublicKeySize+8))
	for i := range vals {
		vals[i].PubKey = make([]byte, ed25519.PublicKeySize)
		d.Fixed(vals[i].PubKey)
		vals[i].Power = d.U64()
	}
	if d.Err() != nil {
		return ValidatorSet{}
	}
	if !slices.IsSortedFunc(vals, Validator.compare) {
		d.Fail(errSetOrder)
	}
	s, err := NewValidatorSet(vals)
	d.Fail(err)
	return s
}
