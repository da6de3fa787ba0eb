package audit

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/wire"
)

// SchemeBeacon names how a round is signed (spec/beacon.md).
const SchemeBeacon = "quorate-beacon-v1"

// Round is a beacon's output as a file, with drand's names for what drand has.
type Round struct {
	Scheme     string `json:"scheme"`
	Cluster    string `json:"cluster"`
	PublicKey  string `json:"public_key"`
	Round      uint64 `json:"round"` // height of the ledger
	Randomness string `json:"randomness"`
	Signature  string `json:"signature"`
	Proof      []byte `json:"proof,omitempty"` // certificate of the key's record
}

// NewRound writes a round down.
func NewRound(cluster action.ClusterID, key []byte, height uint64, signature []byte) Round {
	random := bls.Randomness(signature)
	return Round{Scheme: SchemeBeacon, Cluster: hex.EncodeToString(cluster[:]), PublicKey: "0x" + hex.EncodeToString(key), Round: height,
		Randomness: hex.EncodeToString(random[:]), Signature: hex.EncodeToString(signature)}
}

// VerifyRound checks a file of a round under a public key that the caller
// knows to be the beacon's.
func VerifyRound(raw, key []byte) (*Round, error) {
	r, parts, err := parseRound(raw)
	if err == nil && !bytes.Equal(parts.key, key) {
		err = fmt.Errorf("the round is of another key, %s", r.PublicKey)
	}
	if err == nil {
		err = parts.check(r.Round)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	return r, nil
}

// VerifyProvenRound checks a file of a round against the genesis document: the
// file proves that the key is one of the cluster's beacons.
func VerifyProvenRound(raw, genesis []byte) (*Round, error) {
	v, err := newVerifier(genesis)
	if err != nil {
		return nil, err
	}
	r, parts, err := parseRound(raw)
	if err == nil {
		err = v.beaconKey(parts, r.Proof)
	}
	if err == nil {
		err = parts.check(r.Round)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	return r, nil
}

// roundParts are a round's fields as bytes.
type roundParts struct {
	cluster                    action.ClusterID
	key, signature, randomness []byte
}

func parseRound(raw []byte) (*Round, roundParts, error) {
	var parts roundParts
	if len(raw) > wire.MaxRound {
		return nil, parts, fmt.Errorf("%d bytes are over the limit of %d", len(raw), wire.MaxRound)
	}
	r := &Round{}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(r); err != nil {
		return nil, parts, fmt.Errorf("read round: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, parts, errors.New("read round: there is more after it")
	}
	if r.Scheme != SchemeBeacon {
		return nil, parts, fmt.Errorf("read round: scheme %q is unknown", r.Scheme)
	}
	var cluster []byte
	for _, f := range []struct {
		name, text string
		size       int
		to         *[]byte
	}{
		{"cluster", r.Cluster, len(parts.cluster), &cluster},
		{"public_key", strings.TrimPrefix(r.PublicKey, "0x"), bls.PublicKeySize, &parts.key},
		{"randomness", r.Randomness, 32, &parts.randomness},
		{"signature", r.Signature, bls.SignatureSize, &parts.signature},
	} {
		b, err := hex.DecodeString(f.text)
		if err != nil || len(b) != f.size {
			return nil, parts, fmt.Errorf("read round: %s is not %d bytes in hexadecimal", f.name, f.size)
		}
		*f.to = b
	}
	parts.cluster = action.ClusterID(cluster)
	return r, parts, nil
}

// check verifies the signature, and that the randomness is its hash.
func (p roundParts) check(height uint64) error {
	if !ledger.VerifyOutput(p.cluster, p.key, height, p.signature) {
		return fmt.Errorf("the key did not sign round %d so", height)
	}
	if random := bls.Randomness(p.signature); !bytes.Equal(random[:], p.randomness) {
		return errors.New("the randomness is not the signature's hash")
	}
	return nil
}

// beaconKey checks that the ledger holds the key for a beacon.
func (v *verifier) beaconKey(p roundParts, certificate []byte) error {
	if p.cluster != v.cluster {
		return fmt.Errorf("the round is of cluster %s", p.cluster)
	}
	if len(certificate) == 0 {
		return errors.New("no proof that the key is the cluster's (hint: get the round with --proof, or name the key)")
	}
	proven, err := v.certified(certificate, 1)
	if err != nil {
		return err
	}
	raw, ok := proven.Get(v.namespace.Key(string(action.DomainValidator), p.key))
	if !ok {
		return errors.New("the proof is not about this key")
	}
	key, err := action.ParseKeyRecord(raw)
	if err != nil {
		return err
	}
	if key.Use != action.UseBeacon {
		return fmt.Errorf("the ledger holds the key for %s", key.Use)
	}
	return nil
}
