package bls

import (
	"crypto/sha256"
	"math/big"
	"slices"
	"testing"

	blst "github.com/supranational/blst/bindings/go"
)

func numbered(i int) (s G1Scalar) {
	wide := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
	G1{}.SetWide(&s, (*[64]byte)(append(wide[:], wide[:]...)))
	return s
}

// TestG1Extend compares with Lagrange's formula in big integers.
func TestG1Extend(t *testing.T) {
	g := G1{}
	value := func(s *G1Scalar) *big.Int { return new(big.Int).SetBytes(g.AppendScalar(nil, s)) }
	for _, size := range []int{1, 2, 3, 7, 20} {
		values := make([]G1Scalar, size)
		for i := range values {
			values[i] = numbered(i)
		}
		values[size-1] = G1Scalar{} // a borrow out of nothing
		out := g.Extend(slices.Clone(values), 40)
		if len(out) != 41 {
			t.Fatalf("%d values, want 41", len(out))
		}
		for x := range out {
			sum := new(big.Int)
			for i := range values {
				num, den := big.NewInt(1), big.NewInt(1)
				for j := range values {
					if j != i {
						num.Mul(num, big.NewInt(int64(x-j)))
						den.Mul(den, big.NewInt(int64(i-j)))
					}
				}
				den.ModInverse(den.Mod(den, g1Order), g1Order)
				sum.Add(sum, num.Mul(num, den).Mul(num, value(&values[i])))
			}
			if want := sum.Mod(sum, g1Order); value(&out[x]).Cmp(want) != 0 {
				t.Fatalf("%d values: at %d %x, want %x", size, x, value(&out[x]), want)
			}
		}
	}
}

func TestVerifyAttestations(t *testing.T) {
	g := G1{}
	msg := []byte("result")
	const n = 9
	points, attestations := make([]G1Point, n), make([][]byte, n)
	for i := range points {
		s := numbered(i + 1)
		g.BaseMult(&points[i], &s)
		attestations[i] = g.Attest(&s, msg)
	}
	if bad := g.VerifyAttestations(points, msg, attestations); bad != nil {
		t.Fatalf("true ones are bad: %v", bad)
	}
	if bad := g.VerifyAttestations(points[:1], msg, attestations[:1]); bad != nil {
		t.Fatalf("a true one is bad: %v", bad)
	}
	if bad := g.VerifyAttestations(points, msg[1:], attestations); len(bad) != n {
		t.Errorf("of another message: only %v are bad", bad)
	}
	forged := slices.Clone(attestations)
	forged[0], forged[1] = forged[1], forged[0]           // cancels in an unweighted sum
	forged[3] = []byte{1}                                 // no point
	forged[5] = append([]byte{0xc0}, make([]byte, 95)...) // nobody's
	forged[7] = outsideG2(t)                              // a true one plus a point of small order would not verify either
	if bad := g.VerifyAttestations(points, msg, forged); !slices.Equal(bad, []int{0, 1, 3, 5, 7}) {
		t.Errorf("bad are %v, want 0, 1, 3, 5, 7", bad)
	}
	zero := slices.Clone(points)
	zero[2] = G1Point{}
	if bad := g.VerifyAttestations(zero, msg, attestations); !slices.Equal(bad, []int{2}) {
		t.Errorf("bad are %v, want that under the identity", bad)
	}
	// An attestation is never a signature of a duty.
	sig, err := ParseSignature(attestations[0])
	if err != nil {
		t.Fatal(err)
	}
	key := must(ParsePublicKey(g.AppendPoints(nil, points[:1])))
	if VerifyHashed(key, HashedRoot{point: *blst.HashToG2(msg, dstEthereum)}, sig) {
		t.Error("an attestation is a signature of Ethereum's")
	}
}

func TestCombineAttestations(t *testing.T) {
	g := G1{}
	msg := []byte("root")
	const n, threshold = 200, 134
	values := make([]G1Scalar, threshold)
	for i := range values {
		values[i] = numbered(i)
	}
	shares := g.Extend(values, n)
	whole := make([]G1Point, 1)
	g.BaseMult(&whole[0], &shares[0])
	var indices []uint16
	var attestations [][]byte
	for i := n; len(indices) < threshold; i-- {
		indices = append(indices, uint16(i))
		attestations = append(attestations, g.Attest(&shares[i], msg))
	}
	got, err := g.CombineAttestations(indices, attestations)
	if err != nil || g.VerifyAttestations(whole, msg, [][]byte{got}) != nil {
		t.Errorf("the combination does not verify: %v", err)
	}
	got, err = g.CombineAttestations(indices[1:], attestations[1:])
	if err == nil && g.VerifyAttestations(whole, msg, [][]byte{got}) == nil {
		t.Error("too few attestations made one of the whole key")
	}
	indices[0] = indices[1]
	if _, err := g.CombineAttestations(indices, attestations); err == nil {
		t.Error("one index twice was combined")
	}
}
