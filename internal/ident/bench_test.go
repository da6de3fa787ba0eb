package ident

import (
	"crypto/rand"
	"testing"

	"github.com/quorate/quorate/internal/ident/identtest"
	"github.com/quorate/quorate/internal/wire"
)

// BenchmarkIdentity is what a message of a ceremony costs its sender, and
// each ledger that takes it.
func BenchmarkIdentity(b *testing.B) {
	message := make([]byte, 1<<10)
	for name, suite := range map[string]Suite{"ed25519": Ed25519, "ed25519+mldsa65": Ed25519MLDSA65} {
		key, _, err := Generate(suite, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/sign", func(b *testing.B) {
			for b.Loop() {
				key.Sign(wire.TagCeremonyMessage, message)
			}
		})
		signature := key.Sign(wire.TagCeremonyMessage, message)
		b.Run(name+"/verify", func(b *testing.B) {
			for b.Loop() {
				if err := key.Public().Verify(signature, wire.TagCeremonyMessage, message); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkVerify is what each suite costs each ledger for one transaction.
func BenchmarkVerify(b *testing.B) {
	message := make([]byte, 1<<10)
	msg := wire.Hash(wire.TagTx, message)
	verify := func(name string, pk PublicKey, sig []byte) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := pk.Verify(sig, wire.TagTx, message); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, suite := range []Suite{Ed25519, Ed25519MLDSA65} {
		key, _, err := Generate(suite, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		verify(suite.String(), key.Public(), key.Sign(wire.TagTx, message))
	}
	k := agent{seeded(b, false, 1), "ssh:", 1}
	ssh, err := ParsePublicKey(k.encoded(flagPresent))
	if err != nil {
		b.Fatal(err)
	}
	verify("ssh/sk-ed25519", ssh, k.sign(b, message))
	a := identtest.New("example.org", origin)
	for _, name := range []string{"webauthn/es256", "webauthn/eddsa"} {
		auth, client, sig := a.Assert(msg[:])
		verify(name, newPasskey(b, a), EncodeAssertion(auth, client, raw(b, a.Key.Public(), sig)))
		a.Key = k.key
	}
}
