package proof

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quorate/quorate/internal/wire"
)

var (
	// ErrValidators: the header is committed by a set that this client does
	// not know; the certificate lacks links, or is older than the last change.
	ErrValidators = errors.New("validator set unknown")
	// ErrExpired: the header lies further from the last verified one than the
	// trusting period; only a checkpoint from outside helps.
	ErrExpired = errors.New("trusting period exceeded")
	// ErrFork: a committed header contradicts one verified before. More than a
	// third of the power signed both.
	ErrFork = errors.New("ledger forked")
	// ErrCertificate is wrapped by every other reason to refuse a certificate.
	ErrCertificate = errors.New("certificate refused")
)

// Trust is where a light client starts.
type Trust struct {
	Cluster        [32]byte // cluster id, in the preimage of every AppHash
	ChainID        string   // CometBFT's name of the chain
	Validators     ValidatorSet
	TrustingPeriod time.Duration // longest step between two verified headers
}

// Client is what a light client knows of the chain. It is a value: Verify
// returns the next one and leaves this one as it was.
type Client struct {
	trust  Trust
	height uint64 // of the last verified header; trust.Validators commit the block after it
	time   time.Time
	hash   [32]byte
}

// NewClient trusts the genesis validators. Until it has verified a header it
// has no notion of time, and accepts the first one at any age.
func NewClient(t Trust) (Client, error) {
	if t.ChainID == "" || len(t.ChainID) > wire.MaxChainID || t.Validators.Len() == 0 || t.TrustingPeriod <= 0 {
		return Client{}, errors.New("make light client: chain id, validators or trusting period missing")
	}
	return Client{trust: t}, nil
}

// Height is that of the last verified header from which the client goes on,
// 0 at genesis. A certificate needs links for the set changes after it.
func (c Client) Height() uint64 { return c.height }

// Time is the last verified header's.
func (c Client) Time() time.Time { return c.time }

// Validators is the set that commits the block after Height.
func (c Client) Validators() ValidatorSet { return c.trust.Validators }

// Verified is a certificate's content after every check. Only Client.Verify
// makes one; its zero value proves nothing.
type Verified struct {
	height uint64
	time   time.Time
	hash   [32]byte
	state  State
	claims []Claim
}

// Height is that of the header whose AppHash was proven; the state is the one
// after block Height-1.
func (v Verified) Height() uint64 { return v.height }

// Time is that header's time.
func (v Verified) Time() time.Time { return v.time }

// State is the preimage of the AppHash.
func (v Verified) State() State { return v.state }

// Get returns what is proven to stand at path. It returns false both for a path
// proven absent and for one of which the certificate does not speak.
func (v Verified) Get(path Path) ([]byte, bool) {
	c := v.claim(path)
	if c == nil || c.Inclusion == nil {
		return nil, false
	}
	return slices.Clone(c.Value), true
}

// Absent says whether path is proven to be absent.
func (v Verified) Absent(path Path) bool {
	c := v.claim(path)
	return c != nil && c.Absence != nil
}

func (v Verified) claim(path Path) *Claim {
	for i := range v.claims {
		if string(v.claims[i].Key) == string(path) {
			return &v.claims[i]
		}
	}
	return nil
}

// Verify checks everything in the certificate and returns what it proves and
// the client that has seen it. Links that this client is already past are
// passed over, so that a certificate made for a slower one still serves.
//
// A certificate below the client's height verifies too, as long as the
// validators are the same: it is as true as it was. Whether it is recent
// enough is Freshness's question.
func (c Client) Verify(cert *Certificate) (Client, Verified, error) {
	next := c
	for i := range cert.Links {
		l := &cert.Links[i]
		if l.Header.Height <= next.height {
			continue
		}
		if err := next.admit(&l.Header, &l.Commit); err != nil {
			return c, Verified{}, fmt.Errorf("verify validator change at height %d: %w", l.Header.Height, err)
		}
		if l.Next.Len() == 0 || l.Next.Hash() != [32]byte(l.Header.NextValidatorsHash) {
			return c, Verified{}, fmt.Errorf("verify validator change at height %d: %w: not the announced set", l.Header.Height, ErrCertificate)
		}
		next = next.advance(&l.Header, l.Next)
	}
	h := &cert.Header
	if err := next.admit(h, &cert.Commit); err != nil {
		return c, Verified{}, fmt.Errorf("verify header %d: %w", h.Height, err)
	}
	if app := cert.State.AppHash(c.trust.Cluster); string(app[:]) != string(h.AppHash) {
		return c, Verified{}, fmt.Errorf("verify state in header %d: %w: AppHash differs", h.Height, ErrCertificate)
	}
	for i := range cert.Claims {
		if err := cert.Claims[i].Verify(cert.State.KVRoot); err != nil {
			return c, Verified{}, fmt.Errorf("verify claim about %q in header %d: %w", cert.Claims[i].Key, h.Height, err)
		}
		if i > 0 && string(cert.Claims[i-1].Key) >= string(cert.Claims[i].Key) {
			return c, Verified{}, fmt.Errorf("verify claims in header %d: %w: keys not ascending", h.Height, ErrCertificate)
		}
	}
	v := Verified{height: h.Height, time: h.Time, hash: h.Hash(), state: cert.State, claims: slices.Clone(cert.Claims)}
	// Where the set is about to change, the client stays below: it goes on
	// only when a link shows it the next set.
	if h.Height > next.height && [32]byte(h.NextValidatorsHash) == next.trust.Validators.Hash() {
		next = next.advance(h, next.trust.Validators)
	}
	return next, v, nil
}

// admit says whether the current set committed h, and whether h fits what was
// verified before.
func (c Client) admit(h *Header, commit *Commit) error {
	if err := h.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	if h.ChainID != c.trust.ChainID {
		return fmt.Errorf("%w: chain %q", ErrCertificate, h.ChainID)
	}
	if [32]byte(h.ValidatorsHash) != c.trust.Validators.Hash() {
		return ErrValidators
	}
	if err := VerifyCommit(c.trust.Validators, h, commit); err != nil {
		return err
	}
	switch {
	case c.height == 0:
		return nil
	case h.Height == c.height && h.Hash() != c.hash:
		return ErrFork
	case h.Height > c.height && !h.Time.After(c.time), h.Height < c.height && !h.Time.Before(c.time):
		return fmt.Errorf("%w: time runs backwards", ErrFork)
	case h.Time.Sub(c.time).Abs() > c.trust.TrustingPeriod:
		return ErrExpired
	}
	return nil
}

func (c Client) advance(h *Header, vals ValidatorSet) Client {
	c.trust.Validators = vals
	c.height, c.time, c.hash = h.Height, h.Time, h.Hash()
	return c
}
