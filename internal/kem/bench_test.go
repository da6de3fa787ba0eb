package kem

import (
	"testing"

	"github.com/quorate/quorate/internal/wire"
)

// BenchmarkSeat is what encrypting to one seat costs: once for each dealer
// and recipient, however many keys are dealt.
func BenchmarkSeat(b *testing.B) {
	var wide [64]byte
	wide[0] = 1
	mine := NewSecretKey(&wide)
	wide[0] = 2
	theirs := NewSecretKey(&wide).Public()
	proof := mine.Prove(wire.TagPoP)
	hybrid := NewHybridKey((*[32]byte)(wide[:32]))
	public := hybrid.Public()
	var coins [CoinsSize]byte
	ciphertext, _, err := Encapsulate(public, &coins)
	if err != nil {
		b.Fatal(err)
	}
	for name, do := range map[string]func() error{
		"shared":      func() error { mine.Shared(theirs); return nil },
		"prove":       func() error { mine.Prove(wire.TagPoP); return nil },
		"verify":      func() error { mine.Public().VerifyProof(proof, wire.TagPoP); return nil },
		"encapsulate": func() error { _, _, err := Encapsulate(public, &coins); return err },
		"decapsulate": func() error { _, err := hybrid.Decapsulate(ciphertext); return err },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
