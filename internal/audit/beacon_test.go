package audit_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/audit"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/ledger/ledgertest"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/proof/prooftest"
)

// beaconVectors are files that module verify judges, too.
const beaconVectors = "../../spec/vectors/beacon"

// verdicts say what is to become of a file, under the key alone and against
// the genesis.
type verdicts struct {
	Key     bool `json:"key"`
	Genesis bool `json:"genesis"`
}

// chain is a ledger that holds a beacon's key and a validator's.
type chain struct {
	*prooftest.Ledger
	doc    []byte
	share  bls.Share
	key    []byte
	beacon proof.Path
}

func newChain(t testing.TB) *chain {
	t.Helper()
	c := &chain{Ledger: prooftest.New(4)}
	g := ledgertest.New(t, 4).Genesis
	for i := range g.Nodes {
		g.Nodes[i].Vote = action.HexKey(prooftest.Key(i).Public().(ed25519.PublicKey))
	}
	var err error
	if c.doc, err = json.Marshal(g); err != nil {
		t.Fatal(err)
	}
	_, id, err := action.ParseGenesis(c.doc)
	if err != nil {
		t.Fatal(err)
	}
	c.Cluster, c.ChainID = id, id.ChainID()
	if c.share, err = bls.NewShare(1, &[bls.ScalarSize]byte{31: 7}); err != nil {
		t.Fatal(err)
	}
	pk := c.share.PublicShare().Bytes()
	c.key, c.beacon = pk[:], proof.Root.Key(string(action.DomainValidator), pk[:])
	c.Set(c.beacon, c.record(action.UseBeacon).Encode())
	c.Set(proof.Root.Beacon(), c.key)
	c.Block(time.Minute)
	return c
}

func (c *chain) record(use action.Use) *action.KeyRecord {
	return &action.KeyRecord{Domain: action.DomainValidator, Curve: action.CurveBLS12381G1, PublicKey: c.key, State: action.KeyActive, Use: use,
		Provenance: action.ProvenanceDealt, Owner: "op0", Purpose: "beacon", T: 1, N: 4, Commitment: c.key, Created: 3}
}

// round is the output of a height, with a proof of paths where there are any.
func (c *chain) round(t testing.TB, height uint64, paths ...proof.Path) audit.Round {
	t.Helper()
	sig, err := bls.Combine(1, []bls.Partial{c.share.SignRound(bls.NewRound(c.Cluster, height))})
	if err != nil {
		t.Fatal(err)
	}
	raw := sig.Bytes()
	r := audit.NewRound(c.Cluster, c.key, height, raw[:])
	if len(paths) > 0 {
		r.Proof = encode(t, c.Certify(0, paths...))
	}
	return r
}

func (c *chain) files(t testing.TB) (files map[string][]byte, want map[string]verdicts) {
	files, want = map[string][]byte{}, map[string]verdicts{}
	add := func(name string, r any, v verdicts) {
		raw, ok := r.([]byte)
		if !ok {
			var err error
			if raw, err = json.MarshalIndent(r, "", "  "); err != nil {
				t.Fatal(err)
			}
			raw = append(raw, '\n')
		}
		files[name], want[name] = raw, v
	}
	bent := func(name string, edit func(*audit.Round)) {
		r := c.round(t, 12, c.beacon)
		edit(&r)
		add(name, r, verdicts{})
	}
	plain, proven := c.round(t, 12), c.round(t, 12, c.beacon)
	add("plain", plain, verdicts{Key: true})
	add("proven", proven, verdicts{true, true})
	add("last", c.round(t, 1<<64-1, c.beacon), verdicts{true, true})
	bent("other-height", func(r *audit.Round) { r.Round++ })
	bent("other-signature", func(r *audit.Round) { r.Signature = c.round(t, 13).Signature })
	bent("other-output", func(r *audit.Round) {
		o := c.round(t, 13)
		r.Signature, r.Randomness = o.Signature, o.Randomness
	})
	bent("other-randomness", func(r *audit.Round) { r.Randomness = c.round(t, 13).Randomness })
	bent("other-cluster", func(r *audit.Round) { r.Cluster = strings.Repeat("5a", 32) })
	bent("other-scheme", func(r *audit.Round) { r.Scheme = "quorate-beacon-v2" })
	bent("no-signature", func(r *audit.Round) { r.Signature = "c0" + strings.Repeat("00", 95) })
	bent("short-signature", func(r *audit.Round) { r.Signature = r.Signature[2:] })
	bent("no-key", func(r *audit.Round) { r.PublicKey = "0xc0" + strings.Repeat("00", 47) })
	raw, _ := json.Marshal(proven)
	add("more-after", append(slices.Clone(raw), "{}"...), verdicts{})
	add("unknown-field", bytes.Replace(raw, []byte(`"scheme"`), []byte(`"mood":1,"scheme"`), 1), verdicts{})
	add("cut", raw[:len(raw)-1], verdicts{})

	// Each is signed by the key, and by the validators.
	add("proof-of-the-pointer", c.round(t, 12, proof.Root.Beacon()), verdicts{Key: true})
	add("proof-of-two", c.round(t, 12, c.beacon, proof.Root.Beacon()), verdicts{Key: true})
	add("proof-of-nothing", c.round(t, 12, proof.Root.Key(string(action.DomainValidator), make([]byte, 48))), verdicts{Key: true})
	damaged := c.round(t, 12, c.beacon)
	damaged.Proof[len(damaged.Proof)-1] ^= 1
	add("proof-damaged", damaged, verdicts{Key: true})
	c.Set(c.beacon, c.record(action.UseDuties).Encode())
	c.Block(time.Minute)
	add("proof-of-a-validators-key", c.round(t, 12, c.beacon), verdicts{Key: true})
	c.Set(c.beacon, c.record(action.UseBeacon).Encode())
	c.Replace([]ed25519.PrivateKey{prooftest.Key(9)})
	c.Block(time.Minute)
	c.Block(time.Minute)
	add("proven-by-later-validators", c.round(t, 12, c.beacon), verdicts{true, true})
	unlinked := c.round(t, 12, c.beacon)
	unlinked.Proof = encode(t, c.Certify(c.Height(), c.beacon))
	add("proven-by-strangers", unlinked, verdicts{Key: true})
	return files, want
}

// TestBeaconVectors holds the files in spec/vectors to what is written and
// judged here.
func TestBeaconVectors(t *testing.T) {
	c := newChain(t)
	files, want := c.files(t)
	for name, raw := range files {
		_, err1 := audit.VerifyRound(raw, c.key)
		_, err2 := audit.VerifyProvenRound(raw, c.doc)
		if got := (verdicts{err1 == nil, err2 == nil}); got != want[name] {
			t.Errorf("%s: %+v (%v, %v), want %+v", name, got, err1, err2, want[name])
		}
		for _, err := range []error{err1, err2} {
			if err != nil && !errors.Is(err, audit.ErrEvidence) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := audit.VerifyRound(raw, make([]byte, 48)); err == nil {
			t.Errorf("%s: accepted under another key", name)
		}
		if _, err := audit.VerifyProvenRound(raw, append(slices.Clone(c.doc), ' ')); err == nil {
			t.Errorf("%s: accepted under another genesis", name)
		}
	}
	index, err := json.MarshalIndent(map[string]any{"public_key": "0x" + hex.EncodeToString(c.key), "verdicts": want}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{"genesis.json": c.doc, "verdicts.json": append(index, '\n')}
	for name, raw := range files {
		all["rounds/"+name+".json"] = raw
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		path := filepath.Join(beaconVectors, name)
		if *update {
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, all[name], 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		if old, err := os.ReadFile(path); err != nil || !bytes.Equal(old, all[name]) {
			t.Errorf("%s differs: %v (if it is meant: go test ./internal/audit -run TestBeaconVectors -update)", name, err)
		}
	}
}

func FuzzVerifyRound(f *testing.F) {
	c := newChain(f)
	for _, r := range []audit.Round{c.round(f, 12), c.round(f, 12, c.beacon)} {
		raw, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	good := map[uint64]string{12: c.round(f, 12).Randomness}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := audit.VerifyRound(in, c.key)
		if err == nil && !strings.EqualFold(r.Randomness, good[r.Round]) {
			t.Fatalf("forged %s", in)
		}
	})
}
