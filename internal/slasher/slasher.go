package slasher

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/eth"
)

// Message is what was signed, as far as a chain slashes for it.
type Message struct {
	Facts eth.Slashable
	Root  eth.SigningRoot
}

func (m Message) String() string {
	switch f := m.Facts.(type) {
	case eth.BlockFacts:
		return fmt.Sprintf("block at slot %d, root %s", f.Slot, m.Root)
	case eth.AttestationFacts:
		return fmt.Sprintf("vote from epoch %d to %d, root %s", f.SourceEpoch, f.TargetEpoch, m.Root)
	}
	return "message that nobody slashes for"
}

// Offence is what a pair would be slashed for.
type Offence string

const (
	DoubleProposal Offence = "double proposal"
	DoubleVote     Offence = "double vote"
	Surround       Offence = "surround vote"
)

// Pair is two messages of one key that a chain slashes. Key is the
// validator's, or the public share of a holder.
type Pair struct {
	Key           bls.PublicKey
	Offence       Offence
	First, Second Message // in the order of their signatures
}

func (p Pair) String() string {
	return fmt.Sprintf("%s by %s: %s; %s", p.Offence, p.Key, p.First, p.Second)
}

// Config says how a slasher works. The zero value trusts its caller.
type Config struct {
	// Verify has every signature verified first. It costs a pairing for each.
	Verify bool
}

// Slasher is safe for concurrent use.
type Slasher struct {
	verify bool

	mu      sync.Mutex
	history map[bls.PublicKey][]Message // every message once, in order of arrival
	deals   map[bls.PublicKey]deal
	signed  map[shared]map[uint16]bool // who has signed a message with a share
	pairs   []Pair
	seen    int
}

// deal is a key in shares.
type deal struct {
	t      int
	shares []bls.PublicKey // Y_i at i-1
}

// shared is a message under a key in shares.
type shared struct {
	key     bls.PublicKey
	message Message
}

// New returns a slasher that has seen nothing.
func New(c Config) *Slasher {
	return &Slasher{
		verify:  c.Verify,
		history: map[bls.PublicKey][]Message{},
		deals:   map[bls.PublicKey]deal{},
		signed:  map[shared]map[uint16]bool{},
	}
}

// Deal tells how a key is shared, so that WatchPartial knows whose a partial
// is and when there are enough. A refresh is another deal of the same key; it
// forgets nothing.
func (s *Slasher) Deal(key bls.PublicKey, t int, shares []bls.PublicKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deals[key] = deal{t, slices.Clone(shares)}
}

// ErrForged means that a signature is not what it was said to be.
var ErrForged = errors.New("signature does not verify")

// Watch records a whole signature, and returns the pairs that it completes.
func (s *Slasher) Watch(key bls.PublicKey, m Message, sig bls.Signature) ([]Pair, error) {
	if s.verify && !bls.Verify(key, m.Root, sig) {
		return nil, fmt.Errorf("watch %s: %w", m, ErrForged)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen++
	return s.record(key, m), nil
}

// WatchPartial records a partial signature under key: against its holder, and,
// once t holders have signed the message, against the key.
func (s *Slasher) WatchPartial(key bls.PublicKey, m Message, p bls.Partial) ([]Pair, error) {
	s.mu.Lock()
	d, known := s.deals[key]
	s.mu.Unlock()
	i := int(p.Index())
	if !known || i < 1 || i > len(d.shares) {
		return nil, fmt.Errorf("watch partial %d of %s: %w: no such share was dealt", i, m, ErrForged)
	}
	if s.verify {
		bad, err := bls.VerifyPartials(rand.Reader, m.Root, d.shares, []bls.Partial{p})
		if err != nil || len(bad) > 0 {
			return nil, fmt.Errorf("watch partial %d of %s: %w", i, m, errors.Join(ErrForged, err))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen++
	found := s.record(d.shares[i-1], m)
	by := s.signed[shared{key, m}]
	if by == nil {
		by = map[uint16]bool{}
		s.signed[shared{key, m}] = by
	}
	by[p.Index()] = true
	if len(by) >= d.t {
		found = append(found, s.record(key, m)...)
	}
	return found, nil
}

// WatchDuty is Watch of a signature as an API returns it. The root is computed
// from the duty here; a duty that nobody slashes for is only verified.
func (s *Slasher) WatchDuty(n *eth.Network, key bls.PublicKey, d eth.Duty, signature []byte) ([]Pair, error) {
	root, err := d.SigningRoot(n)
	if err != nil {
		return nil, fmt.Errorf("watch duty: %w", err)
	}
	sig, err := bls.ParseSignature(signature)
	if err != nil {
		return nil, fmt.Errorf("watch duty: %w", err)
	}
	return s.Watch(key, Message{d.Slashable(), root}, sig)
}

// record compares a message with all that its key ever signed. s.mu is held.
func (s *Slasher) record(key bls.PublicKey, m Message) (found []Pair) {
	if m.Facts == nil || slices.Contains(s.history[key], m) {
		return nil
	}
	for _, old := range s.history[key] {
		if offence := judge(old, m); offence != "" {
			found = append(found, Pair{key, offence, old, m})
		}
	}
	s.history[key] = append(s.history[key], m)
	s.pairs = append(s.pairs, found...)
	return found
}

// judge returns what two different messages of one key are slashed for, or "".
func judge(a, b Message) Offence {
	switch fa := a.Facts.(type) {
	case eth.BlockFacts:
		if fb, ok := b.Facts.(eth.BlockFacts); ok && fa.Slot == fb.Slot && a.Root != b.Root {
			return DoubleProposal
		}
	case eth.AttestationFacts:
		fb, ok := b.Facts.(eth.AttestationFacts)
		switch {
		case !ok:
		case fa.TargetEpoch == fb.TargetEpoch && a.Root != b.Root:
			return DoubleVote
		case surrounds(fa, fb), surrounds(fb, fa):
			return Surround
		}
	}
	return ""
}

func surrounds(a, b eth.AttestationFacts) bool {
	return a.SourceEpoch < b.SourceEpoch && b.TargetEpoch < a.TargetEpoch
}

// Pairs returns everything found so far. An honest cluster keeps it empty for
// its keys; a share of a Byzantine holder may well be in it.
func (s *Slasher) Pairs() []Pair {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pairs)
}

// PairsOf returns what was found against one key or public share.
func (s *Slasher) PairsOf(key bls.PublicKey) []Pair {
	return slices.DeleteFunc(s.Pairs(), func(p Pair) bool { return p.Key != key })
}

// Seen counts the signatures watched, repetitions too: a test whose slasher
// saw nothing has shown nothing.
func (s *Slasher) Seen() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}
