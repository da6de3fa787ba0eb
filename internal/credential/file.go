package credential

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"filippo.io/age/armor"

	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// MaxFile bounds a key file.
const MaxFile = 4 << 10

// Work factors of scrypt: the logarithm of its cost. 18 takes about a second
// and 256 MiB; no file that asks for more than a gigabyte is ours.
const (
	workFactor    = 18
	maxWorkFactor = 20
)

const fileVersion = 1

// ErrPassphrase means that a key file was sealed with another passphrase.
var ErrPassphrase = errors.New("the passphrase is wrong")

// Generate makes a key in one of ident's first two suites and returns the
// file that keeps it: age, armored, so that `age -d` opens it as well.
func Generate(random io.Reader, suite ident.Suite, passphrase secret.Bytes) (file []byte, public ident.PublicKey, err error) {
	return generate(random, suite, passphrase, workFactor)
}

func generate(random io.Reader, suite ident.Suite, passphrase secret.Bytes, work int) (file []byte, public ident.PublicKey, err error) {
	if passphrase.Len() < wire.MinPassphrase {
		return nil, public, fmt.Errorf("seal key file: %w", ErrShort)
	}
	key, seed, err := ident.Generate(suite, random)
	if err != nil {
		return nil, public, err
	}
	defer secret.Wipe(seed)
	plain := append([]byte{fileVersion, byte(suite)}, seed...)
	defer secret.Wipe(plain)
	if file, err = encrypt(plain, passphrase, work); err != nil {
		return nil, public, fmt.Errorf("seal key file: %w", err)
	}
	return file, key.Public(), nil
}

// unsealed is what the PEM block of a key that no passphrase protects says.
const unsealed = "QUORATE UNSEALED KEY"

// GenerateUnsealed makes a key whose file has no passphrase: whoever reads it
// signs. It is for workloads, which nobody sits before, and for trying out.
func GenerateUnsealed(random io.Reader, suite ident.Suite) (file []byte, public ident.PublicKey, err error) {
	key, seed, err := ident.Generate(suite, random)
	if err != nil {
		return nil, public, err
	}
	defer secret.Wipe(seed)
	plain := append([]byte{fileVersion, byte(suite)}, seed...)
	defer secret.Wipe(plain)
	return pem.EncodeToMemory(&pem.Block{Type: unsealed, Bytes: plain}), key.Public(), nil
}

// IsFile says whether a file looks like one of ours.
func IsFile(file []byte) bool {
	return IsSealed(file) || bytes.HasPrefix(file, []byte("-----BEGIN "+unsealed))
}

// IsSealed says whether it needs a passphrase.
func IsSealed(file []byte) bool { return bytes.HasPrefix(file, []byte(armor.Header)) }

// Open returns the signer of a key file. One that is not sealed ignores the
// passphrase.
func Open(file []byte, passphrase secret.Bytes) (Signer, error) {
	if len(file) > MaxFile || !IsFile(file) {
		return nil, errors.New("open key file: it is not one of quorate member keygen")
	}
	if !IsSealed(file) {
		block, rest := pem.Decode(file)
		if block == nil || block.Type != unsealed || len(bytes.TrimSpace(rest)) > 0 {
			return nil, errors.New("open key file: it is damaged")
		}
		defer secret.Wipe(block.Bytes)
		return fromPlain(block.Bytes)
	}
	plain, err := decrypt(file, passphrase, plainSize)
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	defer secret.Wipe(plain)
	return fromPlain(plain)
}

// plainSize is the length of what a file keeps: version, suite and seed.
const plainSize = 2 + ident.SeedSize

func fromPlain(plain []byte) (Signer, error) {
	if len(plain) != plainSize {
		return nil, errors.New("open key file: it holds something else than a key")
	}
	if plain[0] != fileVersion {
		return nil, fmt.Errorf("open key file: version %d is unknown", plain[0])
	}
	key, err := ident.FromSeed(ident.Suite(plain[1]), plain[2:])
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	return FromKey(key), nil
}
