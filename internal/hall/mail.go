package hall

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/wire"
)

// Ciphertexts of hybrid dealings lie here, because their recipients are not
// there when the dealer is. Each dealer committed to all of them on the
// ledger, so that what is kept is his, and no more than one bag for each.

// Why no ciphertext is taken or given.
var (
	ErrNotMail = errors.New("not the ciphertexts that the dealer committed to")
	ErrNoMail  = errors.New("the dealer's ciphertexts are not at this node")
)

// mailbag is one dealer's ciphertexts.
type mailbag struct {
	path string
	tree wire.Tree
}

func (h *Hall) mailDir(id [32]byte) string {
	return filepath.Join(h.config.Dir, hex.EncodeToString(id[:]))
}

// PutMail takes a dealer's ciphertexts, one for each who joined, in order.
func (h *Hall) PutMail(id [32]byte, dealer int, letters []byte) error {
	return h.Read(id, func(r *Room) error {
		root, err := r.mailRoot(dealer)
		if err != nil {
			return err
		}
		if len(letters) == 0 || len(letters) != len(r.Follower.Board().Joined())*kem.CiphertextSize {
			return ErrNotMail
		}
		bag := &mailbag{filepath.Join(h.mailDir(id), strconv.Itoa(dealer)), wire.CutTree(letters, kem.CiphertextSize)}
		switch {
		case bag.tree.Root() != root:
			return ErrNotMail
		case r.mail[dealer] != nil:
			return nil
		}
		if err := os.MkdirAll(h.mailDir(id), 0o700); err != nil {
			return err
		}
		if err := durable.WriteOSFile(bag.path, letters, 0o600); err != nil {
			return err
		}
		r.mail[dealer] = bag
		return nil
	})
}

// mailRoot is what a dealer committed to, while anybody may need it.
func (r *Room) mailRoot(dealer int) (root [32]byte, err error) {
	b := r.Follower.Board()
	if dealer < 1 || dealer > int(b.Params().N) || b.Phase().Ended() {
		return root, ErrNotMail
	}
	root, ok := b.Mail(dealer)
	if !ok {
		return root, ErrNotMail
	}
	return root, nil
}

// Mail returns what a dealer sent to a seat.
func (h *Hall) Mail(id [32]byte, dealer, seat int) (letter *assembly.Letter, err error) {
	return letter, h.Read(id, func(r *Room) error {
		root, err := r.mailRoot(dealer)
		if err != nil {
			return err
		}
		at, joined := slices.BinarySearch(r.Follower.Board().Joined(), seat)
		if !joined {
			return ErrNoMail
		}
		bag, err := r.bag(dealer, root)
		if err != nil {
			return err
		}
		letter, err = bag.letter(at)
		return err
	})
}

// bag finds a dealer's ciphertexts again after a restart.
func (r *Room) bag(dealer int, root [32]byte) (*mailbag, error) {
	if bag := r.mail[dealer]; bag != nil {
		return bag, nil
	}
	path := filepath.Join(r.hall.mailDir(r.ID), strconv.Itoa(dealer))
	raw, err := durable.ReadFile(durable.OS{}, path, wire.MaxParticipants*kem.CiphertextSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoMail
	}
	if err != nil {
		return nil, err
	}
	bag := &mailbag{path, wire.CutTree(raw, kem.CiphertextSize)}
	if len(raw) == 0 || bag.tree.Root() != root {
		return nil, fmt.Errorf("read ciphertexts of dealer %d: the file is damaged", dealer)
	}
	r.mail[dealer] = bag
	return bag, nil
}

func (m *mailbag) letter(at int) (*assembly.Letter, error) {
	f, err := os.Open(m.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l := &assembly.Letter{Ciphertext: make([]byte, kem.CiphertextSize), Path: m.tree.Path(0, at)}
	if _, err := f.ReadAt(l.Ciphertext, int64(at)*kem.CiphertextSize); err != nil {
		return nil, fmt.Errorf("read ciphertext: %w", err)
	}
	return l, nil
}

// dropMail removes what belongs to ceremonies that are not open any more.
func (h *Hall) dropMail(open [][32]byte) error {
	entries, err := os.ReadDir(h.config.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.ContainsFunc(open, func(id [32]byte) bool { return hex.EncodeToString(id[:]) == e.Name() }) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(h.config.Dir, e.Name())))
		}
	}
	return err
}
