package keystore

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// ErrPassword means that the password does not open the keystore.
var ErrPassword = errors.New("wrong password")

const version = 4

// Keystore is a parsed keystore, still locked. Its exported fields are
// information that nothing authenticates.
type Keystore struct {
	// PublicKey is zero where the file does not say: EIP-2335 leaves it optional.
	PublicKey   bls.PublicKey
	Path        string
	UUID        string
	Description string

	kdf        KDF
	salt       []byte
	iv         [aes.BlockSize]byte
	ciphertext [bls.ScalarSize]byte
	checksum   [sha256.Size]byte
}

// Parse reads a keystore of version 4. It refuses more than
// wire.MaxKeystore bytes and key derivation beyond the limits. Unknown fields
// are ignored at the top, where wallets add their own, and refused in "crypto".
func Parse(data []byte) (*Keystore, error) {
	if len(data) > wire.MaxKeystore {
		return nil, fmt.Errorf("parse keystore: %d bytes, limit is %d", len(data), wire.MaxKeystore)
	}
	k := new(Keystore)
	top, err := parseObject(data)
	if err == nil {
		err = k.readTop(top)
	}
	if err != nil {
		return nil, fmt.Errorf("parse keystore: %w", err)
	}
	return k, nil
}

func (k *Keystore) readTop(top object) (err error) {
	if v, err := top.number("version"); err != nil {
		return err
	} else if v != version {
		return fmt.Errorf("version %d, want %d", v, version)
	}
	if k.Path, err = top.optional("path"); err != nil {
		return err
	}
	if k.UUID, err = top.optional("uuid"); err != nil {
		return err
	}
	if k.Description, err = top.optional("description"); err != nil {
		return err
	}
	if _, ok := top["pubkey"]; ok {
		b, err := top.bytes("pubkey")
		if err != nil {
			return err
		}
		if k.PublicKey, err = bls.ParsePublicKey(b); err != nil {
			return err
		}
	}
	crypto, err := top.object("crypto", "kdf", "checksum", "cipher")
	if err != nil {
		return err
	}
	for _, read := range []func(object) error{k.readKDF, k.readChecksum, k.readCipher} {
		if err := read(crypto); err != nil {
			return fmt.Errorf("crypto: %w", err)
		}
	}
	return nil
}

// readModule reads what the three parts of "crypto" have in common.
func readModule(crypto object, name string, params ...string) (module, inner object, err error) {
	if module, err = crypto.object(name, "function", "params", "message"); err != nil {
		return nil, nil, err
	}
	if inner, err = module.object("params", params...); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return module, inner, nil
}

func (k *Keystore) readKDF(crypto object) error {
	module, params, err := readModule(crypto, "kdf", "dklen", "n", "r", "p", "c", "prf", "salt")
	if err != nil {
		return err
	}
	if err := module.is("message", ""); err != nil {
		return err
	}
	if n, err := params.number("dklen"); err != nil {
		return err
	} else if n != derivedSize {
		return fmt.Errorf("dklen is %d, want %d", n, derivedSize)
	}
	if k.salt, err = params.bytes("salt"); err != nil {
		return err
	}
	function, err := module.text("function")
	if err != nil {
		return err
	}
	costs := map[string]*uint64{}
	switch function {
	case "scrypt":
		k.kdf.scrypt = true
		costs = map[string]*uint64{"n": &k.kdf.n, "r": &k.kdf.r, "p": &k.kdf.p}
		err = params.only("dklen", "salt", "n", "r", "p")
	case "pbkdf2":
		costs["c"] = &k.kdf.c
		if err = params.only("dklen", "salt", "c", "prf"); err == nil {
			err = params.is("prf", "hmac-sha256")
		}
	default:
		err = fmt.Errorf("unknown kdf %q", function)
	}
	if err != nil {
		return err
	}
	for name, cost := range costs {
		if *cost, err = params.number(name); err != nil {
			return err
		}
	}
	return k.kdf.check()
}

func (k *Keystore) readChecksum(crypto object) error {
	module, _, err := readModule(crypto, "checksum")
	if err != nil {
		return err
	}
	if err := module.is("function", "sha256"); err != nil {
		return err
	}
	return module.fixed("message", k.checksum[:])
}

func (k *Keystore) readCipher(crypto object) error {
	module, params, err := readModule(crypto, "cipher", "iv")
	if err != nil {
		return err
	}
	if err := module.is("function", "aes-128-ctr"); err != nil {
		return err
	}
	if err := params.fixed("iv", k.iv[:]); err != nil {
		return err
	}
	return module.fixed("message", k.ciphertext[:])
}

// Decrypter opens keystores one at a time, because each may take
// wire.MaxScryptMemory.
type Decrypter struct{ turn chan struct{} }

// NewDecrypter returns a Decrypter; a process needs one.
func NewDecrypter() *Decrypter { return &Decrypter{turn: make(chan struct{}, 1)} }

// Decrypt waits for its turn, as long as ctx permits, and opens k. A key that
// is not the one k.PublicKey names is refused. It does not consume password.
func (d *Decrypter) Decrypt(ctx context.Context, k *Keystore, password secret.Bytes) (bls.SecretKey, error) {
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return bls.SecretKey{}, fmt.Errorf("decrypt keystore: %w", ctx.Err())
	}
	key, err := k.decrypt(password)
	if err != nil {
		return bls.SecretKey{}, fmt.Errorf("decrypt keystore: %w", err)
	}
	return key, nil
}

func (k *Keystore) decrypt(password secret.Bytes) (bls.SecretKey, error) {
	derived, err := deriveKey(k.kdf, password, k.salt)
	if err != nil {
		return bls.SecretKey{}, err
	}
	defer secret.Wipe(derived)
	sum := checksum(derived, &k.ciphertext)
	if subtle.ConstantTimeCompare(sum[:], k.checksum[:]) != 1 {
		return bls.SecretKey{}, ErrPassword
	}
	scalar := k.ciphertext
	if err := crypt(derived, k.iv, &scalar); err != nil {
		return bls.SecretKey{}, err
	}
	key, err := bls.NewSecretKey(&scalar)
	if err != nil {
		return bls.SecretKey{}, err
	}
	if public := key.PublicKey(); !k.PublicKey.IsZero() && public != k.PublicKey {
		key.Destroy()
		return bls.SecretKey{}, fmt.Errorf("it holds the key of %s, not of %s", public, k.PublicKey)
	}
	return key, nil
}

// Encrypt makes a keystore. Path may be empty.
func Encrypt(random io.Reader, key bls.SecretKey, password secret.Bytes, kdf KDF, path string) ([]byte, error) {
	out, err := encrypt(random, key, password, kdf, path)
	if err != nil {
		return nil, fmt.Errorf("encrypt keystore: %w", err)
	}
	return out, nil
}

func encrypt(random io.Reader, key bls.SecretKey, password secret.Bytes, kdf KDF, path string) ([]byte, error) {
	if err := kdf.check(); err != nil {
		return nil, err
	}
	var fresh struct {
		salt [32]byte
		iv   [aes.BlockSize]byte
		uuid [16]byte
	}
	for _, b := range [][]byte{fresh.salt[:], fresh.iv[:], fresh.uuid[:]} {
		if _, err := io.ReadFull(random, b); err != nil {
			return nil, err
		}
	}
	derived, err := deriveKey(kdf, password, fresh.salt[:])
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(derived)
	var ciphertext [bls.ScalarSize]byte
	ok := key.Expose(func(scalar *[bls.ScalarSize]byte) {
		sealed := *scalar
		if err = crypt(derived, fresh.iv, &sealed); err == nil {
			ciphertext = sealed
		}
		secret.Wipe(sealed[:])
	})
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errors.New("the key is gone")
	}
	return marshal(key.PublicKey(), kdf, path, fresh.salt, fresh.iv, fresh.uuid, ciphertext, checksum(derived, &ciphertext))
}

func marshal(public bls.PublicKey, kdf KDF, path string, salt [32]byte, iv, uuid [16]byte, ciphertext, sum [32]byte) ([]byte, error) {
	type module struct {
		Function string         `json:"function"`
		Params   map[string]any `json:"params"`
		Message  string         `json:"message"`
	}
	derivation := module{Function: "pbkdf2", Params: map[string]any{
		"dklen": derivedSize, "salt": hex.EncodeToString(salt[:]), "c": kdf.c, "prf": "hmac-sha256",
	}}
	if kdf.scrypt {
		derivation = module{Function: "scrypt", Params: map[string]any{
			"dklen": derivedSize, "salt": hex.EncodeToString(salt[:]), "n": kdf.n, "r": kdf.r, "p": kdf.p,
		}}
	}
	type crypto struct {
		KDF      module `json:"kdf"`
		Checksum module `json:"checksum"`
		Cipher   module `json:"cipher"`
	}
	uuid[6] = uuid[6]&0x0f | 0x40 // version 4, RFC 9562
	uuid[8] = uuid[8]&0x3f | 0x80
	return json.MarshalIndent(struct {
		Crypto  crypto `json:"crypto"`
		Pubkey  string `json:"pubkey"`
		Path    string `json:"path"`
		UUID    string `json:"uuid"`
		Version int    `json:"version"`
	}{
		Crypto: crypto{
			KDF:      derivation,
			Checksum: module{"sha256", map[string]any{}, hex.EncodeToString(sum[:])},
			Cipher:   module{"aes-128-ctr", map[string]any{"iv": hex.EncodeToString(iv[:])}, hex.EncodeToString(ciphertext[:])},
		},
		Pubkey:  strings.TrimPrefix(public.String(), "0x"),
		Path:    path,
		UUID:    fmt.Sprintf("%x-%x-%x-%x-%x", uuid[:4], uuid[4:6], uuid[6:8], uuid[8:10], uuid[10:]),
		Version: version,
	}, "", "  ")
}

// deriveKey returns the decryption key of EIP-2335; the caller wipes it.
func deriveKey(kdf KDF, password secret.Bytes, salt []byte) (derived []byte, err error) {
	ok := password.Expose(func(p []byte) {
		if len(p) > wire.MaxPassword {
			err = fmt.Errorf("password of %d bytes, limit is %d", len(p), wire.MaxPassword)
			return
		}
		if !utf8.Valid(p) {
			err = errors.New("password is not UTF-8")
			return
		}
		normal := normalise(p)
		defer secret.Wipe(normal)
		derived, err = kdf.derive(normal, salt)
	})
	if !ok {
		err = errors.New("no password")
	}
	return derived, err
}

// normalise is what EIP-2335 does to a password: NFKD, then without the
// control codes C0, C1 and Delete. The result has a buffer of its own, which
// never had to grow and leave a copy behind.
func normalise(password []byte) []byte {
	const growth = 18 // the most that NFKD lengthens a character in UTF-8
	buf := norm.NFKD.Append(make([]byte, 0, growth*len(password)), password...)
	out := buf[:0]
	for rest := buf; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		if control := r < 0x20 || 0x7f <= r && r <= 0x9f; !control {
			out = append(out, rest[:size]...)
		}
		rest = rest[size:]
	}
	secret.Wipe(buf[len(out):])
	return out
}

func checksum(derived []byte, ciphertext *[bls.ScalarSize]byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(derived[16:])
	h.Write(ciphertext[:])
	return [sha256.Size]byte(h.Sum(nil))
}

// crypt is AES-128-CTR in place, its own inverse.
func crypt(derived []byte, iv [aes.BlockSize]byte, b *[bls.ScalarSize]byte) error {
	block, err := aes.NewCipher(derived[:16])
	if err != nil {
		return err
	}
	cipher.NewCTR(block, iv[:]).XORKeyStream(b[:], b[:])
	return nil
}
