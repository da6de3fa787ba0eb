package verify

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// voter is one validator of the consensus engine.
type voter struct {
	key   ed25519.PublicKey
	power uint64
}

// voters are a validator set in CometBFT's order: most power first, then by
// address, which is the beginning of the key's hash.
type voters []voter

func (v voter) address() []byte {
	h := sha256.Sum256(v.key)
	return h[:20]
}

func (a voter) compare(b voter) int {
	return cmp.Or(cmp.Compare(b.power, a.power), bytes.Compare(a.address(), b.address()))
}

func (vs voters) total() (sum uint64) {
	for _, v := range vs {
		sum += v.power
	}
	return sum
}

// hash is the Merkle root over SimpleValidator messages.
func (vs voters) hash() [32]byte {
	leaves := make([][]byte, len(vs))
	for i, v := range vs {
		leaves[i] = protoUint(protoBytes(nil, 1, protoBytes(nil, 1, v.key, true), true), 2, v.power)
	}
	return merkle(leaves)
}

// merkle is the RFC 6962 root over leaves of any length.
func merkle(leaves [][]byte) [32]byte {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, leaves[0]...))
	default:
		half := 1
		for 2*half < n {
			half *= 2
		}
		l, r := merkle(leaves[:half]), merkle(leaves[half:])
		return innerNode(&l, &r)
	}
}

func decodeVoters(d *decoder) voters {
	vs := make(voters, d.count(maxNodes, 40))
	seen := map[string]bool{}
	var total uint64
	for i := range vs {
		vs[i] = voter{bytes.Clone(d.fixed(32)), d.u64()}
		switch v := vs[i]; {
		case v.power == 0 || v.power > math.MaxInt64/8-total:
			d.fail("voting power out of range")
		case seen[string(v.key)]:
			d.fail("a validator stands twice")
		case i > 0 && vs[i-1].compare(v) > 0:
			d.fail("validators out of order")
		}
		seen[string(vs[i].key)] = true
		total += vs[i].power
	}
	if len(vs) == 0 {
		d.fail("no validators")
	}
	return vs
}

// header is CometBFT's block header.
type header struct {
	block, app uint64
	chain      []byte
	height     uint64
	at         stamp
	lastTotal  uint32
	hashes     [10][]byte // see the indices below
	proposer   []byte
}

const (
	lastBlock = iota
	lastParts
	lastCommit
	data
	validators
	nextValidators
	consensus
	appHash
	lastResults
	evidence
)

// stamp is a protobuf timestamp.
type stamp struct {
	seconds int64
	nanos   uint32
}

func (s stamp) time() time.Time { return time.Unix(s.seconds, int64(s.nanos)).UTC() }

func (s stamp) proto() []byte {
	return protoUint(protoUint(nil, 1, uint64(s.seconds)), 2, uint64(s.nanos))
}

func decodeStamp(d *decoder) stamp {
	s := stamp{int64(d.u64()), d.u32()}
	if s.nanos >= 1e9 || s.seconds < -62135596800 || s.seconds > 253402300799 {
		d.fail("time out of range")
	}
	return s
}

func decodeHeader(d *decoder) header {
	h := header{block: d.u64(), app: d.u64(), chain: d.bytes(maxChainID), height: d.u64(), at: decodeStamp(d), lastTotal: d.u32()}
	for i := range h.hashes {
		h.hashes[i] = d.bytes(32)
		if n := len(h.hashes[i]); n != 0 && n != 32 {
			d.fail("hash of %d bytes", n)
		}
	}
	h.proposer = d.bytes(20)
	if h.height < 1 || h.height > math.MaxInt64 || len(h.proposer) != 20 || len(h.hashes[validators]) != 32 || len(h.hashes[nextValidators]) != 32 {
		d.fail("header out of range")
	}
	return h
}

// hash is the Merkle root over the fourteen fields.
func (h *header) hash() [32]byte {
	fields := [][]byte{
		protoUint(protoUint(nil, 1, h.block), 2, h.app),
		protoBytes(nil, 1, h.chain, false),
		protoUint(nil, 1, h.height),
		h.at.proto(),
		blockID(h.hashes[lastBlock], h.lastTotal, h.hashes[lastParts]),
	}
	for _, b := range append(h.hashes[lastCommit:], h.proposer) {
		fields = append(fields, protoBytes(nil, 1, b, false))
	}
	return merkle(fields)
}

func blockID(hash []byte, total uint32, parts []byte) []byte {
	p := protoBytes(protoUint(nil, 1, uint64(total)), 2, parts, false)
	return protoBytes(protoBytes(nil, 1, hash, false), 2, p, true)
}

// commit is precommits for a header.
type commit struct {
	round, total uint32
	parts        []byte
	votes        []vote
}

type vote struct {
	index     int
	at        stamp
	signature []byte
}

func decodeCommit(d *decoder) commit {
	c := commit{round: d.u32(), total: d.u32(), parts: d.fixed(32)}
	c.votes = make([]vote, d.count(maxNodes, 77))
	for i := range c.votes {
		c.votes[i] = vote{int(d.u8()), decodeStamp(d), d.fixed(64)}
	}
	if c.round > math.MaxInt32 || c.total == 0 {
		d.fail("commit out of range")
	}
	return c
}

// verify says whether more than two thirds of the voters signed, each of whom
// was needed.
func (c *commit) verify(vs voters, h *header) error {
	if own := vs.hash(); !bytes.Equal(h.hashes[validators], own[:]) {
		return errors.New("the header names other validators than are known for it")
	}
	hash, last := h.hash(), -1
	var power uint64
	for _, v := range c.votes {
		if v.index <= last || v.index >= len(vs) {
			return fmt.Errorf("precommit of validator %d out of order", v.index)
		}
		if 3*power > 2*vs.total() {
			return errors.New("more precommits than are needed")
		}
		canonical := protoFixed(protoFixed(protoUint(nil, 1, 2), 2, h.height), 3, uint64(c.round))
		canonical = protoBytes(canonical, 4, blockID(hash[:], c.total, c.parts), true)
		canonical = protoBytes(canonical, 5, v.at.proto(), true)
		canonical = protoBytes(canonical, 6, h.chain, false)
		if !ed25519.Verify(vs[v.index].key, append(binary.AppendUvarint(nil, uint64(len(canonical))), canonical...), v.signature) {
			return fmt.Errorf("precommit of validator %d does not verify", v.index)
		}
		last = v.index
		power += vs[v.index].power
	}
	if 3*power <= 2*vs.total() {
		return fmt.Errorf("%d of %d voting power signed", power, vs.total())
	}
	return nil
}

// proven is what a certificate says of the log.
type proven struct {
	size   uint64
	root   [32]byte
	height uint64
	at     time.Time
}

// certificate verifies one without claims.
func (g *Genesis) certificate(raw []byte) (p proven, err error) {
	p, _, err = g.certified(raw, 0)
	return p, err
}

// certified verifies a certificate from the genesis validators on. It has so
// many claims, one at most.
func (g *Genesis) certified(raw []byte, claims uint32) (p proven, said claim, err error) {
	d := &decoder{in: raw}
	if version := d.u16(); version != 1 {
		d.fail("certificate of version %d", version)
	}
	current, height, at := g.voters, uint64(0), time.Time{}
	step := func(h *header, c *commit) error {
		switch {
		case d.err != nil:
			return d.err
		case string(h.chain) != g.chain():
			return fmt.Errorf("header %d is of chain %q", h.height, h.chain)
		case h.height <= height || height > 0 && !h.at.time().After(at):
			return fmt.Errorf("header %d is not after the one before", h.height)
		}
		height, at = h.height, h.at.time()
		if err := c.verify(current, h); err != nil {
			return fmt.Errorf("header %d: %w", h.height, err)
		}
		return nil
	}
	for range d.count(maxLinks, 100) {
		h, c := decodeHeader(d), decodeCommit(d)
		next := decodeVoters(d)
		if err := step(&h, &c); err != nil {
			return p, said, err
		}
		hash := next.hash()
		if !bytes.Equal(h.hashes[nextValidators], hash[:]) || bytes.Equal(h.hashes[validators], hash[:]) {
			return p, said, fmt.Errorf("header %d announces other validators, or no change", h.height)
		}
		current = next
	}
	h, c := decodeHeader(d), decodeCommit(d)
	app, kv := d.fixed(8), d.fixed(32)
	size := d.fixed(8)
	p = proven{binary.BigEndian.Uint64(size), d.hash(), h.height, h.at.time()}
	if n := d.u32(); n != claims {
		d.fail("certificate with %d claims", n)
	}
	if claims > 0 {
		said = decodeClaim(d)
	}
	if err := d.end(); err != nil {
		return p, said, err
	}
	if err := step(&h, &c); err != nil {
		return p, said, err
	}
	state := taggedHash("quorate/v1/app-hash", g.Cluster[:], app, kv, size, p.root[:])
	if !bytes.Equal(state[:], h.hashes[appHash]) {
		return p, said, fmt.Errorf("header %d commits to another state", h.height)
	}
	if claims > 0 {
		root, err := said.root()
		if err != nil {
			return p, said, err
		}
		if !bytes.Equal(root[:], kv) {
			return p, said, errors.New("the claim leads to another state")
		}
	}
	return p, said, nil
}

// sorted puts voters into order.
func (vs voters) sorted() voters {
	slices.SortFunc(vs, voter.compare)
	return vs
}

// Protobuf fields as proto3 writes them: scalars and bytes at their zero value
// are left out, messages that cannot be nil (always) never.

func protoUint(b []byte, field byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return binary.AppendUvarint(append(b, field<<3), v)
}

func protoFixed(b []byte, field byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return binary.LittleEndian.AppendUint64(append(b, field<<3|1), v)
}

func protoBytes(b []byte, field byte, v []byte, always bool) []byte {
	if len(v) == 0 && !always {
		return b
	}
	return append(binary.AppendUvarint(append(b, field<<3|2), uint64(len(v))), v...)
}
