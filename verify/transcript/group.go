package transcript

import (
	"bytes"
	"errors"
	"math/big"
	"slices"

	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/gtank/ristretto255"
)

// element is one of the group that keys are of.
type element interface {
	plus(element) element
	minus(element) element
	identity() bool
	inside() bool // of the subgroup of prime order
	bytes() []byte
}

// group is BLS12-381 G1 or ristretto255.
type group interface {
	size() int                         // of an element
	order() *big.Int                   // how many scalars there are
	reduce(wide []byte) *big.Int       // 64 bytes to a scalar
	scalar(b []byte) (*big.Int, bool)  // reads one that is reduced
	element(b []byte) (element, bool)  // reads a canonical one, the identity too, and in G1 perhaps outside
	base(*big.Int) element             // times the generator
	sum([]element, []*big.Int) element // Σ scalar·element; scalars are numbers below the order also outside the subgroup
	attested(keys []element, message digest, attestations [][]byte) (bad []int)
}

var (
	orderG1, _        = new(big.Int).SetString("52435875175126190479447740508185965837690552500527637822603658699938581184513", 10)
	orderRistretto, _ = new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
)

// g1 is BLS12-381 G1, and elements of the curve around it.
type g1 struct{}

type g1Element struct{ p bls.G1Jac }

func (g1) size() int       { return 48 }
func (g1) order() *big.Int { return orderG1 }

func (g1) reduce(wide []byte) *big.Int {
	v := new(big.Int).SetBytes(wide)
	return v.Mod(v, orderG1)
}

func (g1) scalar(b []byte) (*big.Int, bool) {
	v := new(big.Int).SetBytes(b)
	return v, len(b) == 32 && v.Cmp(orderG1) < 0
}

func (g1) element(b []byte) (element, bool) {
	var p bls.G1Affine
	if len(b) != 48 || b[0]&0x80 == 0 || bls.NewDecoder(bytes.NewReader(b), bls.NoSubgroupChecks()).Decode(&p) != nil {
		return nil, false
	}
	out := new(g1Element)
	out.p.FromAffine(&p)
	return out, true
}

func (g1) base(k *big.Int) element {
	out := new(g1Element)
	out.p.ScalarMultiplicationBase(k)
	return out
}

// sum does not use the endomorphism, which is right inside the subgroup only.
func (g1) sum(elements []element, scalars []*big.Int) element {
	points, factors := make([]bls.G1Affine, len(elements)), make([]fr.Element, len(scalars))
	for i := range elements {
		points[i] = affine(elements[i])
		factors[i].SetBigInt(scalars[i])
	}
	out := new(g1Element)
	if _, err := out.p.MultiExp(points, factors, ecc.MultiExpConfig{}); err != nil {
		panic("transcript: " + err.Error()) // as many factors as points
	}
	return out
}

func affine(e element) (p bls.G1Affine) {
	p.FromJacobian(&e.(*g1Element).p)
	return p
}

func (e *g1Element) plus(o element) element {
	out := &g1Element{e.p}
	out.p.AddAssign(&o.(*g1Element).p)
	return out
}

func (e *g1Element) minus(o element) element {
	out := &g1Element{e.p}
	out.p.SubAssign(&o.(*g1Element).p)
	return out
}

func (e *g1Element) identity() bool { return e.p.Z.IsZero() }
func (e *g1Element) inside() bool   { return e.identity() || e.p.IsInSubGroup() }

func (e *g1Element) bytes() []byte {
	p := affine(e)
	b := p.Bytes()
	return b[:]
}

const attestTag = "QUORATE-V1-ATTEST_BLS12381G2_XMD:SHA-256_SSWU_RO_"

// attested verifies BLS signatures of one message, together if all hold.
func (g1) attested(keys []element, message digest, attestations [][]byte) (bad []int) {
	if len(keys) == 0 {
		return nil
	}
	hashed, err := bls.HashToG2(message[:], []byte(attestTag))
	if err != nil {
		panic("transcript: " + err.Error()) // the tag is short
	}
	points, signatures := make([]bls.G1Affine, len(keys)), make([]bls.G2Affine, len(keys))
	for i, enc := range attestations {
		points[i] = affine(keys[i])
		if !signature(&signatures[i], enc) || keys[i].identity() {
			bad = append(bad, i)
		}
	}
	if len(bad) == 0 && together(points, signatures, hashed) {
		return nil
	}
	bad = nil
	for i := range points {
		if points[i].IsInfinity() || signatures[i].IsInfinity() || !together(points[i:i+1], signatures[i:i+1], hashed) {
			bad = append(bad, i)
		}
	}
	return bad
}

// signature reads an element of G2 other than the identity, which it leaves
// where there is none.
func signature(into *bls.G2Affine, b []byte) bool {
	var s bls.G2Affine
	if len(b) != 96 || b[0]&0x80 == 0 {
		return false
	}
	if _, err := s.SetBytes(b); err != nil || s.IsInfinity() {
		return false
	}
	*into = s
	return true
}

// together verifies a random combination: who makes signatures does not know it.
func together(keys []bls.G1Affine, signatures []bls.G2Affine, hashed bls.G2Affine) bool {
	weights := make([]fr.Element, len(keys))
	for i := range weights {
		if _, err := weights[i].SetRandom(); err != nil {
			panic("transcript: " + err.Error()) // no randomness
		}
	}
	key, err1 := new(bls.G1Affine).MultiExp(keys, weights, ecc.MultiExpConfig{})
	sum, err2 := new(bls.G2Affine).MultiExp(signatures, weights, ecc.MultiExpConfig{})
	_, _, generator, _ := bls.Generators()
	generator.Neg(&generator)
	if err := errors.Join(err1, err2); err != nil {
		panic("transcript: " + err.Error())
	}
	ok, err := bls.PairingCheck([]bls.G1Affine{*key, generator}, []bls.G2Affine{hashed, *sum})
	return err == nil && ok
}

// ristretto is ristretto255, of which every element is inside.
type ristretto struct{}

type ristrettoElement struct{ e *ristretto255.Element }

func (ristretto) size() int       { return 32 }
func (ristretto) order() *big.Int { return orderRistretto }

func (ristretto) reduce(wide []byte) *big.Int {
	v := little(wide)
	return v.Mod(v, orderRistretto)
}

func (ristretto) scalar(b []byte) (*big.Int, bool) {
	v := little(b)
	return v, len(b) == 32 && v.Cmp(orderRistretto) < 0
}

func (ristretto) element(b []byte) (element, bool) {
	e := ristretto255.NewElement()
	if len(b) != 32 || e.Decode(b) != nil {
		return nil, false
	}
	return ristrettoElement{e}, true
}

// of turns a scalar into the library's.
func (ristretto) of(k *big.Int) *ristretto255.Scalar {
	b := k.FillBytes(make([]byte, 32))
	slices.Reverse(b)
	s := ristretto255.NewScalar()
	if err := s.Decode(b); err != nil {
		panic("transcript: " + err.Error()) // k is reduced
	}
	return s
}

func (g ristretto) base(k *big.Int) element {
	return ristrettoElement{ristretto255.NewElement().ScalarBaseMult(g.of(k))}
}

func (g ristretto) sum(elements []element, scalars []*big.Int) element {
	points, factors := make([]*ristretto255.Element, len(elements)), make([]*ristretto255.Scalar, len(scalars))
	for i := range elements {
		points[i], factors[i] = elements[i].(ristrettoElement).e, g.of(scalars[i])
	}
	return ristrettoElement{ristretto255.NewElement().VarTimeMultiScalarMult(factors, points)}
}

// attested verifies Schnorr proofs.
func (ristretto) attested(keys []element, message digest, attestations [][]byte) (bad []int) {
	for i, proof := range attestations {
		if len(proof) != 64 || !knows(keys[i].bytes(), proof, ledgerPrefix+"/confirm", message[:]) {
			bad = append(bad, i)
		}
	}
	return bad
}

func (e ristrettoElement) plus(o element) element {
	return ristrettoElement{ristretto255.NewElement().Add(e.e, o.(ristrettoElement).e)}
}

func (e ristrettoElement) minus(o element) element {
	return ristrettoElement{ristretto255.NewElement().Subtract(e.e, o.(ristrettoElement).e)}
}

func (e ristrettoElement) identity() bool { return e.e.Equal(ristretto255.NewElement()) == 1 }
func (ristrettoElement) inside() bool     { return true }
func (e ristrettoElement) bytes() []byte  { return e.e.Encode(nil) }
