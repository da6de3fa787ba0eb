package participant

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// Share is what a participant takes away: its share of the key, and where it
// belongs.
type Share struct {
	Params assembly.Params
	Seat   int
	Secret secret.Bytes // 32 bytes, big-endian
}

const whatShare = "quorate participant share v1"

// confirm keeps the share, and only then says that it is kept.
func (s *Seat) confirm(b *assembly.Board) ([]assembly.Message, error) {
	if err := s.self.Restore(b, s.letter); err != nil {
		return nil, err
	}
	share, err := s.self.ExposeSecretShare(b)
	if errors.Is(err, assembly.ErrNoShare) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer share.Destroy()
	if err := s.keepShare(b, share); err != nil {
		return nil, fmt.Errorf("keep share: %w", err)
	}
	m, err := s.self.Confirm(b)
	return []assembly.Message{m}, err
}

// keepShare writes the share, sealed and durably, if it is not there already.
func (s *Seat) keepShare(b *assembly.Board, share secret.Bytes) error {
	kept, err := ReadShare(s.config.Dir, s.config.Sealer)
	if err == nil {
		defer kept.Secret.Destroy()
		if kept.Params.ID() == s.cid && kept.Seat == s.me && kept.Secret.Equal(share) {
			return nil
		}
		return errors.New("the directory holds another share")
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var e wire.Encoder
	e.Bytes(b.Params().Encode())
	e.U16(uint16(s.me))
	share.Expose(func(v []byte) { e.Fixed(v) })
	plain := secret.New(e.Out()) // wipes it
	defer plain.Destroy()
	file, err := s.config.Sealer.Seal(whatShare, plain)
	if err != nil {
		return err
	}
	return durable.WriteOSFile(s.path(fileShare), file, 0o600)
}

// ErrHandedOver means that the share is no longer to be used, whether or not
// the program came to an end with destroying it.
var ErrHandedOver = fmt.Errorf("%w: its share was handed over to nodes", ErrStop)

// handedOver says whether the seat in a directory has begun to destroy its
// share.
func handedOver(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, fileHandedOver))
	return err == nil
}

// ReadShare opens the share in a seat's directory. The caller destroys the
// secret.
func ReadShare(dir string, sealer Sealer) (*Share, error) {
	if handedOver(dir) {
		return nil, ErrHandedOver
	}
	path := filepath.Join(dir, fileShare)
	file, err := durable.ReadFile(durable.OS{}, path, credential.MaxSecretFile)
	if err != nil {
		return nil, err
	}
	plain, err := sealer.Open(whatShare, file)
	if err != nil {
		return nil, err
	}
	defer plain.Destroy()
	var s *Share
	err = errors.New("it is empty")
	plain.Expose(func(raw []byte) { s, err = parseShare(raw) })
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return s, nil
}

func parseShare(raw []byte) (*Share, error) {
	d := wire.NewDecoder(raw)
	params, seat := d.Bytes(wire.MaxName*2), int(d.U16())
	var share [32]byte
	defer secret.Wipe(share[:])
	d.Fixed(share[:])
	if err := d.Finish(); err != nil {
		return nil, err
	}
	p, err := assembly.ParseParams(params)
	if err != nil {
		return nil, err
	}
	if seat < 1 || seat > int(p.N) {
		return nil, fmt.Errorf("no seat %d", seat)
	}
	return &Share{p, seat, secret.New(share[:])}, nil
}
