package proof

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/wire"
)

// State is the preimage of the AppHash: everything the ledger is, apart from
// its height. A block without effects leaves it, and so the AppHash, as it was.
type State struct {
	AppVersion uint64
	KVRoot     [32]byte // IAVL root of the key-value state
	LogSize    uint64   // entries of the audit log
	LogRoot    [32]byte // its RFC 6962 root
}

// AppHash binds the state to its cluster. The hash of the state after block H
// stands in header H+1.
func (s State) AppHash(cluster [32]byte) [32]byte {
	return wire.Hash(wire.TagAppHash, cluster[:],
		binary.BigEndian.AppendUint64(nil, s.AppVersion), s.KVRoot[:],
		binary.BigEndian.AppendUint64(nil, s.LogSize), s.LogRoot[:])
}

func (s State) encode(e *wire.Encoder) {
	e.U64(s.AppVersion)
	e.Fixed(s.KVRoot[:])
	e.U64(s.LogSize)
	e.Fixed(s.LogRoot[:])
}

func decodeState(d *wire.Decoder) (s State) {
	s.AppVersion = d.U64()
	d.Fixed(s.KVRoot[:])
	s.LogSize = d.U64()
	d.Fixed(s.LogRoot[:])
	return s
}

// Claim says that a key holds a value (Inclusion is set) or that it is absent
// (Absence is set, Value empty). Exactly one of the two is set.
type Claim struct {
	Key       []byte
	Value     []byte
	Inclusion *Inclusion
	Absence   *Absence
}

// Verify says whether the claim is true under an IAVL root.
func (c *Claim) Verify(root [32]byte) error {
	switch {
	case c.Inclusion != nil && c.Absence == nil:
		return c.Inclusion.Verify(root, c.Key, c.Value)
	case c.Absence != nil && c.Inclusion == nil && len(c.Value) == 0:
		return c.Absence.Verify(root, c.Key)
	}
	return fmt.Errorf("%w: neither presence nor absence", ErrInclusion)
}

// Link leads over one change of the validator set: the header that announces
// the next set, committed by the set before it, and that next set.
type Link struct {
	Header Header
	Commit Commit
	Next   ValidatorSet
}

// Certificate is a statement of the ledger that can be checked anywhere: what
// some keys hold in the state after block Header.Height-1. It is untrusted
// until Client.Verify turns it into a Verified.
type Certificate struct {
	Links  []Link // changes of the validator set since the client's height, ascending
	Header Header
	Commit Commit
	State  State
	Claims []Claim // strictly ascending by key
}

const certificateFormat = 1

// Encode writes the one encoding of a certificate. It refuses what Parse
// would refuse.
func (c *Certificate) Encode() ([]byte, error) {
	var e wire.Encoder
	e.U16(certificateFormat)
	e.Count(len(c.Links))
	for i := range c.Links {
		l := &c.Links[i]
		l.Header.encode(&e)
		l.Commit.encode(&e)
		l.Next.encode(&e)
	}
	c.Header.encode(&e)
	c.Commit.encode(&e)
	c.State.encode(&e)
	e.Count(len(c.Claims))
	for i := range c.Claims {
		c.Claims[i].encode(&e)
	}
	out := e.Out()
	if _, err := Parse(out); err != nil {
		return nil, fmt.Errorf("encode certificate of height %d: %w", c.Header.Height, err)
	}
	return out, nil
}

var (
	errFormat     = errors.New("unknown certificate format")
	errClaimOrder = errors.New("claims not strictly ascending")
)

// Parse reads an untrusted certificate. It checks form, never truth.
func Parse(b []byte) (*Certificate, error) {
	if len(b) > wire.MaxProof {
		return nil, fmt.Errorf("parse certificate: %w: %d bytes over the limit of %d", wire.ErrMalformed, len(b), wire.MaxProof)
	}
	d := wire.NewDecoder(b)
	if d.U16() != certificateFormat {
		d.Fail(errFormat)
	}
	c := new(Certificate)
	for range d.Count(wire.MaxSetChanges, minHeaderSize) {
		c.Links = append(c.Links, Link{decodeHeader(d), decodeCommit(d), decodeValidatorSet(d)})
	}
	c.Header = decodeHeader(d)
	c.Commit = decodeCommit(d)
	c.State = decodeState(d)
	for range d.Count(wire.MaxClaims, minClaimSize) {
		c.Claims = append(c.Claims, decodeClaim(d))
		if n := len(c.Claims); n > 1 && bytes.Compare(c.Claims[n-2].Key, c.Claims[n-1].Key) >= 0 {
			d.Fail(errClaimOrder)
		}
	}
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse certificate: %w", err)
	}
	return c, nil
}

// What the least header and claim take, to bound counts by the bytes left.
const (
	minHeaderSize = 100
	minClaimSize  = 4 + 1 + 6
)

func (c *Claim) encode(e *wire.Encoder) {
	e.Bytes(c.Key)
	e.Bool(c.Inclusion != nil)
	if c.Inclusion != nil {
		e.Bytes(c.Value)
		c.Inclusion.encode(e)
	} else if c.Absence != nil {
		c.Absence.encode(e)
	}
}

func decodeClaim(d *wire.Decoder) Claim {
	c := Claim{Key: d.Bytes(wire.MaxPath)}
	if d.Bool() {
		c.Value = d.Bytes(wire.MaxProof)
		c.Inclusion = decodeInclusion(d)
	} else {
		c.Absence = decodeAbsence(d)
	}
	return c
}
