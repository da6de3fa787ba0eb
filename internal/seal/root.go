package seal

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// RootSize is the length of a root.
const RootSize = 32

// Root is the secret from which one domain's seals derive.
type Root struct {
	secret.Redacted
	key secret.Bytes
}

// InitRoot creates a fresh root in a file that only its owner may read. It
// refuses to touch whatever stands at path.
func InitRoot(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fs.ErrExist
		}
		return fmt.Errorf("create seal root %s: %w", path, err)
	}
	root, err := secret.Random(rand.Reader, RootSize)
	if err != nil {
		return fmt.Errorf("create seal root %s: %w", path, err)
	}
	defer root.Destroy()
	root.Expose(func(b []byte) { err = durable.WriteOSFile(path, b, 0o600) })
	if err != nil {
		return fmt.Errorf("create seal root %s: %w", path, err)
	}
	return nil
}

// ReadRoot reads what InitRoot created. It refuses a file that is not
// regular, is of another size or another user, or that group or others may
// touch in any way.
func ReadRoot(path string) (Root, error) {
	key, err := readRoot(path)
	if err != nil {
		return Root{}, fmt.Errorf("read seal root %s: %w", path, err)
	}
	return Root{key: key}, nil
}

func readRoot(path string) (secret.Bytes, error) {
	// Without O_NONBLOCK a named pipe in the root's place would hang us.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return secret.Bytes{}, errors.New("it is a symbolic link")
	}
	if err != nil {
		return secret.Bytes{}, errors.Unwrap(err) // the path is named already
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return secret.Bytes{}, err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return secret.Bytes{}, errors.New("it is not a regular file")
	case info.Mode().Perm()&0o077 != 0:
		return secret.Bytes{}, fmt.Errorf("its mode is %#o, want 0600", info.Mode().Perm())
	case !ok || int(owner.Uid) != os.Geteuid():
		return secret.Bytes{}, errors.New("it belongs to another user")
	case info.Size() != RootSize:
		return secret.Bytes{}, fmt.Errorf("it has %d bytes, want %d", info.Size(), RootSize)
	}
	var b [RootSize]byte
	defer secret.Wipe(b[:])
	if _, err := io.ReadFull(f, b[:]); err != nil {
		return secret.Bytes{}, err
	}
	if b == [RootSize]byte{} {
		return secret.Bytes{}, errors.New("it is all zeros") // a file system's way to lose it
	}
	return secret.New(b[:]), nil
}

// Key derives the seal of one domain of one cluster.
func (r Root) Key(cluster action.ClusterID, domain action.Domain) (*Key, error) {
	var info wire.Encoder
	info.String(string(wire.TagSeal))
	info.String(string(domain))
	var derived []byte
	err := errors.New("the root is gone")
	r.key.Expose(func(root []byte) {
		derived, err = hkdf.Key(sha256.New, root, cluster[:], string(info.Out()), chacha20poly1305.KeySize)
	})
	if err != nil {
		return nil, fmt.Errorf("derive seal key of domain %s: %w", domain, err)
	}
	return &Key{key: secret.New(derived)}, nil
}

// Destroy wipes the root, not the keys derived from it.
func (r Root) Destroy() { r.key.Destroy() }
