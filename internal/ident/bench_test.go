package ident

import (
	"crypto/rand"
	"testing"

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
