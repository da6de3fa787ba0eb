package proof_test

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/proof/prooftest"
	"github.com/quorate/quorate/internal/wire"
)

func TestCommitRefused(t *testing.T) {
	l := ledger4()
	trust := l.Trust(period)
	c := client(t, trust)
	resign := func(cert *proof.Certificate, keys ...int) {
		cert.Commit.Signatures = nil
		for _, i := range keys {
			v := trust.Validators.Validators()[i]
			all := prooftest.Keys(4)
			k := all[slices.IndexFunc(all, func(k ed25519.PrivateKey) bool { return v.PubKey.Equal(k.Public()) })]
			sig := ed25519.Sign(k, cert.Commit.SignBytes(&cert.Header, cert.Header.Time))
			cert.Commit.Signatures = append(cert.Commit.Signatures, proof.Signature{
				Index: i, Time: cert.Header.Time, Signature: [64]byte(sig)})
		}
	}
	good := l.Certify(0, nodePath)
	resign(good, 1, 2, 3)
	accept(t, c, good)

	for name, change := range map[string]func(*proof.Certificate){
		"two thirds are not more than two thirds": func(x *proof.Certificate) { resign(x, 0, 1) },
		"one validator twice":                     func(x *proof.Certificate) { resign(x, 0, 1, 1) },
		"one validator three times":               func(x *proof.Certificate) { resign(x, 2, 2, 2) },
		"out of order":                            func(x *proof.Certificate) { resign(x, 2, 1, 0) },
		"more than needed":                        func(x *proof.Certificate) { resign(x, 0, 1, 2, 3) },
		"no signature":                            func(x *proof.Certificate) { resign(x) },
		"index past the set":                      func(x *proof.Certificate) { resign(x, 0, 1, 2); x.Commit.Signatures[2].Index = 4 },
		"negative index":                          func(x *proof.Certificate) { resign(x, 0, 1, 2); x.Commit.Signatures[0].Index = -1 },
		"another's signature":                     func(x *proof.Certificate) { resign(x, 0, 1, 2); x.Commit.Signatures[2].Index = 3 },
		"wrong round":                             func(x *proof.Certificate) { x.Commit.Round++ },
		"round out of range":                      func(x *proof.Certificate) { x.Commit.Round = 1 << 31; resign(x, 0, 1, 2) },
		"wrong parts":                             func(x *proof.Certificate) { x.Commit.Parts.Total++ },
		"no parts":                                func(x *proof.Certificate) { x.Commit.Parts = proof.PartSetHeader{}; resign(x, 0, 1, 2) },
		"wrong height":                            func(x *proof.Certificate) { x.Header.Height++ },
		"wrong time":                              func(x *proof.Certificate) { x.Header.Time = x.Header.Time.Add(1) },
		"wrong vote time": func(x *proof.Certificate) {
			x.Commit.Signatures[0].Time = x.Commit.Signatures[0].Time.Add(1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			cert := l.Certify(0, nodePath)
			cert.Commit.Signatures = slices.Clone(cert.Commit.Signatures)
			change(cert)
			refuse(t, c, cert, proof.ErrCommit)
		})
	}

	t.Run("wrong chain id", func(t *testing.T) {
		cert := l.Certify(0, nodePath)
		cert.Header.ChainID = "another"
		resign(cert, 0, 1, 2)
		refuse(t, c, cert, proof.ErrCertificate)
	})
	t.Run("chain id of another cluster's client", func(t *testing.T) {
		other := trust
		other.ChainID = "another"
		refuse(t, client(t, other), l.Certify(0, nodePath), proof.ErrCertificate)
	})
	t.Run("another cluster id", func(t *testing.T) {
		other := trust
		other.Cluster[0]++
		refuse(t, client(t, other), l.Certify(0, nodePath), proof.ErrCertificate)
	})
	t.Run("app hash short, though signed", func(t *testing.T) {
		cert := l.Certify(0, nodePath)
		cert.Header.AppHash = nil
		resign(cert, 0, 1, 2)
		refuse(t, c, cert, proof.ErrCertificate)
	})
	t.Run("nothing as a value", func(t *testing.T) {
		l := ledger4()
		l.Set(otherPath, nil)
		l.Block(time.Second)
		refuse(t, c, l.Certify(0, otherPath), proof.ErrInclusion)
	})
	t.Run("no validators", func(t *testing.T) {
		cert := l.Certify(0, nodePath)
		cert.Header.ValidatorsHash = nil
		refuse(t, c, cert, proof.ErrCertificate)
	})
	t.Run("another ledger's validators", func(t *testing.T) {
		other := prooftest.New(5)
		other.Block(time.Second)
		refuse(t, c, other.Certify(0), proof.ErrValidators)
	})
	t.Run("claim swapped", func(t *testing.T) {
		cert := l.Certify(0, nodePath)
		cert.Claims[0].Value = []byte{2}
		refuse(t, c, cert, proof.ErrInclusion)
		cert = l.Certify(0, nodePath)
		cert.Claims[0].Key = []byte(grantPath)
		refuse(t, c, cert, proof.ErrInclusion)
		cert = l.Certify(0, nodePath, grantPath)
		cert.Claims[1].Inclusion, cert.Claims[1].Absence = nil, nil
		refuse(t, c, cert, proof.ErrInclusion)
		cert = l.Certify(0, nodePath, grantPath)
		slices.Reverse(cert.Claims)
		refuse(t, c, cert, proof.ErrCertificate)
		cert = l.Certify(0, nodePath)
		cert.Claims = append(cert.Claims, cert.Claims[0])
		refuse(t, c, cert, proof.ErrCertificate)
		cert = l.Certify(0, nodePath, grantPath)
		present, absent := &cert.Claims[0], &cert.Claims[1]
		if present.Inclusion == nil {
			present, absent = absent, present
		}
		both := *present
		both.Absence = absent.Absence
		valued, neither, empty := *absent, *absent, *absent
		valued.Value, neither.Absence, empty.Inclusion = []byte{1}, nil, present.Inclusion
		nameless := l.Certify(0, "!").Claims[0] // absent before all others
		nameless.Key = nil
		for _, claim := range []proof.Claim{both, valued, neither, empty, nameless} {
			cert.Claims = []proof.Claim{claim}
			refuse(t, c, cert, proof.ErrInclusion)
		}
	})
}

func TestPowerIsCountedNotHeads(t *testing.T) {
	keys := prooftest.Keys(4)
	var vals []proof.Validator
	for i, k := range keys {
		vals = append(vals, proof.Validator{PubKey: k.Public().(ed25519.PublicKey), Power: []uint64{70, 10, 10, 10}[i]})
	}
	set, err := proof.NewValidatorSet(vals)
	if err != nil {
		t.Fatal(err)
	}
	l := ledger4()
	h := l.Certify(0).Header
	hash := set.Hash()
	h.ValidatorsHash = hash[:]
	parts := proof.PartSetHeader{Total: 1, Hash: hash[:]}
	vote := func(i int) proof.Signature {
		k := keys[slices.IndexFunc(keys, func(k ed25519.PrivateKey) bool { return set.Validators()[i].PubKey.Equal(k.Public()) })]
		c := proof.Commit{Parts: parts}
		return proof.Signature{Index: i, Time: h.Time, Signature: [64]byte(ed25519.Sign(k, c.SignBytes(&h, h.Time)))}
	}
	if _, err := proof.NewCommit(set, &h, 0, parts, []proof.Signature{vote(1), vote(2), vote(3)}); !errors.Is(err, proof.ErrCommit) {
		t.Fatalf("three of four heads with 30 of 100: %v", err)
	}
	if _, err := proof.NewCommit(set, &h, 0, parts, slices.Repeat([]proof.Signature{vote(1)}, 7)); !errors.Is(err, proof.ErrCommit) {
		t.Fatalf("one head with 10 of 100, seven times: %v", err)
	}
	c, err := proof.NewCommit(set, &h, 0, parts, []proof.Signature{vote(0), vote(1)})
	if err != nil || len(c.Signatures) != 1 {
		t.Fatalf("70 of 100 is a quorum, got %d signatures, %v", len(c.Signatures), err)
	}
	if err := proof.VerifyCommit(set, &h, &c); err != nil {
		t.Fatal(err)
	}
	// A bad signature before the good one is passed over, and one of nobody.
	bad, nobody := vote(0), vote(0)
	bad.Signature[5] ^= 1
	nobody.Index = -1
	if c, err = proof.NewCommit(set, &h, 0, parts, []proof.Signature{nobody, bad, vote(0)}); err != nil {
		t.Fatal(err)
	}
	if err := proof.VerifyCommit(set, &h, &c); err != nil {
		t.Fatal(err)
	}
	if err := proof.VerifyCommit(proof.ValidatorSet{}, &h, &c); err == nil {
		t.Fatal("the empty set commits")
	}
}

// Exactly two thirds are not more than two thirds.
func TestTwoThirdsAreNoQuorum(t *testing.T) {
	for _, n := range []int{3, 6} {
		keys := prooftest.Keys(n)
		l := prooftest.New(n)
		l.Block(time.Second)
		cert := l.Certify(0)
		vals := prooftest.Validators(keys)
		if err := proof.VerifyCommit(vals, &cert.Header, &cert.Commit); err != nil || len(cert.Commit.Signatures) != n*2/3+1 {
			t.Fatalf("%d validators: %d signed, %v", n, len(cert.Commit.Signatures), err)
		}
		c := cert.Commit
		c.Signatures = c.Signatures[:n*2/3]
		if err := proof.VerifyCommit(vals, &cert.Header, &c); !errors.Is(err, proof.ErrCommit) {
			t.Errorf("%d of %d verify: %v", n*2/3, n, err)
		}
		if _, err := proof.NewCommit(vals, &cert.Header, c.Round, c.Parts, c.Signatures); !errors.Is(err, proof.ErrCommit) {
			t.Errorf("%d of %d make a commit: %v", n*2/3, n, err)
		}
	}
}

// What a client sees first, VerifyCommit refuses by itself, too, and a commit
// that nothing would verify is not made.
func TestCommitWithoutClient(t *testing.T) {
	keys := prooftest.Keys(4)
	vals := prooftest.Validators(keys)
	l := prooftest.New(4)
	l.Block(time.Second)
	good := l.Certify(0)
	verified := func(h proof.Header, parts proof.PartSetHeader, at time.Time) (verify, make error) {
		c := proof.Commit{Parts: parts}
		for i, v := range vals.Validators()[:3] {
			k := keys[slices.IndexFunc(keys, func(k ed25519.PrivateKey) bool { return v.PubKey.Equal(k.Public()) })]
			c.Signatures = append(c.Signatures, proof.Signature{Index: i, Time: at, Signature: [64]byte(ed25519.Sign(k, c.SignBytes(&h, at)))})
		}
		_, make = proof.NewCommit(vals, &h, 0, parts, c.Signatures)
		return proof.VerifyCommit(vals, &h, &c), make
	}
	last := time.Unix(253402300799, 0) // of the year 9999
	if verify, make := verified(good.Header, good.Commit.Parts, last); verify != nil || make != nil {
		t.Errorf("a good one: %v, %v", verify, make)
	}
	for name, edit := range map[string]func(h *proof.Header){
		"no validators":   func(h *proof.Header) { h.ValidatorsHash = nil },
		"other than ours": func(h *proof.Header) { h.ValidatorsHash = make([]byte, 32) },
		"no chain":        func(h *proof.Header) { h.ChainID = "" },
	} {
		h := good.Header
		edit(&h)
		if verify, _ := verified(h, good.Commit.Parts, last); !errors.Is(verify, proof.ErrCommit) {
			t.Errorf("a header that names %s: %v", name, verify)
		}
	}
	for name, c := range map[string]struct {
		parts proof.PartSetHeader
		at    time.Time
	}{"no parts": {at: last}, "votes of the year 10000": {good.Commit.Parts, last.Add(time.Second)}, "votes before the year 1": {good.Commit.Parts, time.Time{}.Add(-1)}} {
		if verify, make := verified(good.Header, c.parts, c.at); !errors.Is(verify, proof.ErrCommit) || !errors.Is(make, proof.ErrCommit) {
			t.Errorf("%s: %v, %v", name, verify, make)
		}
	}
}

func TestValidatorSetRefused(t *testing.T) {
	k := func(i int) ed25519.PublicKey { return prooftest.Key(i).Public().(ed25519.PublicKey) }
	many := make([]proof.Validator, wire.MaxNodes+1)
	for i := range many {
		many[i] = proof.Validator{PubKey: k(i), Power: 1}
	}
	for name, vals := range map[string][]proof.Validator{
		"empty":     nil,
		"too many":  many,
		"no power":  {{k(0), 1}, {k(1), 0}},
		"twice":     {{k(0), 1}, {k(0), 2}},
		"short key": {{k(0)[:31], 1}},
		"overflow":  {{k(0), 1 << 60}, {k(1), 1 << 60}},
	} {
		if _, err := proof.NewValidatorSet(vals); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
