package kem

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/gtank/ristretto255"
	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"pgregory.net/rapid"

	"github.com/quorate/quorate/internal/secret/secrettest"
	"github.com/quorate/quorate/internal/wire"
)

func testKey(name string) SecretKey {
	wide := sha512.Sum512([]byte(name))
	return NewSecretKey(&wide)
}

func TestProofs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := testKey("a"+rapid.String().Draw(t, "a")), testKey("b"+rapid.String().Draw(t, "b"))
		context := rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "context")
		flip := func(p Proof) Proof {
			at := rapid.IntRange(0, ProofSize*8-1).Draw(t, "flip")
			p[at/8] ^= 1 << (at % 8)
			return p
		}
		other := bytes.Clone(context)
		other[0] ^= 1

		proof := a.Prove(wire.TagPoP, context)
		if proof != a.Prove(wire.TagPoP, context) {
			t.Fatal("a proof is not a function of its statement")
		}
		if !a.Public().VerifyProof(proof, wire.TagPoP, context) {
			t.Fatal("a proof does not verify")
		}
		if a.Public().VerifyProof(proof, wire.TagPoP, other) || a.Public().VerifyProof(proof, wire.TagPoKRho, context) ||
			a.Public().VerifyProof(proof, wire.TagPoP, context, nil) || b.Public().VerifyProof(proof, wire.TagPoP, context) ||
			a.Public().VerifyProof(flip(proof), wire.TagPoP, context) || (PublicKey{}).VerifyProof(proof, wire.TagPoP, context) {
			t.Fatal("a false proof verifies")
		}

		shared := a.Shared(b.Public())
		if shared != b.Shared(a.Public()) {
			t.Fatal("two keys share two points")
		}
		dleq := a.ProveShared(b.Public(), wire.TagDLEQ, context)
		if !a.Public().VerifyShared(b.Public(), shared, dleq, wire.TagDLEQ, context) {
			t.Fatal("an opening does not verify")
		}
		wrong := testKey("c").Shared(b.Public())
		if a.Public().VerifyShared(b.Public(), wrong, dleq, wire.TagDLEQ, context) ||
			a.Public().VerifyShared(b.Public(), shared, dleq, wire.TagDLEQ, other) ||
			a.Public().VerifyShared(b.Public(), shared, flip(dleq), wire.TagDLEQ, context) ||
			a.Public().VerifyShared(testKey("c").Public(), shared, dleq, wire.TagDLEQ, context) ||
			a.Public().VerifyShared(b.Public(), shared, proof, wire.TagDLEQ, context) {
			t.Fatal("a false opening verifies")
		}
	})
}

// TestPublicKeyEncodings takes RFC 9496's multiples of the generator and
// refuses its bad encodings.
func TestPublicKeyEncodings(t *testing.T) {
	for _, good := range []string{
		"e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
		"6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
	} {
		b, _ := hex.DecodeString(good)
		pk, err := ParsePublicKey(b)
		if err != nil || !bytes.Equal(pk.Bytes(), b) {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "00", "0000000000000000000000000000000000000000000000000000000000000000", // the identity
		"00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
	} {
		b, _ := hex.DecodeString(bad)
		if _, err := ParsePublicKey(b); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

// FuzzParsePublicKey compares with another implementation, which decides alike.
func FuzzParsePublicKey(f *testing.F) {
	f.Add(testKey("x").Public().Bytes())
	f.Add(make([]byte, 32))
	f.Fuzz(func(t *testing.T, in []byte) {
		pk, err := ParsePublicKey(in)
		other := ristretto255.NewElement()
		good := len(in) == PointSize && !bytes.Equal(in, make([]byte, PointSize)) && other.Decode(in) == nil
		if good != (err == nil) {
			t.Fatalf("%x: %v", in, err)
		}
		if err == nil && encode(pk.e) != [PointSize]byte(in) {
			t.Fatalf("%x is not canonical", in)
		}
	})
}

// Multiples and proofs are what another implementation makes of the same
// bytes, also of scalars at the edges.
func TestAgainstAnotherImplementation(t *testing.T) {
	edge := rapid.SampledFrom([]string{
		"0100000000000000000000000000000000000000000000000000000000000000",
		"ecd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010", // the order less one
		"0000000000000000000000000000000000000000000000000000000000000010",
		"8888888888888888888888888888888888888888888888888888888888888808", // digits at which windows carry
		"7777777777777777777777777777777777777777777777777777777777777707",
	})
	draw := func(t *rapid.T, name string) (wide [64]byte) {
		if rapid.Bool().Draw(t, name+" at an edge") {
			b, _ := hex.DecodeString(edge.Draw(t, name))
			copy(wide[:], b)
		} else {
			copy(wide[:], rapid.SliceOfN(rapid.Byte(), 64, 64).Draw(t, name))
			wide[0] |= 1
		}
		return wide
	}
	rapid.Check(t, func(t *rapid.T) {
		x, y := draw(t, "x"), draw(t, "y")
		ours, theirs := NewSecretKey(&x), ristretto255.NewScalar().FromUniformBytes(x[:])
		peer := NewSecretKey(&y).Public()
		other := ristretto255.NewElement()
		if err := other.Decode(peer.Bytes()); err != nil {
			t.Fatal(err)
		}
		public, shared := ristretto255.NewElement().ScalarBaseMult(theirs), ristretto255.NewElement().ScalarMult(theirs, other)
		if got := ours.Shared(peer); !bytes.Equal(got[:], shared.Encode(nil)) || !bytes.Equal(ours.Public().Bytes(), public.Encode(nil)) {
			t.Fatal("a multiple disagrees")
		}
		proof := ours.Prove(wire.TagPoP)
		c, z := ristretto255.NewScalar(), ristretto255.NewScalar()
		if c.Decode(proof[:32]) != nil || z.Decode(proof[32:]) != nil {
			t.Fatal("a proof is not canonical")
		}
		commitment := ristretto255.NewElement().VarTimeDoubleScalarBaseMult(ristretto255.NewScalar().Negate(c), public, z)
		wide := wire.HashWide(wire.TagPoP, public.Encode(nil), commitment.Encode(nil))
		if c.Equal(ristretto255.NewScalar().FromUniformBytes(wide[:])) != 1 {
			t.Fatal("a proof does not verify elsewhere")
		}
	})
}

// TestTime looks for a difference in time between a fixed secret and random
// ones. That it finds one is shown with a multiplication for public scalars.
func TestTime(t *testing.T) {
	peer := testKey("peer").Public()
	var ones [64]byte
	copy(ones[:], bytes.Repeat([]byte{0x11}, 31)) // digits of 1
	random := func(i int) scalar.Scalar {
		wide := sha512.Sum512([]byte(fmt.Sprint(i)))
		return *reduce(scalar.New(), &wide)
	}
	for name, fixed := range map[string]*scalar.Scalar{"1": scalar.NewFromUint64(1), "digits of 1": reduce(scalar.New(), &ones), "-1": negate(scalar.NewFromUint64(1))} {
		for what, work := range map[string]func(s *scalar.Scalar){
			"times the base": func(s *scalar.Scalar) { baseMult(s) },
			"times a key":    func(s *scalar.Scalar) { curve.NewRistrettoPoint().Mul(peer.e, s) },
		} {
			found := secrettest.LeastTiming(work, func() scalar.Scalar { return *fixed }, random)
			t.Logf("%s %s: t = %.1f", name, what, found)
			if found > secrettest.Suspicious {
				t.Errorf("the time tells %s %s from random secrets: t = %.1f", name, what, found)
			}
		}
	}
	public := func(s *scalar.Scalar) {
		curve.NewRistrettoPoint().DoubleScalarMulBasepointVartime(s, peer.e, s)
	}
	if found := secrettest.Timing(public, func() scalar.Scalar { return *scalar.NewFromUint64(1) }, random); found < secrettest.Suspicious {
		t.Errorf("a multiplication for public scalars was not found: t = %.1f", found)
	}
}

func TestHybrid(t *testing.T) {
	key := NewHybridKey(&[32]byte{1})
	coins := [CoinsSize]byte{2}
	ct, ss, err := Encapsulate(key.Public(), &coins)
	if err != nil {
		t.Fatal(err)
	}
	again, same, err := Encapsulate(key.Public(), &coins)
	if err != nil || !bytes.Equal(ct, again) || ss != same {
		t.Fatal("the same coins make another ciphertext")
	}
	if got, err := key.Decapsulate(ct); err != nil || got != ss {
		t.Fatalf("decapsulated another secret: %v", err)
	}
	for _, at := range []int{0, len(ct) - 1} { // ML-KEM's part and X25519's
		bad := bytes.Clone(ct)
		bad[at] ^= 1
		if got, err := key.Decapsulate(bad); err != nil || got == ss {
			t.Fatalf("byte %d does not matter: %v", at, err)
		}
	}
	if _, err := key.Decapsulate(ct[1:]); err == nil {
		t.Error("a short ciphertext was taken")
	}
	for _, bad := range [][]byte{nil, key.Public()[1:], bytes.Repeat([]byte{0xff}, HybridKeySize)} {
		if _, _, err := Encapsulate(bad, &coins); err == nil {
			t.Errorf("a public key of %d bytes was taken", len(bad))
		}
	}
}

func TestRistretto(t *testing.T) {
	g := Ristretto{}
	var zero Point
	if !g.IsIdentity(&zero) || !bytes.Equal(g.AppendPoints(nil, []Point{zero}), make([]byte, 32)) {
		t.Error("the zero value is not the identity")
	}
	rapid.Check(t, func(t *rapid.T) {
		var a, b Scalar
		g.SetWide(&a, (*[64]byte)(rapid.SliceOfN(rapid.Byte(), 64, 64).Draw(t, "a")))
		g.SetWeight(&b, (*[16]byte)(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "b")))
		var p, q, sum, product Point
		g.BaseMult(&p, &a)
		g.BaseMult(&q, &b)
		c, d := a, a
		g.AddScalar(&c, &b)
		g.MulScalar(&d, &b)
		g.BaseMult(&sum, &c)
		g.BaseMult(&product, &d)
		r := p
		g.AddPoint(&r, &q)
		if !g.Equal(&r, &sum) {
			t.Fatal("sums disagree")
		}
		g.SubPoint(&r, &q)
		if !g.Equal(&r, &p) {
			t.Fatal("a difference disagrees")
		}
		if got := g.VarTimeMultiMult([]Point{p, {}}, []Scalar{b, a}, 128); !g.Equal(&got, &product) {
			t.Fatal("a multiple disagrees")
		}
		var back Scalar
		if err := g.SetScalar(&back, g.AppendScalar(nil, &a)); err != nil || back.s.Equal(&a.s) != 1 {
			t.Fatalf("a scalar does not come back: %v", err)
		}
		msg := []byte("result")
		att := g.Attest(&a, msg)
		bad := g.VerifyAttestations([]Point{p, q, p}, msg, [][]byte{att, att, nil})
		if !slices.Equal(bad, []int{1, 2}) || len(g.VerifyAttestations([]Point{p}, nil, [][]byte{att})) != 1 {
			t.Fatal("an attestation is worth nothing")
		}
	})
	order, _ := hex.DecodeString("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	var s Scalar
	if g.SetScalar(&s, order) == nil || g.SetScalar(&s, make([]byte, 31)) == nil {
		t.Error("a scalar that is not canonical was taken")
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	sk := testKey("canary")
	plain := toBytes(sk.open())
	secrettest.Check(t, sk, plain[:])
	seed := [32]byte(bytes.Repeat([]byte("canary!."), 4))
	secrettest.Check(t, NewHybridKey(&seed), seed[:])
	// Inside another's unexported field a scalar would print, so none is kept there.
	s := Scalar{s: *sk.open()}
	for _, verb := range "vsxXdq" {
		if form, found := secrettest.Find(fmt.Appendf(nil, "%"+string(verb), s), plain[:]); found {
			t.Errorf("a scalar prints as %s under %c", form, verb)
		}
	}
}
