package bls

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	blst "github.com/supranational/blst/bindings/go"
	"pgregory.net/rapid"

	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/secret/secrettest"
)

// hashed is a root that no duty has.
func hashed(msg string) HashedRoot {
	sum := sha256.Sum256([]byte(msg))
	return HashedRoot{point: *blst.HashToG2(sum[:], dstEthereum)}
}

// vectors reads a file that others wrote, from beside the repository.
func vectors(t testing.TB, name string, into any) {
	t.Helper()
	dir := "../../../shared/vectors"
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no vectors at %s", dir)
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func bigScalar(v *big.Int) *[ScalarSize]byte {
	return (*[ScalarSize]byte)(v.FillBytes(make([]byte, ScalarSize)))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// deal shares a random key: the naive oracle of every threshold test.
func deal(threshold int, indices ...uint16) (SecretKey, map[uint16]Share) {
	coefficients := make([]*big.Int, threshold)
	for i := range coefficients {
		coefficients[i] = must(rand.Int(rand.Reader, groupOrder))
	}
	shares := make(map[uint16]Share, len(indices))
	for _, x := range indices {
		y := new(big.Int)
		for i := threshold - 1; i >= 0; i-- {
			y.Mul(y, big.NewInt(int64(x))).Add(y, coefficients[i]).Mod(y, groupOrder)
		}
		shares[x] = must(NewShare(x, bigScalar(y)))
	}
	return must(NewSecretKey(bigScalar(coefficients[0]))), shares
}

func upTo(n int) []uint16 {
	out := make([]uint16, n)
	for i := range out {
		out[i] = uint16(i + 1)
	}
	return out
}

func TestSelfTest(t *testing.T) {
	if err := SelfTest(); err != nil {
		t.Fatal(err)
	}
	for _, spoil := range []func(*answer){
		func(a *answer) { a.root = "00" + a.root[2:] },
		func(a *answer) { a.publicKey = a.signature[:96] },
		func(a *answer) { a.partial1 = a.signature },
		func(a *answer) { a.signature = a.partial1 },
	} {
		bad := knownAnswer
		spoil(&bad)
		if selfTest(bad) == nil {
			t.Errorf("a wrong answer passes: %+v", bad)
		}
	}
}

func TestThresholdVectors(t *testing.T) {
	var v struct {
		SigningRoot        string `json:"signing_root"`
		CompositePublicKey string `json:"composite_public_key"`
		RecoveredSignature string `json:"recovered_signature"`
		Participants       []struct {
			ID        string
			SecretKey string `json:"secret_key"`
			PublicKey string `json:"public_key"`
			Signature string
		}
	}
	vectors(t, "threshold-bls/threshold-signing.json", &v)
	root := HashedRoot{point: *blst.HashToG2(unhex(t, v.SigningRoot), dstEthereum)}
	var partials []Partial
	for _, p := range v.Participants {
		index := uint16(p.ID[0] - '0')
		share := must(NewShare(index, (*[ScalarSize]byte)(unhex(t, p.SecretKey))))
		if got := share.PublicShare().String(); got != p.PublicKey {
			t.Errorf("public share %d is %s, want %s", index, got, p.PublicKey)
		}
		partial := share.SignHashed(root)
		if got := partial.sig.String(); got != p.Signature {
			t.Errorf("partial %d is %s, want %s", index, got, p.Signature)
		}
		partials = append(partials, partial)
	}
	key := must(ParsePublicKey(unhex(t, v.CompositePublicKey)))
	for skip := range partials {
		var two []Partial
		for i, p := range partials {
			if i != skip {
				two = append(two, p)
			}
		}
		sig := must(Combine(2, two))
		if sig.String() != v.RecoveredSignature || !VerifyHashed(key, root, sig) {
			t.Errorf("without %d: combined to %s, want %s", skip+1, sig, v.RecoveredSignature)
		}
	}
}

func TestSigningVectors(t *testing.T) {
	var v struct {
		SecretKey string `json:"secret_key"`
		PublicKey string `json:"public_key"`
		Vectors   []struct {
			Name        string
			SigningRoot string `json:"signing_root"`
			Signature   string
		}
	}
	vectors(t, "signing/requests-mainnet.json", &v)
	key := must(NewSecretKey((*[ScalarSize]byte)(unhex(t, v.SecretKey))))
	if got := key.PublicKey().String(); got != v.PublicKey {
		t.Fatalf("public key %s, want %s", got, v.PublicKey)
	}
	for _, c := range v.Vectors {
		root := HashedRoot{point: *blst.HashToG2(unhex(t, c.SigningRoot), dstEthereum)}
		sig := must(ParseSignature(unhex(t, c.Signature)))
		if got := (Signature{point: multiply(&root.point, key.scalar)}); got != sig {
			t.Errorf("%s: signed %s, want %s", c.Name, got, sig)
		}
		if !VerifyHashed(key.PublicKey(), root, sig) {
			t.Errorf("%s: known signature does not verify", c.Name)
		}
	}
}

func TestDeriveVectors(t *testing.T) {
	var v struct {
		Tests []struct {
			Seed       string
			MasterSK   json.Number `json:"master_SK"`
			ChildIndex uint32      `json:"child_index"`
			ChildSK    json.Number `json:"child_SK"`
		} `json:"kdf_tests"`
	}
	vectors(t, "eip2333-2335/tree_kdf.json", &v)
	scalar := func(n json.Number) SecretKey {
		i, ok := new(big.Int).SetString(n.String(), 10)
		if !ok {
			t.Fatalf("bad number %s", n)
		}
		return must(NewSecretKey(bigScalar(i)))
	}
	for _, c := range v.Tests {
		master := must(DeriveMaster(secret.New(unhex(t, c.Seed))))
		if !master.Equal(scalar(c.MasterSK)) {
			t.Errorf("master of %s differs", c.Seed)
		}
		if !master.DeriveChild(c.ChildIndex).Equal(scalar(c.ChildSK)) {
			t.Errorf("child %d of %s differs", c.ChildIndex, c.Seed)
		}
	}
	if _, err := DeriveMaster(secret.New(make([]byte, 31))); err == nil {
		t.Error("a short seed was taken")
	}
}

// Every t-subset of any holders, in any order, combines to the one signature,
// and t-1 partials never do.
func TestEverySubsetCombines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		threshold := rapid.IntRange(1, 7).Draw(t, "t")
		n := rapid.IntRange(threshold, 9).Draw(t, "n")
		small := rapid.Uint16Range(1, 16)
		index := rapid.OneOf(small, small, rapid.Uint16Min(1))
		indices := rapid.SliceOfNDistinct(index, n, n, rapid.ID).Draw(t, "indices")
		key, shares := deal(threshold, indices...)
		root := hashed(rapid.String().Draw(t, "root"))
		want := Signature{point: multiply(&root.point, key.scalar)}

		order := rapid.Permutation(indices).Draw(t, "order")
		partials := make([]Partial, 0, n)
		for _, x := range order {
			partials = append(partials, shares[x].SignHashed(root))
		}
		if got, err := Combine(threshold, partials); err != nil || got != want {
			t.Fatalf("combined to %s (%v), want %s", got, err, want)
		}
		if _, err := Combine(threshold, partials[:threshold-1]); !errors.Is(err, ErrTooFew) {
			t.Fatalf("%d partials at threshold %d: %v", threshold-1, threshold, err)
		}
		if threshold > 1 {
			// Fewer interpolate to something, but not to the signature.
			if got, err := Combine(threshold-1, partials); err == nil && got == want {
				t.Fatal("t-1 partials give the signature")
			}
		}
	})
}

// All triples of the usual committee, as they will be met in production, and
// a committee that takes the long path.
func TestCombineFixed(t *testing.T) {
	root := hashed("fixed")
	key, shares := deal(3, upTo(4)...)
	want := Signature{point: multiply(&root.point, key.scalar)}
	if !VerifyHashed(key.PublicKey(), root, want) {
		t.Fatal("the whole key's signature does not verify")
	}
	for _, subset := range [][]uint16{{1, 2, 3}, {1, 2, 4}, {1, 3, 4}, {2, 3, 4}, {4, 1, 2}} {
		var partials []Partial
		for _, x := range subset {
			partials = append(partials, shares[x].SignHashed(root))
		}
		if got := must(Combine(3, partials)); got != want {
			t.Errorf("%v combines to %s", subset, got)
		}
	}

	key, shares = deal(43, upTo(64)...)
	var partials []Partial
	for x := 64; x > 0; x-- {
		partials = append(partials, shares[uint16(x)].SignHashed(root))
	}
	want = Signature{point: multiply(&root.point, key.scalar)}
	if got := must(Combine(43, partials)); got != want {
		t.Error("43 of 64 combine to another signature")
	}
}

func TestCombineRefuses(t *testing.T) {
	root := hashed("refuse")
	_, shares := deal(2, 1, 2, 3)
	one, two := shares[1].SignHashed(root), shares[2].SignHashed(root)
	opposite := Partial{index: 2, sig: one.sig}
	for name, c := range map[string]struct {
		threshold int
		partials  []Partial
		want      error
	}{
		"none":            {2, nil, ErrTooFew},
		"one":             {2, []Partial{one}, ErrTooFew},
		"threshold 0":     {0, []Partial{one, two}, ErrTooFew},
		"negative":        {-1, []Partial{one, two}, ErrTooFew},
		"duplicate":       {2, []Partial{one, one}, ErrDuplicate},
		"spare duplicate": {2, []Partial{one, two, two}, ErrDuplicate},
		"zero":            {2, []Partial{one, {}}, ErrIndex},
		"spare zero":      {2, []Partial{one, two, {}}, ErrIndex},
	} {
		if _, err := Combine(c.threshold, c.partials); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// 2*s1 - s2 with s2 = 2*s1 is the identity.
	double := new(blst.P2)
	double.AddAssign(&one.sig.point).AddAssign(&one.sig.point)
	opposite.sig.point = *double.ToAffine()
	if sig, err := Combine(2, []Partial{one, opposite}); err == nil {
		t.Errorf("partials that cancel out combine to %s", sig)
	}
}

func TestNewShareRefuses(t *testing.T) {
	above := new(big.Int).Add(groupOrder, big.NewInt(1))
	all := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
	for _, v := range []*big.Int{new(big.Int), groupOrder, above, all} {
		scalar := bigScalar(v)
		if _, err := NewShare(1, scalar); !errors.Is(err, ErrScalar) {
			t.Errorf("share %x: %v", v, err)
		}
		if *scalar != [ScalarSize]byte{} {
			t.Error("refused scalar not wiped")
		}
		if _, err := NewSecretKey(bigScalar(v)); !errors.Is(err, ErrScalar) {
			t.Errorf("key %x: %v", v, err)
		}
	}
	scalar := bigScalar(big.NewInt(7))
	if _, err := NewShare(0, scalar); !errors.Is(err, ErrIndex) || *scalar != [ScalarSize]byte{} {
		t.Errorf("index 0: %v", err)
	}
	largest := bigScalar(new(big.Int).Sub(groupOrder, big.NewInt(1)))
	share, err := NewShare(1, largest)
	if err != nil || *largest != [ScalarSize]byte{} {
		t.Fatalf("largest scalar: %v", err)
	}
	exposeScalar(share.scalar, func(b *[ScalarSize]byte) {
		if new(big.Int).SetBytes(b[:]).Cmp(new(big.Int).Sub(groupOrder, big.NewInt(1))) != 0 {
			t.Error("exposed another scalar")
		}
	})
}

func TestDestroyedSignsNothing(t *testing.T) {
	root := hashed("destroyed")
	key, shares := deal(1, 1)
	share := shares[1]
	share.Destroy()
	key.Destroy()
	if share.SignHashed(root) != (Partial{}) || !share.PublicShare().IsZero() || !key.PublicKey().IsZero() {
		t.Error("a destroyed secret still works")
	}
	if (Share{}).SignHashed(root) != (Partial{}) {
		t.Error("the zero share signs")
	}
}

func TestSecretsDoNotLeak(t *testing.T) {
	scalar := [ScalarSize]byte([]byte("0123-canary-of-thirty-two-bytes!"))
	littleEndian := bytes.Clone(scalar[:])
	s1, s2 := scalar, scalar
	share, key := must(NewShare(7, &s1)), must(NewSecretKey(&s2))
	secrettest.Check(t, share, littleEndian)
	secrettest.Check(t, key, littleEndian)
}

func TestParseRefuses(t *testing.T) {
	_, shares := deal(1, 1)
	share := shares[1]
	pk := share.PublicShare().Bytes()
	sig := share.SignHashed(hashed("x")).sig.Bytes()

	infinity := func(n int) []byte { return append([]byte{0xc0}, make([]byte, n-1)...) }
	flipped := func(b []byte, mask byte) []byte {
		b = bytes.Clone(b)
		b[0] ^= mask
		return b
	}
	field, _ := new(big.Int).SetString("1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab", 16)
	beyond := flipped(field.FillBytes(make([]byte, 48)), 0x80)

	for name, b := range map[string][]byte{
		"empty": nil, "short": pk[:47], "long": append(pk[:], 0), "uncompressed flag": flipped(pk[:], 0x80),
		"infinity": infinity(48), "infinity with a bit": append(infinity(47), 1), "beyond the field": beyond,
		"not in the subgroup": outsideG1(t),
	} {
		if k, err := ParsePublicKey(b); !errors.Is(err, ErrPoint) {
			t.Errorf("public key, %s: %s, %v", name, k, err)
		}
	}
	for name, b := range map[string][]byte{
		"empty": nil, "short": sig[:95], "long": append(sig[:], 0), "uncompressed flag": flipped(sig[:], 0x80),
		"infinity": infinity(96), "not in the subgroup": outsideG2(t),
	} {
		if s, err := ParseSignature(b); !errors.Is(err, ErrPoint) {
			t.Errorf("signature, %s: %s, %v", name, s, err)
		}
	}
	raw := Partial{index: 1, sig: Signature{point: *new(blst.P2Affine).Uncompress(sig[:96])}}.Bytes()
	at := func(i int, mask byte) []byte {
		b := bytes.Clone(raw[:])
		b[i] ^= mask
		return b
	}
	for name, b := range map[string][]byte{
		"empty": nil, "short": raw[:193], "long": append(bytes.Clone(raw[:]), 0), "compressed": append([]byte{0, 1}, sig[:96]...),
		"compressed flag": at(2, 0x80), "infinity flag": at(2, 0x40), "sign flag": at(2, 0x20),
		"infinity": append([]byte{0, 1, 0x40}, make([]byte, 191)...), "zeros": append([]byte{0, 1}, make([]byte, 192)...),
		"not on the curve": at(100, 1), "index 0": at(1, 1),
	} {
		if _, err := ParsePartial(b); err == nil {
			t.Errorf("partial, %s: accepted", name)
		}
	}
	// A point outside the subgroup is read but goes nowhere: it is not
	// combined, and its holder is blamed.
	outside := new(blst.P2Affine).Uncompress(outsideG2(t))
	bad, err := ParsePartial(append([]byte{0, 1}, outside.Serialize()...))
	if err != nil {
		t.Fatal(err)
	}
	good, err := ParsePartial(at(1, 3))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := Combine(2, []Partial{bad, good}); !errors.Is(err, ErrPoint) {
		t.Errorf("a point outside the subgroup combines to %s, %v", s, err)
	}
	key, _ := GenerateSecretKey()
	blamed, err := VerifyPartials(rand.Reader, NewRound([32]byte{}, 1), []PublicKey{key.PublicKey()}, []Partial{bad})
	if err != nil || len(blamed) != 1 {
		t.Errorf("blamed %v, %v for a point outside the subgroup", blamed, err)
	}
}

// outsideG1 is a point of the curve that is not in the subgroup.
func outsideG1(t *testing.T) []byte {
	for x := byte(0); ; x++ {
		b := append([]byte{0x80}, make([]byte, 47)...)
		b[47] = x
		var p blst.P1Affine
		if p.Uncompress(b) != nil && !p.InG1() {
			return b
		}
		if x == 255 {
			t.Fatal("no such point")
		}
	}
}

func outsideG2(t *testing.T) []byte {
	for x := byte(0); ; x++ {
		b := append([]byte{0x80}, make([]byte, 95)...)
		b[95] = x
		var p blst.P2Affine
		if p.Uncompress(b) != nil && !p.InG2() {
			return b
		}
		if x == 255 {
			t.Fatal("no such point")
		}
	}
}

func FuzzParse(f *testing.F) {
	_, shares := deal(1, 1)
	pk := shares[1].PublicShare().Bytes()
	signed := shares[1].SignHashed(hashed("x"))
	partial, sig := signed.Bytes(), must(Combine(1, []Partial{signed})).Bytes()
	f.Add(pk[:])
	f.Add(sig[:])
	f.Add(partial[:])
	f.Add(partial[2:])
	f.Fuzz(func(t *testing.T, in []byte) {
		if k, err := ParsePublicKey(in); err == nil {
			if b := k.Bytes(); !bytes.Equal(b[:], in) || newPublicKey(&k.point) != k {
				t.Errorf("public key %x reads as %x", in, b)
			}
		}
		if s, err := ParseSignature(in); err == nil {
			if b := s.Bytes(); !bytes.Equal(b[:], in) {
				t.Errorf("signature %x reads as %x", in, b)
			}
		}
		if p, err := ParsePartial(in); err == nil {
			if b := p.Bytes(); !bytes.Equal(b[:], in) {
				t.Errorf("partial %x reads as %x", in, b)
			}
		}
	})
}
