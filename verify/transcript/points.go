package transcript

import (
	"math/big"
)

// curve is the group of keys among thousands.
var curve g1

// read reads count elements of the curve other than the identity, perhaps
// outside the subgroup; at is the first that is none, -1 where all are good.
func read(count int, enc func(j int) []byte) (points []element, at int) {
	for j := range count {
		p, ok := curve.element(enc(j))
		if !ok || p.identity() {
			return nil, j
		}
		points = append(points, p)
	}
	return points, -1
}

// outside returns the first element that is not in the subgroup, else -1.
func outside(points []element) int {
	for j, p := range points {
		if !p.inside() {
			return j
		}
	}
	return -1
}

// alternating returns (-1)^j·C(n,j) for j = 0, …, n, in integers.
func alternating(n int) []*big.Int {
	out := make([]*big.Int, n+1)
	c := big.NewInt(1)
	for j := range out {
		out[j] = new(big.Int).Set(c)
		if j%2 == 1 {
			out[j].Neg(out[j])
		}
		c.Mul(c, big.NewInt(int64(n-j)))
		c.Quo(c, big.NewInt(int64(j+1)))
	}
	return out
}

// lowDegree tests points of the subgroup at 0, …, n for a polynomial of degree
// below t, in a way that depends on what names them.
func lowDegree(points []element, t int, names ...[]byte) bool {
	n := len(points) - 1
	z := curve.reduce(wide(prefix+"/low-degree", names...))
	word := alternating(n)
	for j, c := range word {
		m := new(big.Int).Add(z, big.NewInt(int64(j)))
		m.Exp(m, big.NewInt(int64(n-t)), orderG1)
		c.Mod(c.Mul(c, m), orderG1)
	}
	return curve.sum(points, word).identity()
}

// fullDegree tells whether points of degree below t have degree t-1.
func fullDegree(points []element, t int) bool {
	word := alternating(t - 1)
	for _, c := range word {
		c.Mod(c, orderG1)
	}
	return !curve.sum(points[:t], word).identity()
}

// encode returns the points one after the other, and the root over them.
func encode(points []element) (all []byte, _ digest) {
	for _, p := range points {
		all = append(all, p.bytes()...)
	}
	return all, root(all, curve.size())
}

// delta is the logarithm of what unbiases a key.
func delta(transcript, sums, randomness digest) *big.Int {
	return curve.reduce(wide(prefix+"/unbias", transcript[:], sums[:], randomness[:]))
}

// header is that of a dealing, without kind and cid.
type header struct {
	all, constant, r, commitment, answer, root, mail, rho []byte
}

const headerSize = 48 + 32 + 48 + 32 + 32 + 32 + 64

func readHeader(r *reader) *header {
	x := &header{all: r.take(headerSize)}
	f := &reader{all: x.all, err: r.err}
	for _, field := range []struct {
		into *[]byte
		size int
	}{{&x.constant, 48}, {&x.r, 32}, {&x.commitment, 48}, {&x.answer, 32}, {&x.root, 32}, {&x.mail, 32}, {&x.rho, 64}} {
		*field.into = f.take(field.size)
	}
	if r.err == nil && !isPublicKey(x.r) {
		r.fail(errKey)
	}
	return x
}

// mails tells whether the header commits to ciphertexts sent apart.
func (x *header) mails() bool { return digest(x.mail) != digest{} }

// valid checks both proofs, and that f(0) is not 0.
func (x *header) valid(roster digest, dealer int) bool {
	context := [][]byte{roster[:], u16(dealer)}
	if !knows(x.r, x.rho, prefix+"/pok-rho", append(context, x.all[:headerSize-64])...) {
		return false
	}
	points, bad := read(2, func(i int) []byte { return [][]byte{x.constant, x.commitment}[i] })
	z, ok := curve.scalar(x.answer)
	if bad >= 0 || !ok {
		return false
	}
	c := x.challenge(roster, dealer)
	right := curve.sum(points[:1], []*big.Int{c}).plus(points[1])
	return curve.base(z).minus(right).identity()
}

const challengeSize = 16

// challenge is that of the proof of f(0).
func (x *header) challenge(roster digest, dealer int) *big.Int {
	return little(wide(prefix+"/pok-secret", roster[:], u16(dealer), x.constant, x.r, x.root, x.mail, x.commitment)[:challengeSize])
}

// name names a set of dealings.
func name(roster digest, dealers []int, headers func(dealer int) *header) digest {
	parts := [][]byte{roster[:]}
	for _, d := range dealers {
		parts = append(parts, u16(d), headers(d).all)
	}
	return h(prefix+"/transcript", parts...)
}
