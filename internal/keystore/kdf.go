package keystore

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime/debug"

	"golang.org/x/crypto/pbkdf2"
	"golang.org/x/crypto/scrypt"

	"github.com/quorate/quorate/internal/wire"
)

// KDF is a key derivation function with its cost. The zero value is invalid.
type KDF struct {
	scrypt  bool
	n, r, p uint64 // scrypt
	c       uint64 // pbkdf2 with hmac-sha256
}

// What others write, and what we write.
var (
	StandardScrypt = KDF{scrypt: true, n: 1 << 18, r: 8, p: 1}
	StandardPBKDF2 = KDF{c: 1 << 18}
)

// InsecureTestKDF takes no time and protects nothing.
var InsecureTestKDF = KDF{scrypt: true, n: 2, r: 8, p: 1}

const (
	derivedSize = 32 // 16 bytes of AES key, 16 bytes into the checksum

	// Work beyond these is refused: at most sixteen times that of the standard
	// parameters, some ten seconds of one core.
	maxScryptWork = 16 << 21 // n*r*p
	maxIterations = 16 << 18
)

// check refuses parameters that are invalid or out of bounds. It does not
// judge weak ones: the key is as safe as it was before we read it.
func (k KDF) check() error {
	if !k.scrypt {
		if k.c < 1 || k.c > maxIterations {
			return fmt.Errorf("%d pbkdf2 iterations, want 1 to %d", k.c, maxIterations)
		}
		return nil
	}
	switch {
	case k.n < 2 || k.n&(k.n-1) != 0:
		return fmt.Errorf("scrypt n is %d, want a power of two above 1", k.n)
	case k.r < 1 || k.p < 1:
		return errors.New("scrypt r or p is 0")
	// Divisions, because the products may overflow.
	case k.n > wire.MaxScryptMemory/128/k.r:
		return fmt.Errorf("scrypt needs more than %d MiB", wire.MaxScryptMemory>>20)
	case k.p > maxScryptWork/(k.n*k.r):
		return fmt.Errorf("scrypt with n=%d r=%d p=%d takes too long", k.n, k.r, k.p)
	}
	return nil
}

// derive is called with checked parameters only.
func (k KDF) derive(password, salt []byte) ([]byte, error) {
	if !k.scrypt {
		return pbkdf2.Key(password, salt, int(k.c), derivedSize, sha256.New), nil
	}
	derived, err := scrypt.Key(password, salt, int(k.n), int(k.r), int(k.p), derivedSize)
	if k.n*k.r*128 >= wire.MaxScryptMemory/16 {
		// Left to itself the runtime keeps 256 MiB for minutes.
		debug.FreeOSMemory()
	}
	return derived, err
}
