package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// Round is a beacon's output, as its file says it (spec/beacon.md).
type Round struct {
	Scheme     string `json:"scheme"`
	Cluster    string `json:"cluster"`
	PublicKey  string `json:"public_key"`
	Round      uint64 `json:"round"`
	Randomness string `json:"randomness"`
	Signature  string `json:"signature"`
	Proof      []byte `json:"proof,omitempty"`

	cluster, key, randomness, signature []byte
}

const (
	schemeBeacon = "quorate-beacon-v1"
	tagBeacon    = "quorate/v1/beacon"
	dstBeacon    = "QUORATE-V1-BEACON_BLS12381G2_XMD:SHA-256_SSWU_RO_"
	useBeacon    = 1
)

// MaxRound bounds the file of a round.
const MaxRound = 512 << 10

// IsRound tells whether a file that begins so may be a round: it is JSON.
func IsRound(beginning []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(beginning, " \t\r\n"), []byte("{"))
}

// CheckRound verifies a round under a key that the caller knows to be the
// beacon's.
func CheckRound(raw, key []byte) (*Round, error) {
	r, err := ParseRound(raw)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(r.key, key) {
		return nil, fmt.Errorf("the round is of another key, %s", r.PublicKey)
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return r, nil
}

// CheckRound verifies a round of the cluster, whose file proves that the key
// is one of its beacons.
func (g *Genesis) CheckRound(raw []byte) (*Round, error) {
	r, err := ParseRound(raw)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(r.cluster, g.Cluster[:]) {
		return nil, fmt.Errorf("the round is of cluster %s", r.Cluster)
	}
	if len(r.Proof) == 0 {
		return nil, errors.New("nothing proves that the key is the cluster's\nhint: get the round with --proof, or give the key")
	}
	_, c, err := g.certified(r.Proof, 1)
	if err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	if want := g.namespace + "/key/validator/" + hex.EncodeToString(r.key); string(c.path) != want {
		return nil, fmt.Errorf("proof: it is about %q", c.path)
	}
	if err := beaconRecord(c.value, r.key); err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return r, nil
}

// ParseRound reads the file of a round, and verifies nothing.
func ParseRound(raw []byte) (*Round, error) {
	if len(raw) > MaxRound {
		return nil, fmt.Errorf("the file is over the limit of %d bytes", MaxRound)
	}
	r := new(Round)
	in := json.NewDecoder(bytes.NewReader(raw))
	in.DisallowUnknownFields()
	if err := in.Decode(r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknownKind, err)
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the round")
	}
	if r.Scheme != schemeBeacon {
		return nil, fmt.Errorf("scheme %q is unknown", r.Scheme)
	}
	for _, field := range []struct {
		to   *[]byte
		text string
		size int
	}{
		{&r.cluster, r.Cluster, 32}, {&r.key, strings.TrimPrefix(r.PublicKey, "0x"), 48},
		{&r.randomness, r.Randomness, 32}, {&r.signature, r.Signature, 96},
	} {
		var err error
		if *field.to, err = hex.DecodeString(field.text); err != nil || len(*field.to) != field.size {
			return nil, fmt.Errorf("%q is not %d bytes in hexadecimal", field.text, field.size)
		}
	}
	return r, nil
}

// check verifies e(key, H(m)) = e(G, signature), and the hash.
func (r *Round) check() error {
	var key bls.G1Affine
	var sig bls.G2Affine
	if _, err := key.SetBytes(r.key); err != nil || r.key[0]&0x80 == 0 || key.IsInfinity() {
		return errors.New("the public key is none")
	}
	if _, err := sig.SetBytes(r.signature); err != nil || r.signature[0]&0x80 == 0 || sig.IsInfinity() {
		return errors.New("the signature is none")
	}
	message := taggedHash(tagBeacon, r.cluster, binary.BigEndian.AppendUint64(nil, r.Round))
	hashed, err := bls.HashToG2(message[:], []byte(dstBeacon))
	if err != nil {
		return err
	}
	_, _, generator, _ := bls.Generators()
	generator.Neg(&generator)
	if ok, err := bls.PairingCheck([]bls.G1Affine{key, generator}, []bls.G2Affine{hashed, sig}); err != nil || !ok {
		return fmt.Errorf("the key did not sign round %d so", r.Round)
	}
	if random := sha256.Sum256(r.signature); !bytes.Equal(random[:], r.randomness) {
		return errors.New("the randomness is not the signature's hash")
	}
	return nil
}

// beaconRecord reads what a key's record says the key is for.
func beaconRecord(raw, key []byte) error {
	d := &decoder{in: raw}
	if version := d.u8(); version != 2 {
		d.fail("key record of version %d", version)
	}
	domain, curve, own := d.bytes(maxName), d.u8(), d.fixed(48)
	d.fixed(2) // state and provenance
	d.bytes(maxName)
	d.bytes(maxName) // owner and purpose
	d.bool()         // of an exercise
	switch use := d.u8(); {
	case d.err != nil:
		return d.err
	case string(domain) != "validator" || curve != 1 || !bytes.Equal(own, key):
		return errors.New("the record is of another key")
	case use != useBeacon:
		return errors.New("the ledger holds the key for something else")
	}
	return nil
}

// claim is that a path of the ledger's state holds a value.
type claim struct {
	path, value []byte
	version     uint64
	steps       []step
}

// step leads from a node of the IAVL tree to its parent.
type step struct {
	height        uint8
	size, version uint64
	left          bool // the sibling is
	sibling       [32]byte
}

const maxSteps = 64

// decodeClaim reads a claim of presence; there is no use for the other kind.
func decodeClaim(d *decoder) claim {
	c := claim{path: d.bytes(512)}
	if !d.bool() {
		d.fail("a claim that nothing is there")
	}
	c.value, c.version = d.bytes(maxProof), d.u64()
	c.steps = make([]step, d.count(maxSteps, 50))
	for i := range c.steps {
		c.steps[i] = step{d.u8(), d.u64(), d.u64(), d.bool(), d.hash()}
	}
	if len(c.path) == 0 || len(c.value) == 0 {
		d.fail("an empty claim")
	}
	return c
}

// root is that of the IAVL tree in which the claim is true.
func (c *claim) root() ([32]byte, error) {
	head := func(height, size, version uint64) []byte {
		b := binary.AppendVarint(nil, int64(height))
		b = binary.AppendVarint(b, int64(size))
		return binary.AppendVarint(b, int64(version))
	}
	value := sha256.Sum256(c.value)
	leaf := binary.AppendUvarint(head(0, 1, c.version), uint64(len(c.path)))
	leaf = append(append(append(leaf, c.path...), 32), value[:]...)
	h, below := sha256.Sum256(leaf), uint8(0)
	bad := c.version > math.MaxInt64
	for _, s := range c.steps {
		bad = bad || s.height <= below || s.height > maxSteps || s.size > math.MaxInt64 || s.version > math.MaxInt64
		left, right := h, s.sibling
		if s.left {
			left, right = right, left
		}
		b := append(head(uint64(s.height), s.size, s.version), 32)
		b = append(append(append(b, left[:]...), 32), right[:]...)
		h, below = sha256.Sum256(b), s.height
	}
	if bad {
		return h, errors.New("a claim's path is out of range")
	}
	return h, nil
}
