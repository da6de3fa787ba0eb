package seal

import (
	"crypto/rand"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/quorate/quorate/internal/secret"
)

// ErrSealed means that something does not open: it was altered, stands in
// another's place, or was sealed under another root, cluster or domain. It is
// not possible to tell which.
var ErrSealed = errors.New("record does not open under this seal")

// Sealer encrypts and authenticates a secret, and authenticates aad with it.
// Equal inputs seal to different outputs. Open returns nothing at all unless
// both are exactly what was sealed; its error wraps ErrSealed then.
type Sealer interface {
	Seal(aad []byte, plaintext secret.Bytes) ([]byte, error)
	Open(aad, sealed []byte) (secret.Bytes, error)
}

// Key is the Sealer over a root: XChaCha20-Poly1305 with a random nonce in
// front, long enough never to repeat, whatever is restored or cloned.
type Key struct {
	secret.Redacted
	key secret.Bytes
}

// overhead is what Key adds to a plaintext.
const overhead = chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead

// Seal implements Sealer.
func (k *Key) Seal(aad []byte, plaintext secret.Bytes) ([]byte, error) {
	var nonce [chacha20poly1305.NonceSizeX]byte
	_, _ = rand.Read(nonce[:]) // never fails, it crashes the process instead
	return k.seal(nonce, aad, plaintext)
}

func (k *Key) seal(nonce [chacha20poly1305.NonceSizeX]byte, aad []byte, plaintext secret.Bytes) (sealed []byte, err error) {
	err = errors.New("key or plaintext is gone")
	k.key.Expose(func(key []byte) {
		plaintext.Expose(func(p []byte) {
			aead, e := chacha20poly1305.NewX(key)
			if err = e; err == nil {
				sealed = aead.Seal(nonce[:], nonce[:], p, aad)
			}
		})
	})
	if err != nil {
		return nil, fmt.Errorf("seal record: %w", err)
	}
	return sealed, nil
}

// Open implements Sealer.
func (k *Key) Open(aad, sealed []byte) (secret.Bytes, error) {
	if len(sealed) < overhead {
		return secret.Bytes{}, fmt.Errorf("open record of %d bytes: %w", len(sealed), ErrSealed)
	}
	nonce, ciphertext := sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:]
	var plaintext []byte
	err := errors.New("key is gone")
	k.key.Expose(func(key []byte) {
		aead, e := chacha20poly1305.NewX(key)
		if err = e; err != nil {
			return
		}
		if plaintext, err = aead.Open(nil, nonce, ciphertext, aad); err != nil {
			err = ErrSealed
		}
	})
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("open record: %w", err)
	}
	return secret.New(plaintext), nil
}

// Destroy wipes the key.
func (k *Key) Destroy() { k.key.Destroy() }
