package assembly

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/wire"
)

// Certificate is the light transcript of a ceremony: it alone proves that the
// key is a t-of-n sharing, that QUAL's dealers knew what they dealt, and that
// those it names hold their shares.
type Certificate struct {
	params  Params
	roster  [32]byte // who joined with which keys
	block   [32]byte // randomness after the freeze
	qual    []int
	headers map[int]*Header
	// What a certificate has of each proof of f(0) instead of its commitment,
	// which follows from it and is longer. Of a parsed one, Verify fills in the
	// headers.
	challenges map[int][challengeSize]byte
	points     []byte // encoded Y_0, …, Y_n
	holders    Seats
	proofs     []byte // attestations of the holders
}

// Certificate returns that of a ceremony that is done.
func (b *Board) Certificate() (*Certificate, error) {
	if b.phase != PhaseDone {
		return nil, fmt.Errorf("certify ceremony in phase %s: %w", b.phase, ErrPhase)
	}
	c := &Certificate{params: b.params, roster: b.roster, block: b.block, qual: b.set, headers: map[int]*Header{},
		challenges: map[int][challengeSize]byte{}, points: g1.AppendPoints(nil, b.points), holders: b.holders}
	for _, d := range b.set {
		h := *b.header(d)
		c.headers[d], c.challenges[d] = &h, h.challengeBytes(b.roster, d)
	}
	for _, i := range b.Holders() {
		c.proofs = append(c.proofs, b.at(i).confirm.Attestation[:]...)
	}
	return c, nil
}

// Encode returns the canonical bytes.
func (c *Certificate) Encode() []byte {
	var e wire.Encoder
	e.Fixed([]byte(certificateMagic))
	e.Fixed(c.params.Encode())
	e.Fixed(c.roster[:])
	e.Fixed(c.block[:])
	qual := newSeats(int(c.params.N))
	for _, d := range c.qual {
		qual.add(d)
	}
	e.Fixed(qual)
	for _, d := range c.qual {
		h, challenge := c.headers[d], c.challenges[d]
		e.Fixed(h.Constant[:])
		e.Fixed(h.R.Bytes())
		e.Fixed(challenge[:])
		e.Fixed(h.Knowledge[pointSize:])
		e.Fixed(h.Root[:])
		if c.params.Hybrid {
			e.Fixed(h.Mail[:])
		}
		e.Fixed(h.Rho[:])
	}
	e.Fixed(c.points)
	e.Fixed(c.holders)
	e.Fixed(c.proofs)
	return e.Out()
}

// ParseCertificate reads what Encode wrote. It proves nothing before Verify.
func ParseCertificate(raw []byte) (*Certificate, error) {
	if len(raw) > wire.MaxCertificate || !begins(raw, certificateMagic) {
		return nil, errors.New("parse certificate: not a ceremony's certificate")
	}
	d := wire.NewDecoder(raw)
	d.Fixed(make([]byte, len(certificateMagic)))
	c := &Certificate{params: readParams(d), headers: map[int]*Header{}, challenges: map[int][challengeSize]byte{}}
	if d.Err() != nil {
		return nil, fmt.Errorf("parse certificate: %w", d.Err())
	}
	d.Fixed(c.roster[:])
	d.Fixed(c.block[:])
	n, cid := int(c.params.N), c.params.ID()
	qual := takeSeats(d, n)
	if c.qual = qual.List(); len(c.qual) > wire.MaxDealers {
		d.Fail(errQual)
	}
	for _, i := range c.qual {
		if d.Err() != nil {
			break
		}
		c.readDealer(d, i, cid)
	}
	c.points = take(d, (n+1)*pointSize)
	c.holders = takeSeats(d, n)
	c.proofs = take(d, len(c.holders.List())*attestationSize)
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse certificate: %w", err)
	}
	return c, nil
}

func (c *Certificate) readDealer(d *wire.Decoder, i int, cid [32]byte) {
	h := &Header{CID: cid}
	var challenge [challengeSize]byte
	d.Fixed(h.Constant[:])
	h.R = kem.ReadPublicKey(d)
	d.Fixed(challenge[:])
	d.Fixed(h.Knowledge[pointSize:])
	d.Fixed(h.Root[:])
	if c.params.Hybrid {
		d.Fixed(h.Mail[:])
	}
	d.Fixed(h.Rho[:])
	c.headers[i], c.challenges[i] = h, challenge
}

// takeSeats reads a set of seats up to n.
func takeSeats(d *wire.Decoder, n int) Seats {
	s := Seats(take(d, (n+7)/8))
	if all := s.List(); len(all) > 0 && all[len(all)-1] > n {
		d.Fail(errSeat)
	}
	return s
}

// take reads a field of known size, which what is left bounds.
func take(d *wire.Decoder, n int) []byte {
	if n > d.Len() {
		d.Fail(errors.New("it ends early"))
		return nil
	}
	out := make([]byte, n)
	d.Fixed(out)
	return out
}

// Reasons why a certificate proves nothing.
var (
	errQual      = errors.New("fewer dealers than the ceremony wants")
	errProofs    = errors.New("a dealer's proofs are false")
	errPoint     = errors.New("not a point of the subgroup")
	errConstants = errors.New("the key is not the sum of what was dealt")
	errDegree    = errors.New("the points are not those of a polynomial of degree t-1")
	errHolders   = errors.New("fewer than n-f participants confirmed it")
)

// Verify checks everything that the certificate says.
func (c *Certificate) Verify() error {
	if err := c.verify(); err != nil {
		return fmt.Errorf("verify certificate: %w", err)
	}
	return nil
}

func (c *Certificate) verify() error {
	p := &c.params
	held := c.holders.List()
	switch {
	case len(c.qual) < p.minDealers() || p.Dealers > 0 && len(c.qual) > int(p.Cohorts)*int(p.Dealers):
		return errQual
	case len(held) < p.quorum():
		return errHolders
	}
	constants, err := c.known()
	if err != nil {
		return err
	}
	points := make([]bls.G1Point, int(p.N)+1)
	if j := readPoints(points, func(j int) []byte { return c.points[j*pointSize : (j+1)*pointSize] }); j >= 0 {
		return fmt.Errorf("point %d: %w", j, errPoint)
	}
	if outside := g1.Outside(points); len(outside) > 0 {
		return fmt.Errorf("point %d: %w", outside[0], errPoint)
	}
	cid, result := p.ID(), wire.CutTree(c.points, pointSize).Root()
	if !lowDegree(points, int(p.T), cid[:], result[:]) || !fullDegree(points, int(p.T)) {
		return errDegree
	}
	if err := c.unbiased(points, &constants); err != nil {
		return err
	}
	var keys []bls.G1Point
	var attestations [][]byte
	for k, i := range held {
		keys = append(keys, points[i])
		attestations = append(attestations, c.proofs[k*attestationSize:(k+1)*attestationSize])
	}
	if bad := g1.VerifyAttestations(keys, attestMessage(cid, result), attestations); len(bad) > 0 {
		return fmt.Errorf("confirmation of participant %d is false", held[bad[0]])
	}
	return nil
}

// known checks the proofs of the headers, and returns the sum of the constants.
// The commitment of a proof of f(0) is z·G - c·V_0, and is right if c is its
// hash; one inversion serves all of them.
func (c *Certificate) known() (constants bls.G1Point, err error) {
	commitments, constant := make([]bls.G1Point, len(c.qual)), make([]bls.G1Point, 1)
	for k, d := range c.qual {
		h, challenge := c.headers[d], c.challenges[d]
		var z, x bls.G1Scalar
		if readPoints(constant, func(int) []byte { return h.Constant[:] }) >= 0 || g1.SetScalar(&z, h.Knowledge[pointSize:]) != nil {
			return constants, fmt.Errorf("dealer %d: %w", d, errProofs)
		}
		g1.AddPoint(&constants, &constant[0])
		g1.SetWeight(&x, &challenge)
		by := g1.VarTimeMultiMult(constant, []bls.G1Scalar{x}, challengeBits)
		g1.BaseMult(&commitments[k], &z)
		g1.SubPoint(&commitments[k], &by)
	}
	encoded := g1.AppendPoints(nil, commitments)
	for k, d := range c.qual {
		h := c.headers[d]
		copy(h.Knowledge[:pointSize], encoded[k*pointSize:])
		if g1.IsIdentity(&commitments[k]) || h.challengeBytes(c.roster, d) != c.challenges[d] ||
			(h.Mail != digest{}) != c.params.Hybrid || !h.provesRho(c.roster, d) {
			return constants, fmt.Errorf("dealer %d: %w", d, errProofs)
		}
	}
	return constants, nil
}

// unbiased checks that Y_0 = Σ V_0 + δ·G. δ comes out of a hash of the points
// as they were before it was added. So Y_0 - Σ V_0 is taken off all of them,
// and the δ that then comes out has to be its logarithm.
func (c *Certificate) unbiased(points []bls.G1Point, constants *bls.G1Point) error {
	by := points[0]
	g1.SubPoint(&by, constants)
	before := append([]bls.G1Point(nil), points...)
	for j := range before {
		g1.SubPoint(&before[j], &by)
	}
	_, root := rootOf(before)
	d := delta(transcript(c.roster, c.qual, func(i int) *Header { return c.headers[i] }), root, c.block)
	var want bls.G1Point
	g1.BaseMult(&want, &d)
	if !g1.Equal(&want, &by) {
		return errConstants
	}
	return nil
}

// PublicKey returns the key; of a certificate that verified it is one.
func (c *Certificate) PublicKey() (bls.PublicKey, error) {
	return bls.ParsePublicKey(c.points[:pointSize])
}

// Result returns the root over Y_0, …, Y_n of a ceremony that has one.
func (b *Board) Result() (root [32]byte, ok bool) {
	return b.result, b.phase == PhaseDone
}

// Result returns the root over the points, which a hand-over to nodes names.
func (c *Certificate) Result() [32]byte { return wire.CutTree(c.points, pointSize).Root() }

// Path leads from Y_i to it.
func (c *Certificate) Path(i int) []wire.Digest { return wire.CutTree(c.points, pointSize).Path(0, i) }
