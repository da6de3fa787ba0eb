package dkg

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/secret"
)

// dealJob is what a dealer needs for one dealing.
type dealJob struct {
	params    *Params
	me        int
	roster    [32]byte
	receivers Seats
	coins     coins
	masks     [][32]byte     // mask key of each receiver
	constants []secret.Bytes // import, reshare: f_k(0); nil: drawn, or 0 in a refresh
}

// open begins a dealing: R, and what goes into the masks of each receiver.
func (c coins) open(b *Board, src Source, me int) (h *Header, rho kem.SecretKey, masks [][32]byte, err error) {
	roster := b.roster()
	wide := c.draw("rho", roster[:])
	rho = kem.NewSecretKey(&wide)
	h = &Header{CID: b.cid, R: rho.Public()}
	for i := range b.receivers().All() {
		key, err := kem.ParsePublicKey(b.at(i).key[:])
		if err != nil {
			return nil, rho, nil, fmt.Errorf("deal to seat %d: %w", i, err)
		}
		var hybrid []byte
		if b.params.Hybrid {
			ciphertext, shared, err := c.encapsulate(b, src, i)
			if err != nil {
				return nil, rho, nil, fmt.Errorf("deal to seat %d: %w", i, err)
			}
			h.Encapsulations = append(h.Encapsulations, ciphertext...)
			hybrid = shared[:]
		}
		masks = append(masks, maskKey(roster, me, i, h.R.Bytes(), key.Bytes(), rho.Shared(key), hybrid))
	}
	return h, rho, masks, nil
}

// hybridCoins are what a dealer encapsulates to seat i with: opening them opens
// nothing else.
func (c coins) hybridCoins(roster [32]byte, i int) [kem.CoinsSize]byte {
	return c.draw("encapsulate", roster[:], []byte{byte(i)})
}

func (c coins) encapsulate(b *Board, src Source, i int) ([]byte, [kem.HybridSecret]byte, error) {
	key, err := hybridKey(b, src, i)
	if err != nil {
		return nil, [kem.HybridSecret]byte{}, err
	}
	coins := c.hybridCoins(b.roster(), i)
	return kem.Encapsulate(key, &coins)
}

// answer opens what these coins sealed to a recipient, in a dealing of theirs.
func (c coins) answer(b *Board, recipient int, key []byte, h *Header) *Answer {
	return &Answer{
		CID:       b.cid,
		Recipient: uint8(recipient),
		Coins:     c.hybridCoins(b.roster(), recipient),
		HybridKey: key,
		Path:      h.encapsulations().Path(0, b.receivers().before(recipient)),
	}
}

func (e engine[S, P]) deal(j *dealJob) ([]byte, func([32]byte) []byte, error) {
	t, n, shape := int(j.params.T), int(j.params.N), j.params.dealing(j.receivers)
	pointBytes := t * e.g.PointSize()
	leaves := make([]byte, 0, shape.leaf*shape.leaves)
	constants := make([]S, shape.leaves)
	for c := range shape.chunks() {
		lo, hi := shape.span(c)
		points := make([]P, t*(hi-lo))
		shares := make([][]S, hi-lo)
		for k := lo; k < hi; k++ {
			values := make([]S, t)
			if err := e.draw(values, j, k); err != nil {
				return nil, nil, err
			}
			for i := range values {
				e.g.BaseMult(&points[(k-lo)*t+i], &values[i])
			}
			constants[k] = values[0]
			shares[k-lo] = extend(values, n, e.g.SubScalar)
		}
		encoded := e.g.AppendPoints(nil, points)
		for k := lo; k < hi; k++ {
			leaves = append(leaves, encoded[(k-lo)*pointBytes:(k-lo+1)*pointBytes]...)
			for i := range j.receivers.All() {
				var mask S
				e.mask(&mask, j.masks[j.receivers.before(i)], k)
				e.g.AddScalar(&mask, &shares[k-lo][i])
				leaves = e.g.AppendScalar(leaves, &mask)
			}
		}
		clear(shares)
	}
	prove := func(root [32]byte) []byte {
		defer clear(constants)
		return e.prove(j, root, constants)
	}
	return leaves, prove, nil
}

// draw fills the t values that make the polynomial of key k.
func (e engine[S, P]) draw(values []S, j *dealJob, k int) error {
	for i := range values {
		wide := j.coins.draw("value", j.roster[:], be32(k), be32(i))
		e.g.SetWide(&values[i], &wide)
	}
	switch {
	case j.params.Mode == ModeRefresh:
		var zero S
		values[0] = zero
		return nil
	case j.constants == nil:
		return nil
	}
	err := fmt.Errorf("deal key %d: secret is gone", k)
	j.constants[k].Expose(func(b []byte) { err = e.g.SetScalar(&values[0], b) })
	return err
}

func (e engine[S, P]) publicKey(key secret.Bytes) ([]byte, error) {
	var s S
	err := errors.New("no secret")
	key.Expose(func(b []byte) { err = e.g.SetScalar(&s, b) })
	if err != nil {
		return nil, err
	}
	p := make([]P, 1)
	e.g.BaseMult(&p[0], &s)
	if e.g.IsIdentity(&p[0]) {
		return nil, errIdentityKey
	}
	return e.g.AppendPoints(nil, p), nil
}

// prove is the batch Schnorr proof of Gennaro, Leigh, Sundaram and Yerazunis
// (ASIACRYPT 2004): with one commitment A = a·G and one challenge c,
//
//	z = a + Σ c^(k+1)·f_k(0), checked as z·G = A + Σ c^(k+1)·V_k,0.
//
// From K+1 accepting answers to one A, a Vandermonde system gives every
// f_k(0): c is a polynomial's argument, so that the proof is one of each and
// not of their sum. The knowledge error is K/r.
func (e engine[S, P]) prove(j *dealJob, root [32]byte, constants []S) []byte {
	if j.params.Mode == ModeRefresh {
		return nil
	}
	var a S
	wide := j.coins.draw("knowledge", j.roster[:], root[:])
	e.g.SetWide(&a, &wide)
	commitment := make([]P, 1)
	e.g.BaseMult(&commitment[0], &a)
	proof := e.g.AppendPoints(nil, commitment)

	c := e.challenge(j.roster, j.me, root, proof)
	power := c
	for k := range constants {
		term := constants[k]
		e.g.MulScalar(&term, &power)
		e.g.AddScalar(&a, &term)
		e.g.MulScalar(&power, &c)
	}
	return e.g.AppendScalar(proof, &a)
}
