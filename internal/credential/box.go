package credential

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// Box keeps further secrets of a person in files like the key file: sealed
// with the same passphrase, so that `age -d` opens them, or not sealed where
// the key file is not. The first line inside says what it is, so that none
// opens in another's place.
type Box struct {
	passphrase secret.Bytes
	sealed     bool
	work       int
}

// NewBox goes by a key file and its passphrase, which is the caller's to
// destroy, once the box is out of use.
func NewBox(keyFile []byte, passphrase secret.Bytes) Box {
	return Box{passphrase, IsSealed(keyFile), workFactor}
}

// ErrOtherFile means that a secret is sealed and the key file is not, or the
// other way round.
var ErrOtherFile = errors.New("it was kept with another key file")

// unsealedSecret is what the PEM block of a box without passphrase says.
const unsealedSecret = "QUORATE UNSEALED SECRET"

// Seal returns a file that keeps a secret. what is one line.
func (b Box) Seal(what string, content secret.Bytes) (file []byte, err error) {
	plain := make([]byte, 0, len(what)+1+wire.MaxSealedSecret)
	defer func() { secret.Wipe(plain) }()
	plain = append(plain, what+"\n"...)
	if content.Len() > wire.MaxSealedSecret || !content.Expose(func(c []byte) { plain = append(plain, c...) }) {
		return nil, fmt.Errorf("seal %s: %d bytes", what, content.Len())
	}
	if !b.sealed {
		return pem.EncodeToMemory(&pem.Block{Type: unsealedSecret, Bytes: plain}), nil
	}
	if file, err = encrypt(plain, b.passphrase, b.work); err != nil {
		return nil, fmt.Errorf("seal %s: %w", what, err)
	}
	return file, nil
}

// Open returns what Seal kept as such.
func (b Box) Open(what string, file []byte) (secret.Bytes, error) {
	plain, err := b.plain(what, file)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("open %s: %w", what, err)
	}
	defer secret.Wipe(plain)
	content, ok := bytes.CutPrefix(plain, []byte(what+"\n"))
	if !ok {
		return secret.Bytes{}, fmt.Errorf("open %s: it is something else", what)
	}
	return secret.New(content), nil
}

func (b Box) plain(what string, file []byte) ([]byte, error) {
	if len(file) > MaxSecretFile {
		return nil, errors.New("the file is too long")
	}
	if IsSealed(file) != b.sealed {
		return nil, ErrOtherFile
	}
	if b.sealed {
		return decrypt(file, b.passphrase, len(what)+1+wire.MaxSealedSecret)
	}
	block, rest := pem.Decode(file)
	if block == nil || block.Type != unsealedSecret || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("the file is damaged")
	}
	return block.Bytes, nil
}

// MaxSecretFile bounds a file of a box.
const MaxSecretFile = 3 * wire.MaxSealedSecret

// encrypt and decrypt speak age, armored.
func encrypt(plain []byte, passphrase secret.Bytes, work int) ([]byte, error) {
	var recipient *age.ScryptRecipient
	var err error
	// age takes a string, which nobody can wipe.
	if !passphrase.Expose(func(p []byte) { recipient, err = age.NewScryptRecipient(string(p)) }) || err != nil {
		return nil, errors.Join(errors.New("a passphrase is needed"), err)
	}
	recipient.SetWorkFactor(work)
	var out bytes.Buffer
	armored := armor.NewWriter(&out)
	w, err := age.Encrypt(armored, recipient)
	if err != nil {
		return nil, err
	}
	if _, err = w.Write(plain); err != nil {
		return nil, err
	}
	if err := errors.Join(w.Close(), armored.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// decrypt refuses more than a number of bytes. The caller wipes them.
func decrypt(file []byte, passphrase secret.Bytes, most int) ([]byte, error) {
	var identity *age.ScryptIdentity
	var err error
	if !passphrase.Expose(func(p []byte) { identity, err = age.NewScryptIdentity(string(p)) }) || err != nil {
		return nil, errors.Join(errors.New("a passphrase is needed"), err)
	}
	identity.SetMaxWorkFactor(maxWorkFactor)
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(file)), identity)
	if err != nil {
		var wrong *age.NoIdentityMatchError
		if errors.As(err, &wrong) {
			return nil, ErrPassphrase
		}
		return nil, err
	}
	plain := make([]byte, most+1) // one piece: a buffer that grows leaves copies
	n, err := io.ReadFull(r, plain)
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		secret.Wipe(plain)
		if err == nil {
			err = errors.New("it holds something else")
		}
		return nil, err
	}
	return plain[:n], nil
}
