package ident

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/quorate/quorate/internal/ident/identtest"
	"github.com/quorate/quorate/internal/wire"
)

func TestSignVerify(t *testing.T) {
	for _, suite := range []Suite{Ed25519, Ed25519MLDSA65} {
		key, seed, err := Generate(suite, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		again, err := FromSeed(suite, seed)
		if err != nil {
			t.Fatal(err)
		}
		sig := key.Sign(wire.TagTx, []byte("a"), []byte("b"))
		if !bytes.Equal(sig, again.Sign(wire.TagTx, []byte("a"), []byte("b"))) {
			t.Error("a key rebuilt from its seed signs otherwise")
		}
		pk, err := ParsePublicKey(key.Public().Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if err := pk.Verify(sig, wire.TagTx, []byte("a"), []byte("b")); err != nil {
			t.Fatal(err)
		}
		if pk.Verify(sig, wire.TagUsage, []byte("a"), []byte("b")) == nil {
			t.Error("verifies under another tag")
		}
		if pk.Verify(sig, wire.TagTx, []byte("ab")) == nil {
			t.Error("verifies over other parts")
		}
		// Every byte counts, in either half.
		for i := 0; i < len(sig); i += 37 {
			bad := bytes.Clone(sig)
			bad[i] ^= 1
			if pk.Verify(bad, wire.TagTx, []byte("a"), []byte("b")) == nil {
				t.Errorf("suite %d: byte %d does not count", suite, i)
			}
		}
		if pk.Verify(append(bytes.Clone(sig), 0), wire.TagTx, []byte("a"), []byte("b")) == nil {
			t.Error("trailing byte accepted")
		}
		if (PublicKey{}).Verify(sig, wire.TagTx, []byte("a"), []byte("b")) == nil {
			t.Error("the zero key verifies")
		}
	}
}

func TestSuitesDoNotMix(t *testing.T) {
	seed := bytes.Repeat([]byte{7}, SeedSize)
	plain, _ := FromSeed(Ed25519, seed)
	hybrid, _ := FromSeed(Ed25519MLDSA65, seed)
	// The Ed25519 halves are one key: a hybrid key must still refuse the half alone.
	if hybrid.Public().Verify(plain.Sign(wire.TagTx), wire.TagTx) == nil {
		t.Error("hybrid key accepts a classical signature")
	}
	if plain.Public().Verify(hybrid.Sign(wire.TagTx), wire.TagTx) == nil {
		t.Error("classical key accepts a hybrid signature")
	}
}

func TestRedaction(t *testing.T) {
	seed := bytes.Repeat([]byte{0xc5}, SeedSize)
	key, _ := FromSeed(Ed25519MLDSA65, seed)
	holder := struct{ key PrivateKey }{key}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		for _, v := range []any{key, &key, holder, &holder, []PrivateKey{key}} {
			out := fmt.Sprintf(verb, v)
			if bytes.Contains([]byte(out), []byte(hex.EncodeToString(seed[:8]))) || bytes.Contains([]byte(out), seed[:8]) {
				t.Errorf("%s shows the seed: %s", verb, out)
			}
		}
	}
	if _, err := json.Marshal(key); err == nil {
		t.Error("JSON of a private key")
	}
}

func FuzzParsePublicKey(f *testing.F) {
	key, _ := FromSeed(Ed25519MLDSA65, make([]byte, SeedSize))
	f.Add(key.Public().Bytes())
	f.Add([]byte{1})
	f.Add(agent{seeded(f, false, 1), "ssh:", 1}.encoded(flagPresent | flagVerified))
	f.Add(newPasskey(f, identtest.New("example.org", origin)).Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		pk, err := ParsePublicKey(in)
		if err == nil && !bytes.Equal(pk.Bytes(), in) {
			t.Fatal("parse then marshal changed the key")
		}
	})
}
