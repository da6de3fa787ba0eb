package bls

import (
	"fmt"
	"io"

	blst "github.com/supranational/blst/bindings/go"
)

// Verify reports whether sig is key's signature of a message.
func Verify(key PublicKey, message Message, sig Signature) bool {
	return verifyOne(hashMessage(message), claim{key: key, sig: sig.point})
}

// VerifyHashed is Verify for callers that have a root hashed already.
func VerifyHashed(key PublicKey, root HashedRoot, sig Signature) bool {
	return verifyOne(&root.point, claim{key: key, sig: sig.point})
}

// Signed claims that Sig is Key's signature of Message.
type Signed struct {
	Key     PublicKey
	Message Message
	Sig     Signature
}

// VerifyBatch returns the positions of the claims that are false, in order,
// and nothing when all are true. One false claim among true ones goes
// unnoticed with a probability below 2^-126, for which random must be
// unpredictable to whoever made the claims. Claims about one message cost
// less together than apart. The error is random's.
func VerifyBatch(random io.Reader, signed []Signed) (bad []int, err error) {
	groups := make(map[Message]int, len(signed))
	var b batch
	for _, s := range signed {
		g, ok := groups[s.Message]
		if !ok {
			g = len(b.hashes)
			groups[s.Message] = g
			b.hashes = append(b.hashes, *hashMessage(s.Message))
		}
		b.claims = append(b.claims, claim{key: s.Key, sig: s.Sig.point, hash: g})
	}
	return b.findBad(random)
}

// VerifyPartials returns the indices of the partials that are not their
// holders' signatures of the message. publicShares[i-1] is Y_i; an index without one
// is to blame as well. random is as for VerifyBatch.
func VerifyPartials(random io.Reader, message Message, publicShares []PublicKey, partials []Partial) (bad []uint16, err error) {
	b := batch{hashes: []blst.P2{*hashMessage(message)}}
	for _, p := range partials {
		c := claim{sig: p.sig.point} // with the zero key it is false
		if i := int(p.index); 0 < i && i <= len(publicShares) {
			c.key = publicShares[i-1]
		}
		if !c.sig.InG2() { // nothing has asked before
			c.sig = blst.P2Affine{}
		}
		b.claims = append(b.claims, c)
	}
	positions, err := b.findBad(random)
	for _, i := range positions {
		bad = append(bad, partials[i].index)
	}
	return bad, err
}

// claim is e(key, hashes[hash]) = e(G, sig).
type claim struct {
	key  PublicKey
	sig  blst.P2Affine
	hash int
}

// plausible is false for claims with the zero key or signature: the identity
// would satisfy the equation of some of them.
func (c *claim) plausible() bool { return !c.key.IsZero() && !isZero(&c.sig) }

type batch struct {
	hashes []blst.P2
	claims []claim
}

// findBad bisects: the cost of b bad claims among n is about 2b*log(n/b)
// batches instead of n verifications.
func (b *batch) findBad(random io.Reader) (bad []int, err error) {
	var plausible []int
	for i := range b.claims {
		if b.claims[i].plausible() {
			plausible = append(plausible, i)
		}
	}
	failing, err := b.bisect(random, plausible)
	if err != nil {
		return nil, fmt.Errorf("verify batch: %w", err)
	}
	for i := range b.claims { // in order, with the implausible ones
		if len(failing) > 0 && failing[0] == i {
			failing = failing[1:]
			bad = append(bad, i)
		} else if !b.claims[i].plausible() {
			bad = append(bad, i)
		}
	}
	return bad, nil
}

func (b *batch) bisect(random io.Reader, claims []int) (bad []int, err error) {
	switch len(claims) {
	case 0:
		return nil, nil
	case 1:
		c := b.claims[claims[0]]
		if verifyOne(&b.hashes[c.hash], c) {
			return nil, nil
		}
		return claims, nil
	}
	good, err := b.verify(random, claims)
	if good || err != nil {
		return nil, err
	}
	left, err := b.bisect(random, claims[:len(claims)/2])
	if err != nil {
		return nil, err
	}
	right, err := b.bisect(random, claims[len(claims)/2:])
	return append(left[:len(left):len(left)], right...), err
}

// coefficientBits is the size of the random coefficients of a batch.
const coefficientBits = 128

// verify checks two or more claims at once: with random c_i,
// the product over the roots m of e(sum of c_i*key_i signing m, H(m))
// equals e(G, sum of all c_i*sig_i). All points are in their subgroups, or
// small factors of the cofactors would spoil the argument.
func (b *batch) verify(random io.Reader, claims []int) (bool, error) {
	coefficients := make([]byte, coefficientBits/8*len(claims))
	if _, err := io.ReadFull(random, coefficients); err != nil {
		return false, err
	}
	sigs := make([]blst.P2Affine, len(claims))
	type group struct {
		keys []blst.P1Affine
		coef []byte
	}
	groups := make([]group, len(b.hashes))
	for i, k := range claims {
		coef := coefficients[i*coefficientBits/8:][:coefficientBits/8]
		coef[0] |= 1 // never zero
		c := &b.claims[k]
		sigs[i] = c.sig
		g := &groups[c.hash]
		g.keys = append(g.keys, c.key.point)
		g.coef = append(g.coef, coef...)
	}
	var product pairing
	product.init()
	for i := range groups {
		if len(groups[i].keys) > 0 {
			sum := sumG1(groups[i].keys, groups[i].coef, coefficientBits).ToAffine()
			product.add(b.hashes[i].ToAffine(), sum)
		}
	}
	product.add(sumG2(sigs, coefficients, coefficientBits).ToAffine(), &negGenerator)
	return product.isOne(), nil
}

func verifyOne(hash *blst.P2, c claim) bool {
	if !c.plausible() {
		return false
	}
	var product pairing
	product.init()
	product.add(hash.ToAffine(), &c.key.point)
	product.add(&c.sig, &negGenerator)
	return product.isOne()
}

var negGenerator = *new(blst.P1).Sub(blst.P1Generator()).ToAffine()

// pairing is a product of pairings. A pair with an identity in it makes the
// whole product wrong rather than one: it comes only from inputs that were
// made to cancel out.
type pairing struct {
	ctx    blst.Pairing
	broken bool
}

func (p *pairing) init() { p.ctx = blst.PairingCtx(true, nil) }

func (p *pairing) add(q *blst.P2Affine, k *blst.P1Affine) {
	if isZero(q) || *k == (blst.P1Affine{}) {
		p.broken = true
		return
	}
	blst.PairingRawAggregate(p.ctx, q, k)
}

func (p *pairing) isOne() bool {
	if p.broken {
		return false
	}
	blst.PairingCommit(p.ctx)
	return blst.PairingFinalVerify(p.ctx)
}

// sumG1 and sumG2 are multi-scalar multiplications, of variable time: for
// public values only. The scalars stand one after the other, little-endian.
func sumG1(points []blst.P1Affine, scalars []byte, bits int) *blst.P1 {
	if len(points) == 1 {
		return new(blst.P1).MultNAccumulate(&points[0], scalars, bits)
	}
	return blst.P1AffinesMult(points, scalars, bits)
}

func sumG2(points []blst.P2Affine, scalars []byte, bits int) *blst.P2 {
	if len(points) == 1 {
		return new(blst.P2).MultNAccumulate(&points[0], scalars, bits)
	}
	return blst.P2AffinesMult(points, scalars, bits)
}
