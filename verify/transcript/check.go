package transcript

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"

	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/gtank/ristretto255"
)

const attestTag = "QUORATE-V1-ATTEST_BLS12381G2_XMD:SHA-256_SSWU_RO_"

func (c *certificate) check() error {
	least := c.t
	if c.dealers > 0 {
		least = 2*c.cohorts*c.dealers/3 + 1
		if len(c.qual) > c.cohorts*c.dealers {
			return errors.New("more dealers than were drawn")
		}
	}
	if len(c.qual) < least {
		return errors.New("too few dealers")
	}
	if len(c.holders) < c.n-c.faults() {
		return errors.New("too few confirmed it")
	}
	var dealt bls.G1Jac
	for _, d := range c.qual {
		v, err := c.dealer(d)
		if err != nil {
			return fmt.Errorf("dealer %d: %w", d, err)
		}
		dealt.AddMixed(v)
	}
	points := make([]bls.G1Affine, c.n+1)
	for j := range points {
		p, err := point(c.points[48*j : 48*(j+1)])
		if err != nil {
			return fmt.Errorf("point %d: %w", j, err)
		}
		points[j] = *p
	}
	if err := c.degree(points); err != nil {
		return err
	}
	if err := c.unbiased(points, &dealt); err != nil {
		return err
	}
	return c.confirmed(points)
}

// point reads one of the subgroup other than the identity.
func point(b []byte) (*bls.G1Affine, error) {
	var p bls.G1Affine
	if _, err := p.SetBytes(b); err != nil {
		return nil, err
	}
	if p.IsInfinity() || b[0]&0x80 == 0 {
		return nil, errors.New("not a compressed point other than the identity")
	}
	return &p, nil
}

// dealer checks both proofs of a header and returns V_0.
func (c *certificate) dealer(d int) (*bls.G1Affine, error) {
	x := c.headers[d]
	if c.hybrid == bytes.Equal(x.mail, make([]byte, 32)) {
		return nil, errors.New("letters where there are none, or none where there should be")
	}
	v, err := point(x.constant)
	if err != nil {
		return nil, err
	}
	a, err := point(x.commitment)
	if err != nil {
		return nil, err
	}
	z := new(big.Int).SetBytes(x.answer)
	if z.Cmp(order) >= 0 {
		return nil, errors.New("the answer is not reduced")
	}
	challenge := scalar(wide(prefix+"/pok-secret", c.roster, u16(d), x.constant, x.r, x.root, x.mail, x.commitment))
	var left, right bls.G1Affine
	left.ScalarMultiplicationBase(z)
	right.ScalarMultiplication(v, challenge)
	right.Add(&right, a)
	if !left.Equal(&right) {
		return nil, errors.New("the proof of its constant is false")
	}
	if !knows(x.r, x.rho, prefix+"/pok-rho", c.roster, u16(d), x.statement) {
		return nil, errors.New("the proof of rho is false")
	}
	return v, nil
}

// knows checks a Schnorr proof (challenge, response) on ristretto255.
func knows(key, proof []byte, tag string, context ...[]byte) bool {
	pk, e, z := ristretto255.NewElement(), ristretto255.NewScalar(), ristretto255.NewScalar()
	if pk.Decode(key) != nil || pk.Equal(ristretto255.NewElement()) == 1 || e.Decode(proof[:32]) != nil || z.Decode(proof[32:]) != nil {
		return false
	}
	commitment := ristretto255.NewElement().VarTimeDoubleScalarBaseMult(ristretto255.NewScalar().Negate(e), pk, z)
	again := ristretto255.NewScalar().FromUniformBytes(wide(tag, append(append([][]byte{key}, context...), commitment.Encode(nil))...))
	return again.Equal(e) == 1
}

func combine(points []bls.G1Affine, scalars []*big.Int) (*bls.G1Affine, error) {
	elements := make([]fr.Element, len(scalars))
	for i, s := range scalars {
		elements[i].SetBigInt(s)
	}
	return new(bls.G1Affine).MultiExp(points, elements, ecc.MultiExpConfig{})
}

// degree checks that the points lie on a polynomial of degree t-1, no more and
// no less, by two words of binomial coefficients.
func (c *certificate) degree(points []bls.G1Affine) error {
	cid, result := c.cid(), root(c.points, 48)
	z := scalar(wide(prefix+"/low-degree", cid[:], result[:]))
	var high, full []*big.Int
	for j := range points {
		m := new(big.Int).Add(z, big.NewInt(int64(j)))
		m.Exp(m, big.NewInt(int64(c.n-c.t)), order)
		m.Mul(m, new(big.Int).Binomial(int64(c.n), int64(j)))
		high = append(high, alternate(m, j))
		if j < c.t {
			full = append(full, alternate(new(big.Int).Binomial(int64(c.t-1), int64(j)), j))
		}
	}
	over, err := combine(points, high)
	if err != nil {
		return err
	}
	leading, err := combine(points[:c.t], full)
	if err != nil {
		return err
	}
	if !over.IsInfinity() || leading.IsInfinity() {
		return fmt.Errorf("the points are not those of a polynomial of degree %d", c.t-1)
	}
	return nil
}

func alternate(v *big.Int, j int) *big.Int {
	if j%2 == 1 {
		v.Neg(v)
	}
	return v.Mod(v, order)
}

// unbiased checks that the key is what was dealt, moved by what nobody chose.
func (c *certificate) unbiased(points []bls.G1Affine, dealt *bls.G1Jac) error {
	var by, sum bls.G1Affine
	sum.FromJacobian(dealt)
	by.Sub(&points[0], &sum)
	before := make([]byte, 0, len(c.points))
	jac := make([]bls.G1Jac, len(points))
	var minus bls.G1Affine
	minus.Neg(&by)
	for j := range points {
		jac[j].FromAffine(&points[j])
		jac[j].AddMixed(&minus)
	}
	for _, p := range bls.BatchJacobianToAffineG1(jac) {
		enc := p.Bytes()
		before = append(before, enc[:]...)
	}
	sums := root(before, 48)
	parts := [][]byte{c.roster}
	for _, d := range c.qual {
		parts = append(parts, u16(d), c.headers[d].all)
	}
	transcript := h(prefix+"/transcript", parts...)
	var want bls.G1Affine
	want.ScalarMultiplicationBase(scalar(wide(prefix+"/unbias", transcript[:], sums[:], c.block)))
	if !want.Equal(&by) {
		return errors.New("the key is not the sum of what was dealt")
	}
	return nil
}

// confirmed verifies all attestations of one message together.
func (c *certificate) confirmed(points []bls.G1Affine) error {
	cid, result := c.cid(), root(c.points, 48)
	message := h(prefix+"/confirm", cid[:], result[:])
	hashed, err := bls.HashToG2(message[:], []byte(attestTag))
	if err != nil {
		return err
	}
	keys, signatures := make([]bls.G1Affine, len(c.holders)), make([]bls.G2Affine, len(c.holders))
	weights := make([]fr.Element, len(c.holders))
	for k, i := range c.holders {
		enc := c.attestations[96*k : 96*(k+1)]
		if _, err := signatures[k].SetBytes(enc); err != nil || enc[0]&0x80 == 0 || signatures[k].IsInfinity() {
			return fmt.Errorf("the confirmation of participant %d is no signature", i)
		}
		var w [16]byte
		if _, err := rand.Read(w[:]); err != nil {
			return err
		}
		weights[k].SetBytes(w[:])
		keys[k] = points[i]
	}
	key, err := new(bls.G1Affine).MultiExp(keys, weights, ecc.MultiExpConfig{})
	if err != nil {
		return err
	}
	signature, err := new(bls.G2Affine).MultiExp(signatures, weights, ecc.MultiExpConfig{})
	if err != nil {
		return err
	}
	_, _, generator, _ := bls.Generators()
	generator.Neg(&generator)
	if ok, err := bls.PairingCheck([]bls.G1Affine{*key, generator}, []bls.G2Affine{hashed, *signature}); err != nil || !ok {
		return errors.New("a confirmation is false")
	}
	return nil
}
