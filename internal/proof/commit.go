package proof

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/quorate/quorate/internal/wire"
)

// ErrCommit is wrapped by every reason to refuse a commit.
var ErrCommit = errors.New("commit refused")

// Signature is one validator's precommit for the block. Absent validators and
// votes for nil prove nothing and have no place here.
type Signature struct {
	Index     int // in the validator set's order
	Time      time.Time
	Signature [ed25519.SignatureSize]byte
}

// Commit is why a header counts: precommits by more than two thirds of the
// power, and not one more. Height and block hash are the header's and are not
// repeated.
//
// It is minimal so that it is canonical: every signature is needed, hence
// checked, and no byte of a certificate can change unnoticed. NewCommit makes
// it so from the larger commit that CometBFT stores.
type Commit struct {
	Round      uint32
	Parts      PartSetHeader
	Signatures []Signature // ascending by index
}

// NewCommit keeps, of the precommits for h, the fewest first ones that make a
// quorum of vals. Signatures that do not verify are passed over: CometBFT
// accepts a few encodings (ZIP 215) that the standard library does not, and a
// Byzantine validator must not spoil a commit with one.
func NewCommit(vals ValidatorSet, h *Header, round uint32, parts PartSetHeader, precommits []Signature) (Commit, error) {
	c := Commit{Round: round, Parts: parts}
	if err := c.check(); err != nil {
		return Commit{}, err
	}
	var power uint64
	for _, s := range precommits {
		next := len(c.Signatures) == 0 || s.Index > c.Signatures[len(c.Signatures)-1].Index
		if !next || !c.signed(vals, h, s) {
			continue
		}
		c.Signatures = append(c.Signatures, s)
		if power += vals.vals[s.Index].Power; vals.isQuorum(power) {
			return c, nil
		}
	}
	return Commit{}, fmt.Errorf("make commit of height %d: %w: %d of %d power signed", h.Height, ErrCommit, power, vals.total)
}

// VerifyCommit says whether c proves that more than two thirds of vals
// committed h. It does not judge h beyond its shape and its validators.
func VerifyCommit(vals ValidatorSet, h *Header, c *Commit) error {
	if err := h.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrCommit, err)
	}
	if [32]byte(h.ValidatorsHash) != vals.hash {
		return fmt.Errorf("%w: header names other validators", ErrCommit)
	}
	if err := c.check(); err != nil {
		return err
	}
	var power uint64
	last := -1
	for _, s := range c.Signatures {
		switch {
		case s.Index <= last:
			return fmt.Errorf("%w: validator %d out of order or twice", ErrCommit, s.Index)
		case vals.isQuorum(power):
			return fmt.Errorf("%w: more signatures than needed", ErrCommit)
		case !c.signed(vals, h, s):
			return fmt.Errorf("%w: signature of validator %d does not verify", ErrCommit, s.Index)
		}
		last = s.Index
		power += vals.vals[s.Index].Power
	}
	if !vals.isQuorum(power) {
		return fmt.Errorf("%w: %d of %d power signed", ErrCommit, power, vals.total)
	}
	return nil
}

func (c *Commit) check() error {
	if c.Round > math.MaxInt32 || len(c.Parts.Hash) != 32 || c.Parts.Total == 0 {
		return fmt.Errorf("%w: round or part set out of range", ErrCommit)
	}
	return nil
}

func (c *Commit) signed(vals ValidatorSet, h *Header, s Signature) bool {
	if s.Index < 0 || s.Index >= len(vals.vals) || !validTime(s.Time) {
		return false
	}
	return ed25519.Verify(vals.vals[s.Index].PubKey, c.SignBytes(h, s.Time), s.Signature[:])
}

// SignBytes is what a precommit for h signs: CometBFT's CanonicalVote with its
// length in front.
func (c *Commit) SignBytes(h *Header, t time.Time) []byte {
	const precommit = 2
	hash := h.Hash()
	id := BlockID{Hash: hash[:], Parts: c.Parts}
	v := protoUint(nil, 1, precommit)
	v = protoFixed64(v, 2, h.Height)
	v = protoFixed64(v, 3, uint64(c.Round))
	v = protoMessage(v, 4, id.proto())
	v = protoMessage(v, 5, protoTime(t))
	v = protoBytes(v, 6, []byte(h.ChainID))
	return append(binary.AppendUvarint(nil, uint64(len(v))), v...)
}

func (c *Commit) encode(e *wire.Encoder) {
	e.U32(c.Round)
	e.U32(c.Parts.Total)
	e.Fixed(c.Parts.Hash)
	e.Count(len(c.Signatures))
	for _, s := range c.Signatures {
		e.U8(uint8(s.Index))
		encodeTime(e, s.Time)
		e.Fixed(s.Signature[:])
	}
}

func decodeCommit(d *wire.Decoder) Commit {
	c := Commit{Round: d.U32(), Parts: PartSetHeader{Total: d.U32(), Hash: make([]byte, 32)}}
	d.Fixed(c.Parts.Hash)
	c.Signatures = make([]Signature, d.Count(wire.MaxNodes, 1+12+ed25519.SignatureSize))
	for i := range c.Signatures {
		s := &c.Signatures[i]
		s.Index = int(d.U8())
		s.Time = decodeTime(d)
		d.Fixed(s.Signature[:])
	}
	return c
}
