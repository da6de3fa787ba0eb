package bls

import (
	"math/bits"
	"sync"
	"unsafe"

	blst "github.com/supranational/blst/bindings/go"
)

// This file multiplies the generator. A dealer does it once for each
// participant, and to blst the generator is a point like any other. With the
// multiples d·2^(6i)·G at hand a product is one addition for each six bits of
// the scalar and no doubling, at a third of the price.
//
// The scalar is secret. It decides which entry of a row is added, and with
// which sign, by masks over the whole row; no address and no branch depends on
// it. The additions are blst's complete ones, constant-time for equal points
// and the identity too. See decision 0018.

const (
	combBits = 6
	combRows = 43                  // 258 bits, of which a scalar has 255: nothing carries out of the last
	combRow  = 1 << (combBits - 1) // digits are -31, …, 32
)

// coordinate is half of an affine point as blst has it in memory: 384 bits,
// reduced, in Montgomery form. The identity is (0, 0).
type coordinate [6]uint64

type affinePoint struct{ x, y coordinate }

// Where the sizes differ this does not compile.
var _ [unsafe.Sizeof(blst.P1Affine{})]byte = [unsafe.Sizeof(affinePoint{})]byte{}

var fieldModulus = coordinate{0xb9feffffffffaaab, 0x1eabfffeb153ffff, 0x6730d2a0f6b0f624, 0x64774b84f38512bf, 0x4b1ba7b6434bacd7, 0x1a0111ea397fe69a}

func (p *affinePoint) blst() *blst.P1Affine { return (*blst.P1Affine)(unsafe.Pointer(p)) }

type comb [combRows][combRow]affinePoint

// generatorComb has d·2^(6i)·G at [i][d-1]: 132 kB, made in a millisecond when
// first needed.
var generatorComb = sync.OnceValue(func() *comb {
	all := make(blst.P1s, 0, combRows*combRow)
	base := *blst.P1Generator()
	for range combRows {
		p := base
		for range combRow {
			all = append(all, p)
			p.AddAssign(&base)
		}
		base = all[len(all)-1] // 2^5 times
		base.AddAssign(&base)
	}
	c := new(comb)
	for k, p := range all.ToAffine() {
		c[k/combRow][k%combRow] = *(*affinePoint)(unsafe.Pointer(&p))
	}
	return c
})

// multiply sets p = s·G, for s below the order.
func (c *comb) multiply(p *blst.P1, s *blst.Scalar) {
	digits := combDigits(s)
	entry := new(affinePoint)
	entry.pick(&c[0], digits[0])
	p.FromAffine(entry.blst())
	for i := 1; i < combRows; i++ {
		entry.pick(&c[i], digits[i])
		p.AddAssign(entry.blst())
	}
	*entry = affinePoint{}
	clear(digits[:])
}

// combDigits returns d_i in -31, …, 32 with s = Σ d_i·2^(6i).
func combDigits(s *blst.Scalar) (digits [combRows]int64) {
	raw := (*[ScalarSize]byte)(unsafe.Pointer(s)) // least significant first
	var carry int64
	for i := range digits {
		from := i * combBits
		window := int64(raw[from/8])
		if from/8+1 < ScalarSize {
			window |= int64(raw[from/8+1]) << 8
		}
		d := window>>(from%8)&(1<<combBits-1) + carry
		carry = (combRow - d) >> 63 & 1
		digits[i] = d - carry<<combBits
	}
	return digits
}

// pick sets p to a digit's multiple.
func (p *affinePoint) pick(row *[combRow]affinePoint, digit int64) {
	sign := digit >> 63
	size := (digit ^ sign) - sign
	*p = affinePoint{}
	for j := range row {
		mask := uint64(((size ^ int64(j+1)) - 1) >> 63) // all ones where they are equal
		p.x.or(&row[j].x, mask)
		p.y.or(&row[j].y, mask)
	}
	p.y.negate(uint64(sign))
}

func (c *coordinate) or(d *coordinate, mask uint64) {
	for k := range c {
		c[k] |= d[k] & mask
	}
}

// negate takes a coordinate other than 0 from the modulus where mask is all
// ones. No point of the comb has a y of 0, and no digit is -0.
func (c *coordinate) negate(mask uint64) {
	var borrow uint64
	for k := range c {
		var d uint64
		d, borrow = bits.Sub64(fieldModulus[k], c[k], borrow)
		c[k] ^= (c[k] ^ d) & mask
	}
}
