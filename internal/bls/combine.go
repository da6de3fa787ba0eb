package bls

import (
	"errors"
	"fmt"
	"math/big"
	"slices"

	blst "github.com/supranational/blst/bindings/go"
)

var (
	// ErrTooFew is wrapped where fewer partials than the threshold came.
	ErrTooFew = errors.New("fewer partials than the threshold")
	// ErrDuplicate is wrapped where two partials carry one index.
	ErrDuplicate = errors.New("two partials with one index")
)

// groupOrder is r, the order of G1 and G2.
var groupOrder, _ = new(big.Int).SetString("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001", 16)

// Combine interpolates the first threshold partials at zero. The result is in
// the subgroup even where a partial was not; whether the partials are good it
// does not know: verify the result, and only when that fails ask
// VerifyPartials who is to blame.
func Combine(threshold int, partials []Partial) (Signature, error) {
	if threshold < 1 || len(partials) < threshold {
		return Signature{}, fmt.Errorf("combine %d partials at threshold %d: %w", len(partials), threshold, ErrTooFew)
	}
	// A bad index among the partials that are not needed is refused as well,
	// so that the answer does not depend on the order in which they came.
	indices := make([]uint16, len(partials))
	for i, p := range partials {
		if p.index == 0 {
			return Signature{}, fmt.Errorf("combine partials: %w", ErrIndex)
		}
		if slices.Contains(indices[:i], p.index) {
			return Signature{}, fmt.Errorf("combine partials: index %d: %w", p.index, ErrDuplicate)
		}
		indices[i] = p.index
	}
	sum := interpolate(indices[:threshold], partials[:threshold])
	sig := Signature{point: *sum.ToAffine()}
	if isZero(&sig.point) || !sig.point.InG2() {
		return Signature{}, fmt.Errorf("combine partials: %w", ErrPoint)
	}
	return sig, nil
}

// maxWeightBits bounds the integer weights of the fast path. They grow with
// the gaps between the indices; beyond, one long multiplication of all points
// at once is cheaper.
const maxWeightBits = 48

// interpolate returns the sum of lambda_i * sigma_i.
//
// The Lagrange coefficients of small indices are small fractions, and over
// their common denominator delta small integers w_i. So the sum of the
// w_i*sigma_i takes a few doublings and additions for all of them together,
// and one multiplication by 1/delta replaces t of them. For neighbouring
// indices, and three of the four triples among four holders, delta is 1.
func interpolate(indices []uint16, partials []Partial) *blst.P2 {
	weights, delta := lagrangeAtZero(indices)
	for _, w := range weights {
		if w.BitLen() > maxWeightBits {
			return interpolateLong(weights, delta, partials)
		}
	}
	sum := sumSmall(weights, partials)
	if delta.IsUint64() && delta.Uint64() == 1 {
		return sum
	}
	inverse := new(big.Int).ModInverse(delta, groupOrder)
	return sum.MultAssign(littleEndian(inverse), 255)
}

// lagrangeAtZero returns integers w_i and delta > 0 such that the Lagrange
// coefficient of indices[i] at zero is w_i/delta, in lowest terms together.
func lagrangeAtZero(indices []uint16) (weights []*big.Int, delta *big.Int) {
	weights = make([]*big.Int, len(indices))
	dens := make([]*big.Int, len(indices))
	delta = big.NewInt(1)
	var factor, gcd big.Int
	for i, xi := range indices {
		num, den := big.NewInt(1), big.NewInt(1)
		for j, xj := range indices {
			if i != j {
				num.Mul(num, factor.SetInt64(int64(xj)))
				den.Mul(den, factor.SetInt64(int64(xj)-int64(xi)))
			}
		}
		if den.Sign() < 0 {
			num.Neg(num)
			den.Neg(den)
		}
		gcd.GCD(nil, nil, factor.Abs(num), den)
		weights[i], dens[i] = num.Quo(num, &gcd), den.Quo(den, &gcd)
		// delta = lcm(delta, den)
		gcd.GCD(nil, nil, delta, dens[i])
		delta.Mul(delta, factor.Quo(dens[i], &gcd))
	}
	for i, w := range weights {
		w.Mul(w, factor.Quo(delta, dens[i]))
	}
	return weights, delta
}

// sumSmall adds w_i*sigma_i, all weights bit by bit together.
func sumSmall(weights []*big.Int, partials []Partial) *blst.P2 {
	top := 0
	for _, w := range weights {
		top = max(top, w.BitLen())
	}
	sum := new(blst.P2)
	magnitude := make([]uint64, len(weights))
	for i, w := range weights {
		magnitude[i] = new(big.Int).Abs(w).Uint64()
	}
	for bit := top - 1; bit >= 0; bit-- {
		sum.AddAssign(sum)
		for i := range partials {
			switch {
			case magnitude[i]>>bit&1 == 0:
			case weights[i].Sign() > 0:
				sum.AddAssign(&partials[i].sig.point)
			default:
				sum.SubAssign(&partials[i].sig.point)
			}
		}
	}
	return sum
}

// interpolateLong serves many partials: one multi-scalar multiplication with
// full-size coefficients. Everything in it is public.
func interpolateLong(weights []*big.Int, delta *big.Int, partials []Partial) *blst.P2 {
	inverse := new(big.Int).ModInverse(delta, groupOrder)
	scalars := make([]byte, 0, ScalarSize*len(partials))
	points := make([]blst.P2Affine, len(partials))
	for i, w := range weights {
		lambda := new(big.Int).Mul(w, inverse)
		scalars = append(scalars, littleEndian(lambda.Mod(lambda, groupOrder))...)
		points[i] = partials[i].sig.point
	}
	return sumG2(points, scalars, 255)
}

func littleEndian(v *big.Int) []byte {
	out := v.FillBytes(make([]byte, ScalarSize))
	slices.Reverse(out)
	return out
}
