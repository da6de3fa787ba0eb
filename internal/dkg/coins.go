package dkg

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"

	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// SeedSize is the length of a participant's seed.
const SeedSize = 32

// coins is all the randomness of one seat in one ceremony. The same seed
// makes the same messages again, so that the seed alone need be stored before
// the first message. What a dealing is made of also depends on the roster:
// should the ledger ever show this seat two rosters for one ceremony, the two
// dealings would share nothing that one could subtract.
type coins struct {
	secret.Redacted
	key func() *[32]byte
}

func newCoins(seed secret.Bytes, cid [32]byte, me int) (coins, error) {
	var key [32]byte
	err := fmt.Errorf("derive coins: seed of %d bytes, want %d", seed.Len(), SeedSize)
	seed.Expose(func(b []byte) {
		if len(b) != SeedSize {
			return
		}
		var derived []byte
		if derived, err = hkdf.Key(sha256.New, b, cid[:], string(wire.TagDealerCoins)+string(rune(me)), len(key)); err == nil {
			copy(key[:], derived)
			secret.Wipe(derived)
		}
	})
	return coins{key: func() *[32]byte { return &key }}, err
}

// draw returns 64 bytes that look uniform to whoever lacks the seed.
func (c coins) draw(purpose string, context ...[]byte) [64]byte {
	return wire.HashWide(wire.TagDealerCoins, append([][]byte{c.key()[:], []byte(purpose)}, context...)...)
}
