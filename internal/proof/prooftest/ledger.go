// Package prooftest is a small ledger in memory whose certificates verify:
// real validators' signatures over real headers, and a real tree in IAVL's
// hashing. It serves tests of whatever consumes package proof and must not
// link a consensus engine.
package prooftest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/quorate/quorate/internal/proof"
)

// Ledger is a chain of blocks with a key-value state. Changes made by Set and
// Delete are in the state of the next Block. It panics where a test is wrong.
type Ledger struct {
	Cluster [32]byte
	ChainID string

	height  uint64
	time    time.Time
	last    []byte // hash of the last header
	signers []ed25519.PrivateKey
	state   map[string][]byte // being written
	sealed  map[string][]byte // proven by the last header
	links   []proof.Link
	next    []ed25519.PrivateKey // signers from the next block on
	proven  proof.State
	header  proof.Header
	commit  proof.Commit
}

// Key is the validator key of a number: tests share them.
func Key(i int) ed25519.PrivateKey {
	seed := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("prooftest"), uint64(i)))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Keys are the first n of them.
func Keys(n int) []ed25519.PrivateKey {
	keys := make([]ed25519.PrivateKey, n)
	for i := range keys {
		keys[i] = Key(i)
	}
	return keys
}

// New starts a ledger of n validators at genesis. Call Block before Certify.
func New(n int) *Ledger {
	return &Ledger{
		Cluster: sha256.Sum256([]byte("prooftest cluster")),
		ChainID: "prooftest",
		time:    time.Unix(1_700_000_000, 0).UTC(),
		signers: Keys(n),
		next:    Keys(n),
		state:   map[string][]byte{"root/params": []byte("prooftest")},
	}
}

// Trust is where a client of this ledger starts, at genesis or after any Block.
func (l *Ledger) Trust(period time.Duration) proof.Trust {
	return proof.Trust{Cluster: l.Cluster, ChainID: l.ChainID, Validators: Validators(l.signers), TrustingPeriod: period}
}

// Validators is the set that holds the keys, with equal power.
func Validators(keys []ed25519.PrivateKey) proof.ValidatorSet {
	var vals []proof.Validator
	for _, k := range keys {
		vals = append(vals, proof.Validator{PubKey: k.Public().(ed25519.PublicKey), Power: proof.VotePower})
	}
	set, err := proof.NewValidatorSet(vals)
	if err != nil {
		panic(err)
	}
	return set
}

// Set writes a value.
func (l *Ledger) Set(path proof.Path, value []byte) { l.state[string(path)] = bytes.Clone(value) }

// Delete removes a value.
func (l *Ledger) Delete(path proof.Path) { delete(l.state, string(path)) }

// Height is the last block's.
func (l *Ledger) Height() uint64 { return l.height }

// Time is the last block's.
func (l *Ledger) Time() time.Time { return l.time }

// Replace makes keys the validators, beginning with the block after next.
func (l *Ledger) Replace(keys []ed25519.PrivateKey) { l.next = slices.Clone(keys) }

// Block makes the next block, d after the last one; its header proves the
// state as it is now.
func (l *Ledger) Block(d time.Duration) {
	l.height++
	l.time = l.time.Add(d)
	l.sealed = maps.Clone(l.state)
	vals, next := Validators(l.signers), Validators(l.next)
	vh, nh := vals.Hash(), next.Hash()
	l.proven = proof.State{AppVersion: 1, KVRoot: newTree(l.sealed).root.hash, LogSize: l.height, LogRoot: sha256.Sum256(l.last)}
	app := l.proven.AppHash(l.Cluster)
	filler := sha256.Sum256(binary.BigEndian.AppendUint64(nil, l.height))
	proposer := vals.Validators()[0].Address()
	l.header = proof.Header{
		BlockVersion: 11, AppVersion: 1, ChainID: l.ChainID, Height: l.height, Time: l.time,
		LastBlockID:    proof.BlockID{Hash: l.last, Parts: proof.PartSetHeader{Total: 1, Hash: filler[:]}},
		LastCommitHash: filler[:], DataHash: filler[:], ConsensusHash: filler[:],
		LastResultsHash: filler[:], EvidenceHash: filler[:],
		ValidatorsHash: vh[:], NextValidatorsHash: nh[:], AppHash: app[:], ProposerAddress: proposer[:],
	}
	l.commit = Sign(&l.header, l.signers)
	hash := l.header.Hash()
	l.last = hash[:]
	if vh != nh {
		l.links = append(l.links, proof.Link{Header: l.header, Commit: l.commit, Next: next})
	}
	l.signers = slices.Clone(l.next)
}

// Sign makes the commit of a header by its validators.
func Sign(h *proof.Header, keys []ed25519.PrivateKey) proof.Commit {
	parts := sha256.Sum256([]byte("parts"))
	c := proof.Commit{Parts: proof.PartSetHeader{Total: 1, Hash: parts[:]}}
	vals := Validators(keys)
	var votes []proof.Signature
	for i, v := range vals.Validators() {
		at := h.Time.Add(time.Duration(i+1) * time.Millisecond)
		k := keys[slices.IndexFunc(keys, func(k ed25519.PrivateKey) bool { return v.PubKey.Equal(k.Public()) })]
		votes = append(votes, proof.Signature{Index: i, Time: at, Signature: [64]byte(ed25519.Sign(k, c.SignBytes(h, at)))})
	}
	c, err := proof.NewCommit(vals, h, 0, c.Parts, votes)
	if err != nil {
		panic(err)
	}
	return c
}

// Certify proves what the paths hold, or that they hold nothing, by the last
// header. It carries the links after height since.
func (l *Ledger) Certify(since uint64, paths ...proof.Path) *proof.Certificate {
	c := &proof.Certificate{Header: l.header, Commit: l.commit, State: l.proven}
	for _, k := range l.links {
		if since < k.Header.Height && k.Header.Height < l.height {
			c.Links = append(c.Links, k)
		}
	}
	t := newTree(l.sealed)
	for _, p := range slices.Compact(slices.Sorted(slices.Values(paths))) {
		c.Claims = append(c.Claims, t.claim(string(p)))
	}
	return c
}
