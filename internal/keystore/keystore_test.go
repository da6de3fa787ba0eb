package keystore

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func password(s string) secret.Bytes { return secret.New([]byte(s)) }

func keyOf(scalarHex string) bls.SecretKey {
	return must(bls.NewSecretKey((*[32]byte)(must(hex.DecodeString(scalarHex)))))
}

// The EIP's text gives one password and one secret for both keystores.
const (
	eipPassword = "𝔱𝔢𝔰𝔱𝔭𝔞𝔰𝔰𝔴𝔬𝔯𝔡🔑"
	eipSecret   = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
)

func TestEIP2335(t *testing.T) {
	d := NewDecrypter()
	for _, file := range []string{"testdata/eip2335-scrypt.json", "testdata/eip2335-pbkdf2.json"} {
		k := must(Parse(must(os.ReadFile(file))))
		key, err := d.Decrypt(t.Context(), k, password(eipPassword))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if !key.Equal(keyOf(eipSecret)) {
			t.Errorf("%s: another key", file)
		}
		if k.Path == "" || k.UUID == "" || k.Description == "" {
			t.Errorf("%s: information lost: %+v", file, k)
		}
	}
	// What scrypt took went back to the system.
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if held := m.HeapSys - m.HeapReleased; held > wire.MaxScryptMemory/4 {
		t.Errorf("%d MiB of heap still held", held>>20)
	}
}

func TestNormalise(t *testing.T) {
	for in, want := range map[string]string{
		eipPassword:                 "testpassword🔑", // the EIP's own example
		"plain":                     "plain",
		"tab\tnul\x00del\x7fend\n":  "tabnuldelend",
		"c1\u0080\u0085\u009fend":   "c1end",
		"nbsp\u00a0stays":           "nbsp stays",
		"é":                         "e\u0301",
		"\ufdfa":                    "صلى الله عليه وسلم",
		strings.Repeat("\ufdfa", 9): strings.Repeat("صلى الله عليه وسلم", 9),
		"":                          "",
	} {
		if got := string(normalise([]byte(in))); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	d := NewDecrypter()
	rapid.Check(t, func(t *rapid.T) {
		key := must(bls.GenerateSecretKey())
		word := rapid.String().Filter(func(s string) bool { return len(s) <= wire.MaxPassword }).Draw(t, "password")
		kdf := rapid.SampledFrom([]KDF{InsecureTestKDF, {c: 1}, {scrypt: true, n: 16, r: 1, p: 2}}).Draw(t, "kdf")
		data := must(Encrypt(rand.Reader, key, password(word), kdf, SigningPath(7).String()))
		k, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if k.PublicKey != key.PublicKey() || k.Path != "m/12381/3600/7/0/0" || len(k.UUID) != 36 {
			t.Fatalf("information lost: %s", data)
		}
		back, err := d.Decrypt(context.Background(), k, password(word))
		if err != nil || !back.Equal(key) {
			t.Fatalf("%v, or another key", err)
		}
		if _, err := d.Decrypt(context.Background(), k, password(word+"x")); !errors.Is(err, ErrPassword) {
			t.Fatalf("wrong password: %v", err)
		}
	})
}

func TestDecryptRefuses(t *testing.T) {
	d := NewDecrypter()
	key := keyOf(eipSecret)
	data := must(Encrypt(rand.Reader, key, password("p"), InsecureTestKDF, ""))
	k := must(Parse(data))

	other := *k
	other.PublicKey = must(bls.GenerateSecretKey()).PublicKey()
	if _, err := d.Decrypt(t.Context(), &other, password("p")); err == nil || strings.Contains(err.Error(), eipSecret) {
		t.Errorf("another key's name: %v", err)
	}
	other.PublicKey = bls.PublicKey{}
	if back, err := d.Decrypt(t.Context(), &other, password("p")); err != nil || !back.Equal(key) {
		t.Errorf("no name: %v", err)
	}
	for name, p := range map[string]secret.Bytes{
		"too long":  password(strings.Repeat("p", wire.MaxPassword+1)),
		"not UTF-8": password("p\xff"),
		"none":      {},
	} {
		if _, err := d.Decrypt(t.Context(), k, p); err == nil || errors.Is(err, ErrPassword) {
			t.Errorf("password %s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.turn <- struct{}{} // somebody else's turn
	if _, err := d.Decrypt(ctx, k, password("p")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	<-d.turn

	// A scalar that is no key: the right password, still refused.
	sealed := *k
	derived := must(deriveKey(k.kdf, password("p"), k.salt))
	sealed.ciphertext = [32]byte{}
	if err := crypt(derived, k.iv, &sealed.ciphertext); err != nil {
		t.Fatal(err)
	}
	sealed.checksum = checksum(derived, &sealed.ciphertext)
	if _, err := d.Decrypt(t.Context(), &sealed, password("p")); !errors.Is(err, bls.ErrScalar) {
		t.Errorf("zero scalar: %v", err)
	}
}

func TestEncryptDestroyedKey(t *testing.T) {
	key := must(bls.GenerateSecretKey())
	key.Destroy()
	if _, err := Encrypt(rand.Reader, key, password("p"), InsecureTestKDF, ""); err == nil {
		t.Error("a destroyed key was written")
	}
	if _, err := Encrypt(rand.Reader, keyOf(eipSecret), password("p"), KDF{}, ""); err == nil {
		t.Error("the zero KDF was used")
	}
}

// Each row changes one thing in a good keystore.
func TestParseRefuses(t *testing.T) {
	good := string(must(os.ReadFile("testdata/eip2335-scrypt.json")))
	pbkdf := string(must(os.ReadFile("testdata/eip2335-pbkdf2.json")))
	if _, err := Parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	replace := func(in, old, new string) string {
		if strings.Count(in, old) == 0 {
			t.Fatalf("nothing to replace: %s", old)
		}
		return strings.Replace(in, old, new, 1)
	}
	for name, in := range map[string]string{
		"empty":              "",
		"null":               "null",
		"array":              "[" + good + "]",
		"trailing":           good + "{}",
		"trailing brace":     good + "}",
		"cut":                good[:len(good)-1],
		"too large":          good + strings.Repeat(" ", wire.MaxKeystore),
		"version 3":          replace(good, `"version": 4`, `"version": 3`),
		"version text":       replace(good, `"version": 4`, `"version": "4"`),
		"version null":       replace(good, `"version": 4`, `"version": null`),
		"no version":         replace(good, `"version": 4`, `"x": 4`),
		"case of a name":     replace(good, `"version"`, `"Version"`),
		"duplicate":          replace(good, `"version": 4`, `"version": 4, "version": 4`),
		"duplicate, nested":  replace(good, `"dklen": 32`, `"dklen": 32, "dklen": 32`),
		"unknown in crypto":  replace(good, `"crypto": {`, `"crypto": {"x": 1,`),
		"unknown in params":  replace(good, `"dklen": 32`, `"dklen": 32, "x": 1`),
		"c with scrypt":      replace(good, `"dklen": 32`, `"dklen": 32, "c": 1`),
		"dklen":              replace(good, `"dklen": 32`, `"dklen": 64`),
		"kdf":                replace(good, `"scrypt"`, `"argon2"`),
		"kdf message":        replace(good, `"message": ""`, `"message": "00"`),
		"n 0":                replace(good, `262144`, `0`),
		"n 1":                replace(good, `262144`, `1`),
		"n odd":              replace(good, `262144`, `262143`),
		"n float":            replace(good, `262144`, `262144.0`),
		"n negative":         replace(good, `262144`, `-262144`),
		"n large":            replace(good, `262144`, `524288`),
		"n 2^63":             replace(good, `262144`, `9223372036854775808`),
		"n 2^64":             replace(good, `262144`, `18446744073709551616`),
		"r 0":                replace(good, `"r": 8`, `"r": 0`),
		"r large":            replace(good, `"r": 8`, `"r": 9`),
		"r 2^63":             replace(good, `"r": 8`, `"r": 9223372036854775808`),
		"p 0":                replace(good, `"p": 1`, `"p": 0`),
		"p large":            replace(good, `"p": 1`, `"p": 17`),
		"p 2^63":             replace(good, `"p": 1`, `"p": 9223372036854775808`),
		"c 0":                replace(pbkdf, `"c": 262144`, `"c": 0`),
		"c large":            replace(pbkdf, `"c": 262144`, `"c": 4194305`),
		"prf":                replace(pbkdf, `hmac-sha256`, `hmac-sha512`),
		"salt":               replace(good, `"salt": "d4`, `"salt": "zz`),
		"checksum function":  replace(good, `"sha256"`, `"sha512"`),
		"checksum short":     replace(good, `"d2217f`, `"217f`),
		"checksum params":    replace(good, `"params": {}`, `"params": {"x": 1}`),
		"cipher":             replace(good, `aes-128-ctr`, `aes-256-ctr`),
		"iv":                 replace(good, `"iv": "26`, `"iv": "`),
		"ciphertext long":    replace(good, `"06ae90`, `"0006ae90`),
		"pubkey short":       replace(good, `"pubkey": "96`, `"pubkey": "`),
		"pubkey not a point": replace(good, `"pubkey": "9612`, `"pubkey": "9613`),
		"path number":        replace(good, `"path": "m/12381/60/3141592653/589793238"`, `"path": 7`),
	} {
		if _, err := Parse([]byte(in)); err == nil {
			t.Errorf("%s: accepted", name)
		} else if !strings.HasPrefix(err.Error(), "parse keystore: ") {
			t.Errorf("%s: error does not say what was tried: %v", name, err)
		}
	}
	for name, in := range map[string]string{
		"unknown at the top": replace(good, `"version": 4`, `"version": 4, "name": "x"`),
		"0x":                 replace(good, `"pubkey": "96`, `"pubkey": "0x96`),
		"no pubkey":          replace(good, `"pubkey"`, `"x"`),
		"no path":            replace(good, `"path"`, `"x"`),
		"sixteen times p":    replace(good, `"p": 1`, `"p": 16`),
	} {
		if _, err := Parse([]byte(in)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, file := range []string{"testdata/eip2335-scrypt.json", "testdata/eip2335-pbkdf2.json"} {
		f.Add(must(os.ReadFile(file)))
	}
	f.Add([]byte(`{"version":4,"crypto":{"kdf":{},"kdf":{}}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		k, err := Parse(in)
		if err != nil {
			return
		}
		if err := k.kdf.check(); err != nil {
			t.Errorf("accepted with %v", err)
		}
		if !json.Valid(bytes.TrimSpace(in)) {
			t.Error("accepted, and is not JSON")
		}
	})
}

func TestEIP2333(t *testing.T) {
	// Test case 0 of EIP-2333 (CC0): one step below the master key.
	seed := must(hex.DecodeString("c55257c360c07c72029aebc1b53c05ed0362ada38ead3e3e9efa3708e53495531f09a6987599d18264c1e1c92f2cf141630c7a3c4ab7c81b2f001698e7463b04"))
	want, _ := new(big.Int).SetString("20397789859736650942317412262472558107875392172444076792671091975210932703118", 10)
	got, err := Path{0}.Derive(secret.New(seed))
	if err != nil {
		t.Fatal(err)
	}
	if !got.Equal(keyOf(fmt.Sprintf("%064x", want))) {
		t.Error("another child key")
	}
	if _, err := SigningPath(0).Derive(secret.New(make([]byte, 16))); err == nil {
		t.Error("a short seed was taken")
	}
}

func TestPath(t *testing.T) {
	for _, s := range []string{
		"m/12381/3600/0/0", "m/12381/3600/0/0/0", "m/12381/60/3141592653/589793238", "m/12381/0/0/4294967295",
	} {
		if p, err := ParsePath(s); err != nil || p.String() != s {
			t.Errorf("%s reads as %s, %v", s, p, err)
		}
	}
	if got := WithdrawalPath(3).String() + " " + SigningPath(3).String(); got != "m/12381/3600/3/0 m/12381/3600/3/0/0" {
		t.Error(got)
	}
	for _, s := range []string{
		"", "m", "m/12381/3600/0", "12381/3600/0/0", "M/12381/3600/0/0", "m/12382/3600/0/0", "m/12381/3600/0/0/",
		"m/12381/3600/0/4294967296", "m/12381/3600/0/-1", "m/12381/3600/0/+1", "m/12381/3600/0/01", "m/12381/3600/0/0'",
		"m/12381" + strings.Repeat("/0", 16),
	} {
		if p, err := ParsePath(s); err == nil {
			t.Errorf("%q accepted as %s", s, p)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	f.Add("m/12381/3600/0/0/0")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParsePath(s); err == nil && p.String() != s {
			t.Errorf("%q reads as %s", s, p)
		}
	})
}

func BenchmarkDecryptStandardScrypt(b *testing.B) {
	d := NewDecrypter()
	k := must(Parse(must(os.ReadFile("testdata/eip2335-scrypt.json"))))
	for b.Loop() {
		if _, err := d.Decrypt(b.Context(), k, password(eipPassword)); err != nil {
			b.Fatal(err)
		}
	}
}
