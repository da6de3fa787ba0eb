package transcript

import (
	"github.com/gtank/ristretto255"
)

// publicKey reads a canonical element other than the identity.
func publicKey(b []byte) (*ristretto255.Element, bool) {
	e := ristretto255.NewElement()
	return e, len(b) == 32 && e.Decode(b) == nil && e.Equal(ristretto255.NewElement()) == 0
}

// isPublicKey tells whether publicKey reads it.
func isPublicKey(b []byte) bool {
	_, ok := publicKey(b)
	return ok
}

// proof is (challenge, response).
func readProof(b []byte) (c, z *ristretto255.Scalar, ok bool) {
	c, z = ristretto255.NewScalar(), ristretto255.NewScalar()
	return c, z, len(b) == 64 && c.Decode(b[:32]) == nil && z.Decode(b[32:]) == nil
}

// hashes tells whether a challenge is that of a statement and commitments.
func hashes(c *ristretto255.Scalar, tag string, statement [][]byte, commitments ...*ristretto255.Element) bool {
	for _, e := range commitments {
		statement = append(statement, e.Encode(nil))
	}
	return ristretto255.NewScalar().FromUniformBytes(wide(tag, statement...)).Equal(c) == 1
}

// knows checks a Schnorr proof of the logarithm of a key.
func knows(key, proof []byte, tag string, context ...[]byte) bool {
	pk, ok := publicKey(key)
	c, z, fine := readProof(proof)
	if !ok || !fine {
		return false
	}
	minus := ristretto255.NewScalar().Negate(c)
	return hashes(c, tag, append([][]byte{key}, context...),
		ristretto255.NewElement().VarTimeDoubleScalarBaseMult(minus, pk, z))
}

// shares checks a Chaum-Pedersen proof: log_B(key) = log_peer(shared).
func shares(key, peer, shared, proof []byte, tag string, context ...[]byte) bool {
	pk, ok1 := publicKey(key)
	r, ok2 := publicKey(peer)
	k := ristretto255.NewElement()
	c, z, ok3 := readProof(proof)
	if !ok1 || !ok2 || !ok3 || k.Decode(shared) != nil {
		return false
	}
	minus := ristretto255.NewScalar().Negate(c)
	return hashes(c, tag, append([][]byte{key, peer, shared}, context...),
		ristretto255.NewElement().VarTimeDoubleScalarBaseMult(minus, pk, z),
		ristretto255.NewElement().VarTimeMultiScalarMult([]*ristretto255.Scalar{z, minus}, []*ristretto255.Element{r, k}))
}
