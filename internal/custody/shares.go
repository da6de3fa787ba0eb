package custody

import (
	"fmt"
	"sync"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/seal"
	"github.com/quorate/quorate/internal/secret"
)

// shares are the shares that this process can sign with, the newest epoch of
// each key, in locked memory.
type shares struct {
	mu    sync.RWMutex
	byKey map[[bls.PublicKeySize]byte]held
	kept  map[[bls.PublicKeySize]byte]bool // keys of shares whose epoch is not committed
}

type held struct {
	share   bls.Share
	scalar  secret.Bytes // what the share was made from, to recognise it
	epoch   uint32
	use     action.Use
	retired bool // the ledger has committed a later epoch
}

// load takes a share from the safe. An older epoch than the one at hand is
// passed over: shares of different epochs never meet.
func (s *shares) load(e seal.Entry) error {
	var share bls.Share
	var err error
	if !e.Secret.Expose(func(b []byte) { share, err = bls.NewShare(e.X, (*[bls.ScalarSize]byte)(append([]byte(nil), b...))) }) {
		err = fmt.Errorf("secret is gone")
	}
	if err != nil {
		return fmt.Errorf("load share of key 0x%x: %w", e.Key, err)
	}
	pk := [bls.PublicKeySize]byte(e.Key)
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.byKey[pk]
	if ok && old.epoch > e.Epoch {
		return nil
	}
	retired := e.Kind == seal.KindRetired || ok && old.epoch == e.Epoch && old.retired
	s.byKey[pk] = held{share: share, scalar: e.Secret, epoch: e.Epoch, use: useOf(e.Kind), retired: retired}
	return nil
}

func (s *shares) get(pk [bls.PublicKeySize]byte) (held, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h, ok := s.byKey[pk]
	return h, ok
}

// keep notes that a share of a key waits for its epoch to be committed, or
// waits no more.
func (s *shares) keep(key []byte, waits bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pk := [bls.PublicKeySize]byte(key); waits {
		s.kept[pk] = true
	} else {
		delete(s.kept, pk)
	}
}

// keeps reports whether a share of a key waits for its epoch.
func (s *shares) keeps(pk [bls.PublicKeySize]byte) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.kept[pk]
}

// keys returns the keys of which there is a share.
func (s *shares) keys() map[[bls.PublicKeySize]byte]bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make(map[[bls.PublicKeySize]byte]bool, len(s.byKey))
	for k := range s.byKey {
		all[k] = true
	}
	return all
}

func (s *shares) count() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.byKey)
}

// at returns the newest share of a key, if it is of that epoch and for that use.
func (s *shares) at(pk [bls.PublicKeySize]byte, epoch uint32, use action.Use) (secret.Bytes, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h, ok := s.byKey[pk]
	return h.scalar, ok && h.epoch == epoch && h.use == use
}

// retire ends signing with a share that is of an earlier epoch than the
// ledger's, and reports whether there was one. It stays, for a ceremony that
// still needs it.
func (s *shares) retire(pk [bls.PublicKeySize]byte, before uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.byKey[pk]
	if !ok || h.epoch >= before || h.retired {
		return false
	}
	h.retired = true
	s.byKey[pk] = h
	return true
}

// forget drops a share that was destroyed.
func (s *shares) forget(pk [bls.PublicKeySize]byte, epoch uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h, ok := s.byKey[pk]; ok && h.epoch == epoch {
		delete(s.byKey, pk)
		h.scalar.Destroy()
	}
}

// holds reports whether the newest share of a key is this very secret.
func (s *shares) holds(pk [bls.PublicKeySize]byte, scalar secret.Bytes) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h, ok := s.byKey[pk]
	return ok && h.scalar.Equal(scalar)
}
