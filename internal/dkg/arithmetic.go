package dkg

import (
	"errors"
	"slices"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// arithmetic is a suite's group behind bytes, so that only this file and its
// neighbours deal.go, receive.go and result.go know the types S and P.
type arithmetic interface {
	// deal makes the leaves of a dealing. prove then shows knowledge of every
	// f_k(0), bound to their root.
	deal(*dealJob) (leaves []byte, prove func(root [32]byte) (knowledge []byte), err error)
	// publicKey returns the point of an imported secret.
	publicKey(secret.Bytes) ([]byte, error)
	// receive judges the dealings of a set and sums them.
	receive(*receiveJob) (*received, error)

	// commitment returns V_i of a leaf; ok is false when the leaf has no points.
	commitment(leaf []byte, t, i int) (point []byte, ok bool)
	// matches reports whether a ciphertext hides the discrete logarithm of point.
	matches(point, ciphertext []byte, maskKey [32]byte, key int) bool
	// weigh adds the weighted points of some leaves of the result to acc.
	weigh(acc, body []byte, t int, weight func(int) [16]byte) ([]byte, error)
	// attested checks confirmations, one at least, against what weigh summed
	// up, and returns the seats whose own is false.
	attested(acc []byte, t int, seats []int, msg []byte, attestations [][]byte) (bad []int)
	// commitments returns the points of a result leaf at 0, …, n.
	commitments(leaf []byte, t, n int) ([][]byte, error)
	// sound and unshift check a result from outside: see transcript.go.
	sound(leaves []byte, t int) error
	unshift(leaves []byte, t int, unbias func(k int) [64]byte) ([]byte, error)
}

// engine implements arithmetic over a group.
type engine[S, P any] struct{ g group[S, P] }

func (s Suite) arithmetic() arithmetic {
	if s == SuiteG1 {
		return engine[bls.G1Scalar, bls.G1Point]{bls.G1{}}
	}
	return engine[kem.Scalar, kem.Point]{kem.Ristretto{}}
}

var errPoints = errors.New("not points of the group")

// points reads count points from the front of b.
func (e engine[S, P]) points(b []byte, count int) ([]P, error) {
	size := e.g.PointSize()
	if len(b) < count*size {
		return nil, errPoints
	}
	out := make([]P, count)
	for j := range out {
		if err := e.g.SetPoint(&out[j], b[j*size:(j+1)*size]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (e engine[S, P]) commitment(leaf []byte, t, i int) ([]byte, bool) {
	v, err := e.points(leaf, t)
	if err != nil {
		return nil, false
	}
	return e.g.AppendPoints(nil, extend(v, i, e.g.SubPoint)[i:i+1]), true
}

func (e engine[S, P]) commitments(leaf []byte, t, n int) ([][]byte, error) {
	v, err := e.points(leaf, t)
	if err != nil {
		return nil, err
	}
	all, size := e.g.AppendPoints(nil, extend(v, n, e.g.SubPoint)), e.g.PointSize()
	out := make([][]byte, n+1)
	for j := range out {
		out[j] = all[j*size : (j+1)*size : (j+1)*size]
	}
	return out, nil
}

func (e engine[S, P]) matches(point, ciphertext []byte, maskKey [32]byte, key int) bool {
	var want, got P
	var share, mask S
	if e.g.SetPoint(&want, point) != nil || e.g.SetScalar(&share, ciphertext) != nil {
		return false
	}
	e.mask(&mask, maskKey, key)
	e.g.SubScalar(&share, &mask)
	e.g.BaseMult(&got, &share)
	return e.g.Equal(&got, &want)
}

// mask sets s to what hides the share of one key.
func (e engine[S, P]) mask(s *S, maskKey [32]byte, key int) {
	wide := wire.HashWide(wire.TagMask, maskKey[:], be32(key))
	e.g.SetWide(s, &wide)
}

func (e engine[S, P]) weigh(acc, body []byte, t int, weight func(int) [16]byte) ([]byte, error) {
	sums := make([]P, t)
	if len(acc) > 0 {
		var err error
		if sums, err = e.points(acc, t); err != nil {
			return nil, err
		}
	}
	keys := len(body) / (t * e.g.PointSize())
	all, err := e.points(body, keys*t)
	if err != nil {
		return nil, err
	}
	weights, column := e.weights(keys, weight), make([]P, keys)
	for j := range sums {
		for k := range column {
			column[k] = all[k*t+j]
		}
		sum := e.g.VarTimeMultiMult(column, weights, 128)
		e.g.AddPoint(&sums[j], &sum)
	}
	return e.g.AppendPoints(nil, sums), nil
}

func (e engine[S, P]) weights(keys int, weight func(int) [16]byte) []S {
	out := make([]S, keys)
	for k := range out {
		w := weight(k)
		e.g.SetWeight(&out[k], &w)
	}
	return out
}

func (e engine[S, P]) attested(acc []byte, t int, seats []int, msg []byte, attestations [][]byte) (bad []int) {
	v, err := e.points(acc, t)
	if err != nil || len(e.g.Outside(v)) > 0 { // then nothing can be said of any
		return seats
	}
	all := extend(v, slices.Max(seats), e.g.SubPoint)
	points := make([]P, len(seats))
	for k, i := range seats {
		points[k] = all[i]
	}
	for _, k := range e.g.VerifyAttestations(points, msg, attestations) {
		bad = append(bad, seats[k])
	}
	return bad
}

// challenge is the Fiat-Shamir challenge of a dealer's proof of knowledge.
// The root binds every V_0.
func (e engine[S, P]) challenge(roster [32]byte, dealer int, root [32]byte, commitment []byte) (c S) {
	wide := wire.HashWide(wire.TagPoKSecret, roster[:], be16(dealer), root[:], commitment)
	e.g.SetWide(&c, &wide)
	return c
}
