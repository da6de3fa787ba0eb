package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/ledger/ledgertest"
	"github.com/quorate/quorate/internal/wire"
)

// bodies returns one transaction body of every kind.
func bodies(c *ledgertest.Cluster) map[action.Kind][]byte {
	key := bytes.Repeat([]byte{1}, 48)
	p := c.Params(2, 1)
	join := c.Participant(p, 1).Join().Encode()
	id, anchor := c.Life(2, action.Anchor{Sequence: 7, Chain: [32]byte{1}})
	stop, marks := c.Stop(2, p.ID(), 1, []action.Ceiling{{Slot: 1, Source: 2, Target: 3}})
	return map[action.Kind][]byte{
		action.KindFreshness:       Freshness{Domain: action.DomainValidator, Nonce: [32]byte{1}}.Encode(),
		action.KindRequest:         CeremonyOpen{Params: ledgertest.Import(p, 1, [][]byte{key, key}), Purpose: "why", Keys: [][]byte{key, key}}.Encode(),
		action.KindCeremonyMessage: CeremonyMessage{Ceremony: p.ID(), Seat: 1, Message: join, Signature: c.Say(p.ID(), 1, join)}.Encode(),
		action.KindUsage:           UsageReport{Domain: action.DomainValidator, Incarnation: [16]byte{1}, Sequence: 7, Keys: [][]byte{key}}.Encode(),
		action.KindDecision:        action.Decision{Request: [32]byte{1}, Action: [32]byte{2}, Verdict: action.Veto}.Encode(),
		action.KindAssembly:        AssemblyMessage{Ceremony: p.ID(), Seat: 4096, Message: join, Signature: []byte{1}}.Encode(),
		action.KindAssemblySeal:    AssemblySeal{Ceremony: p.ID(), Seat: 1, Signature: []byte{1}}.Encode(),
		action.KindTick:            Tick{}.Encode(),
		action.KindOutput:          RoundOutput{Height: 1, Signature: [96]byte{2}}.Encode(),
		action.KindRegistration:    Registration{Domain: action.DomainValidator, ID: id, Anchor: anchor}.Encode(),
		action.KindStop:            Stopped{Domain: action.DomainValidator, Ceremony: p.ID(), Stop: stop, Marks: marks}.Encode(),
		action.KindLease:           Lease{Domain: action.DomainValidator, ID: id, Source: 9, Anchor: anchor}.Encode(),
	}
}

// reencode is what Parse read, encoded again.
func reencode(tx *Tx) []byte { return tx.body.(interface{ Encode() []byte }).Encode() }

func TestParse(t *testing.T) {
	c := ledgertest.New(t, 4)
	all := bodies(c)
	for _, kind := range slices.Sorted(maps.Keys(all)) {
		raw := c.Tx(node0, kind, all[kind])
		tx, err := Parse(raw)
		if err != nil {
			t.Fatalf("kind %d: %v", kind, err)
		}
		if !bytes.Equal(reencode(tx), all[kind]) {
			t.Errorf("kind %d changes when it is parsed", kind)
		}
		if tx.Hash() != sha256.Sum256(raw) {
			t.Errorf("kind %d: wrong hash", kind)
		}
		// Trailing and missing bytes of the body.
		for _, body := range [][]byte{append(bytes.Clone(all[kind]), 0), all[kind][:max(len(all[kind]), 1)-1]} {
			if len(all[kind]) == 0 && len(body) == 0 {
				continue
			}
			if _, err := Parse(c.Tx(node0, kind, body)); err == nil || err.(*Error).Code != CodeMalformed {
				t.Errorf("kind %d with %d instead of %d bytes: %v", kind, len(body), len(all[kind]), err)
			}
		}
	}
	for _, kind := range []action.Kind{0, 9, 1 << 15} {
		if _, err := Parse(c.Tx(node0, kind, nil)); err == nil {
			t.Errorf("kind %d is known", kind)
		}
	}
}

func FuzzParse(f *testing.F) {
	c := ledgertest.New(f, 4)
	f.Add(uint16(action.KindRequest), Ask{Action: &action.Action{Rule: action.RuleAssembly}, Seats: []byte{1}}.Encode())
	for kind, body := range bodies(c) {
		f.Add(uint16(kind), body)
	}
	f.Fuzz(func(t *testing.T, kind uint16, body []byte) {
		tx, err := Parse(c.Numbered(node0, 1, action.Kind(kind), body))
		if err == nil && !bytes.Equal(reencode(tx), body) {
			t.Fatalf("kind %d: parse then encode changed %x", kind, body)
		}
	})
}

func FuzzParseEnvelope(f *testing.F) {
	c := ledgertest.New(f, 4)
	for kind, body := range bodies(c) {
		f.Add(c.Numbered(node0, 3, kind, body))
	}
	w := newWorld(f, 4)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if tx, err := Parse(raw); err == nil {
			w.view().Verify(tx, nil) // any answer, no panic
		}
	})
}

func TestVerify(t *testing.T) {
	w := newWorld(t, 4)
	good := action.Tx{Cluster: w.ID, Kind: action.KindTick, Signer: node0, Nonce: 1}
	sign := func(tx action.Tx, key ident.PrivateKey) []byte { return tx.Sign(key) }
	for name, c := range map[string]struct {
		code Code
		raw  func(tx action.Tx) []byte
	}{
		"node":   {OK, func(tx action.Tx) []byte { return sign(tx, w.Keys[node0]) }},
		"member": {OK, func(tx action.Tx) []byte { tx.Signer = alice; return sign(tx, w.Keys[alice]) }},
		"another cluster's id": {CodeCluster, func(tx action.Tx) []byte {
			tx.Cluster[0] ^= 1
			return sign(tx, w.Keys[node0])
		}},
		"signed for another cluster": {CodeSigner, func(tx action.Tx) []byte {
			tx.Cluster[31] ^= 1
			raw := sign(tx, w.Keys[node0])
			raw[32] ^= 1 // version, then the cluster
			return raw
		}},
		"unknown node": {CodeSigner, func(tx action.Tx) []byte {
			tx.Signer.Name = "node99"
			return sign(tx, w.Keys[node0])
		}},
		"member as node": {CodeSigner, func(tx action.Tx) []byte {
			tx.Signer.Name = alice.Name
			return sign(tx, w.Keys[alice])
		}},
		"another node's key": {CodeSigner, func(tx action.Tx) []byte { return sign(tx, w.Keys[node1]) }},
		"custody's key":      {CodeSigner, func(tx action.Tx) []byte { return sign(tx, w.Custody[0]) }},
		"another member's key": {CodeSigner, func(tx action.Tx) []byte {
			tx.Signer = alice
			return sign(tx, w.Keys[olga])
		}},
		"half a hybrid signature": {CodeSigner, func(tx action.Tx) []byte {
			tx.Signer = alice
			sign(tx, w.Keys[alice])
			raw := sign(tx, w.Keys[alice])
			body := len(raw) - ident.MaxSignature
			e := wire.NewEncoder(bytes.Clone(raw[:body-4]))
			e.Bytes(append([]byte{byte(ident.Ed25519)}, raw[body+1:body+65]...))
			return e.Out()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			tx, err := Parse(c.raw(good))
			if err != nil {
				t.Fatal(err)
			}
			seen := new(Seen)
			for range 2 { // what failed once is not remembered as good
				_, err = w.view().Verify(tx, seen)
				if got := codeOf(err); got != c.code {
					t.Fatalf("got %s (%v), want %s", got, err, c.code)
				}
			}
		})
	}
	// A bit flipped anywhere is refused, by shape or by signature.
	raw := w.Tx(node0, action.KindFreshness, Freshness{Domain: action.DomainValidator}.Encode())
	for i := range raw {
		bent := bytes.Clone(raw)
		bent[i] ^= 1 << (i % 8)
		if r := carry(w.view(), w.block, bent); r.Code == OK {
			t.Fatalf("bit %d of byte %d flipped is accepted", i%8, i)
		}
	}
}

func codeOf(err error) Code {
	if err == nil {
		return OK
	}
	return err.(*Error).Code
}

func TestReplay(t *testing.T) {
	w := newWorld(t, 4)
	raw := w.Tx(node0, action.KindTick, nil)
	if r := w.next(raw, raw); r[0].Code != OK || r[1].Code != CodeNonce {
		t.Fatalf("twice in a block: %v", r)
	}
	w.want(CodeNonce, raw)
	w.want(CodeNonce, w.Numbered(node0, 1, action.KindFreshness, Freshness{Domain: action.DomainValidator}.Encode()))
	w.want(OK, w.Numbered(node1, 1, action.KindTick, nil)) // numbers are each signer's own

	// Two transactions that both verified before the block cannot both count.
	s := w.view()
	a, b := w.verified(s, w.Numbered(node0, 5, action.KindTick, nil)), w.verified(s, w.Numbered(node0, 5, action.KindFreshness, Freshness{Domain: action.DomainValidator}.Encode()))
	if r := s.Apply(w.block, a); r.Code != OK {
		t.Fatal(r)
	}
	if before := digest(s); s.Apply(w.block, b).Code != CodeNonce || digest(s) != before {
		t.Fatal("a number counted twice")
	}
}

func (w *world) verified(s *State, raw []byte) VerifiedTx {
	w.Helper()
	tx, err := Parse(raw)
	if err != nil {
		w.Fatal(err)
	}
	v, err := s.Verify(tx, nil)
	if err != nil {
		w.Fatal(err)
	}
	return v
}

// The window against a set of all numbers ever used.
func TestNonceWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w nonceWindow
		used, top := map[uint64]bool{}, uint64(0)
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			n := rapid.OneOf(
				rapid.Uint64Range(max(top, 70)-70, top+70),
				rapid.Uint64Range(1, top+1<<33),
				rapid.Uint64Min(1),
			).Draw(t, "n")
			n = max(n, 1) // Parse refuses 0
			want := !used[n] && (n > top && n-top <= 1<<32 || n <= top && top-n < 64)
			if got := w.fresh(n); got != want {
				t.Fatalf("%d is fresh: %t, want %t; top %d", n, got, want, top)
			}
			if want {
				w = w.use(n)
				used[n], top = true, max(top, n)
			}
		}
	})
}

// A cache of signatures forgets, and never lies.
func TestSeen(t *testing.T) {
	seen, good := new(Seen), func(i uint64) bool { return i%3 != 0 }
	asked := 0
	check := func(i uint64) bool {
		var id [32]byte
		binary.BigEndian.PutUint64(id[:], i)
		return seen.check(id, signed, nil, func() bool { asked++; return good(i) })
	}
	const n = 3 * maxSeen
	for i := range uint64(n) {
		if check(i) != good(i) || good(i) && !check(i) {
			t.Fatalf("wrong answer for %d", i)
		}
	}
	if len(seen.young)+len(seen.old) > 2*maxSeen {
		t.Fatalf("remembers %d", len(seen.young)+len(seen.old))
	}
	asked = 0
	for i := uint64(n - 1); i >= n-maxSeen; i-- {
		if good(i) && !check(i) {
			t.Fatalf("wrong answer for %d", i)
		}
	}
	if asked != 0 {
		t.Fatalf("%d of the last %d were forgotten", asked, maxSeen)
	}
}

// The largest honest transactions fit.
func TestLimits(t *testing.T) {
	c := ledgertest.New(t, wire.MaxNodes)
	key := func(i int) []byte { return binary.BigEndian.AppendUint64(make([]byte, 40), uint64(i)) }
	var keys [][]byte
	for i := range wire.MaxKeysPerBatch {
		keys = append(keys, key(i))
	}
	long := string(bytes.Repeat([]byte{'x'}, wire.MaxName))
	p := ledgertest.Import(c.Params(1, 1), 1, keys)
	chunk := &dkg.Chunk{CID: p.ID(), Body: make([]byte, wire.MaxChunk)}
	for name, raw := range map[string][]byte{
		"import of a full batch": c.Tx(alice, action.KindRequest, CeremonyOpen{Params: p, Purpose: long, Keys: keys}.Encode()),
		"a full chunk": c.Tx(alice, action.KindCeremonyMessage, CeremonyMessage{Message: chunk.Encode(),
			Signature: make([]byte, ident.MaxSignature)}.Encode()),
		"a full report": c.Tx(alice, action.KindUsage, UsageReport{Domain: action.Domain(long), Keys: keys[:MaxUsageKeys]}.Encode()),
	} {
		if _, err := Parse(raw); err != nil || len(raw) > wire.MaxTx {
			t.Errorf("%s, %d bytes: %v", name, len(raw), err)
		}
	}
	keys = append(keys, key(-1))
	if _, err := Parse(c.Tx(alice, action.KindRequest, CeremonyOpen{Params: p, Keys: keys}.Encode())); err == nil {
		t.Error("more keys than a batch has")
	}
	if _, err := Parse(c.Tx(alice, action.KindUsage, UsageReport{Keys: keys[:MaxUsageKeys+1]}.Encode())); err == nil {
		t.Error("more keys than a report has")
	}
}
