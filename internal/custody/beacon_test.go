package custody

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/seal"
)

// beacon is a beacon's key in a world, and what the ledger says of it.
type beacon struct {
	*world
	ps     []*Process
	last   *stage
	key    [bls.PublicKeySize]byte
	record action.KeyRecord
}

// newBeacon has the processes make a beacon's key.
func newBeacon(t *testing.T, n int) *beacon {
	w := newWorld(t, n, nil)
	b := &beacon{world: w, ps: w.startAll()}
	p := w.params(dkg.ModeKeygen, 1)
	p.Hybrid, p.Use = false, action.UseBeacon
	b.last = w.openStage(p)
	b.last.run(n, b.last.plain(b.ps))
	b.committed(b.last)
	return b
}

// committed puts the key's record on the ledger as a ceremony left it.
func (b *beacon) committed(s *stage) {
	b.t.Helper()
	result, err := dkg.ReadResult(s.board, s.source)
	if err != nil {
		b.t.Fatal(err)
	}
	p := s.board.Params()
	b.last, b.key = s, [bls.PublicKeySize]byte(result.PublicKey(0))
	b.record = action.KeyRecord{Domain: action.DomainValidator, Curve: action.CurveBLS12381G1, PublicKey: b.key[:], State: action.KeyActive, Use: action.UseBeacon,
		Provenance: action.ProvenanceDealt, Epoch: p.Epoch, T: uint16(p.T), N: uint16(p.N), Without: uint32(p.Without), Commitment: result.Commitment(0)}
	b.publish()
}

func (b *beacon) path() proof.Path { return ns.Key(string(action.DomainValidator), b.key[:]) }
func (b *beacon) publish()         { b.ledger.Set(b.path(), b.record.Encode()) }

func (b *beacon) request(height uint64, cert []byte) RoundRequest {
	return RoundRequest{Key: b.key, Epoch: b.record.Epoch, Height: height, Certificate: cert}
}

// output combines the round's partials of some processes.
func (b *beacon) output(ps []*Process, height uint64) bls.Signature {
	b.t.Helper()
	cert := b.certify(b.path())
	var partials []bls.Partial
	for _, p := range ps {
		answer, err := ParseSignResponse(b.must(p, MethodRound, b.request(height, cert).Encode()))
		if err != nil {
			b.t.Fatal(err)
		}
		partial, err := bls.ParsePartial(answer.Partial[:])
		if err != nil {
			b.t.Fatal(err)
		}
		partials = append(partials, partial)
	}
	sig, err := bls.Combine(int(b.record.T), partials)
	pk, err2 := bls.ParsePublicKey(b.key[:])
	if err != nil || err2 != nil || !bls.Verify(pk, bls.NewRound(b.cluster, height), sig) {
		b.t.Fatalf("%d partials make no output of height %d: %v, %v", len(ps), height, err, err2)
	}
	return sig
}

// A round has one output, whoever makes it, in whichever epoch, before and
// after a restart. What the shares are for stands in their seals.
func TestBeaconGoesOn(t *testing.T) {
	b := newBeacon(t, 5)
	for i, p := range b.ps {
		if got := kinds(p); got[seal.KindBeacon] != 1 || len(got) != 1 {
			t.Errorf("seat %d keeps %v", i+1, got)
		}
		if s, _ := p.record.Status(b.key); s.Registered {
			t.Errorf("seat %d has the key in its slashing record", i+1)
		}
	}
	want := b.output(b.ps[:4], 2)
	if b.output(b.ps[1:], 2) != want {
		t.Error("other holders make another output")
	}
	b.ps[0] = b.restart(b.ps[0])
	if b.output(b.ps[:4], 2) != want {
		t.Error("another output after a restart")
	}
	for _, mode := range []dkg.Mode{dkg.ModeRefresh, dkg.ModeReshare} {
		name := mode.String()
		s := b.renew(b.last, func(p *dkg.Params) {
			if p.Mode, p.Use = mode, action.UseBeacon; mode == dkg.ModeReshare { // seat 1 leaves
				p.Without, p.T = dkg.Seats(0).With(1), 3
			}
		})
		if mode == dkg.ModeReshare {
			s.handover = action.Handover{Held: uint32(seats(1, 5)), Left: uint32(dkg.Seats(0).With(1))}
		}
		was := b.request(2, nil)
		s.goOn(s.plain(b.ps))
		if s.board.Phase() != dkg.PhaseDone || len(s.board.Faults()) != 0 {
			t.Fatalf("%s ended %s: %v", name, s.board.Phase(), s.board.Faults())
		}
		b.committed(s)
		if b.output(b.ps[1:], 2) != want {
			t.Errorf("another output after a %s", name)
		}
		was.Certificate = b.certify(b.path())
		for i, p := range b.ps {
			if _, err := ask(p, MethodRound, was.Encode()); err == nil {
				t.Errorf("seat %d signs in the epoch before the %s", i+1, name)
			}
			_, err := b.sign(p, b.key, eth.Duty{Fork: b.fork(), Message: &eth.RandaoReveal{Epoch: 1}}, nil)
			if err == nil {
				t.Errorf("seat %d signs a duty after a %s", i+1, name)
			}
		}
	}
	if got := kinds(b.ps[0]); got[seal.KindBeacon] != 0 || got[seal.KindHandover] != 1 {
		t.Errorf("who has left keeps %v", got)
	}
}

// Whatever a node says that was taken over: a beacon's key signs rounds of
// heights that are final, and no other key signs one.
func TestBeaconCrossings(t *testing.T) {
	b := newBeacon(t, 4)
	p := b.ps[0]
	validator := b.give(p, "validator")
	good := b.certify(b.path())
	height := b.ledger.Height()
	b.must(p, MethodRound, b.request(height, good).Encode())

	round := func(what string, want rpc.Code, r RoundRequest) {
		t.Helper()
		_, err := ask(p, MethodRound, r.Encode())
		refused(t, what, err, want)
	}
	round("a height that is not final", rpc.CodeNotGranted, b.request(height+1, good))
	round("the last height there can be", rpc.CodeNotGranted, b.request(1<<64-1, good))
	round("no certificate", rpc.CodeMalformed, b.request(height, nil))
	forged := bytes.Clone(good)
	forged[len(forged)/2] ^= 1
	if _, err := ask(p, MethodRound, b.request(height, forged).Encode()); err == nil {
		t.Error("a forged certificate is believed")
	}
	round("a certificate of something else", rpc.CodeNotGranted, b.request(height, b.certify(ns.Key(string(action.DomainValidator), validator[:]))))
	other := b.request(height, good)
	other.Epoch++
	round("another epoch", rpc.CodeEpoch, other)
	other = b.request(height, good)
	other.Key[0] ^= 1
	round("no such key", rpc.CodeUnknownKey, other)

	// The validator's key, under the best certificate that a ledger could give.
	lying := b.record
	lying.PublicKey, lying.Commitment, lying.T = validator[:], validator[:], 1
	path := ns.Key(string(action.DomainValidator), validator[:])
	b.ledger.Set(path, lying.Encode())
	round("a round of a validator's key", rpc.CodeNotGranted, RoundRequest{Key: validator, Height: 1, Certificate: b.certify(path)})

	for _, state := range []action.KeyState{action.KeyGenerated, action.KeyFrozen, action.KeyArchived, action.KeyRevoked, action.KeyDestroyed} {
		b.record.State = state
		b.publish()
		round("a key that is "+state.String(), rpc.CodeNotGranted, b.request(1, b.certify(b.path())))
	}
	b.record.State, b.record.Use = action.KeyActive, action.UseDuties
	b.publish()
	round("a record that says duties", rpc.CodeNotGranted, b.request(1, b.certify(b.path())))

	// And no duty of a beacon's key: neither of a kind that needs no proof, nor
	// with all the proof that there is, of a ledger that holds it for a validator's.
	for _, duty := range []eth.Duty{
		b.attestation(1, 2, 1), b.block(64, 1),
		{Fork: b.fork(), Message: &eth.RandaoReveal{Epoch: 1}},
		{Message: &eth.ValidatorRegistration{Pubkey: eth.BLSPubkey(b.key)}},
		{Fork: b.fork(), Message: &eth.VoluntaryExit{Epoch: 7}},
		{Message: &eth.Deposit{DepositMessage: eth.DepositMessage{Pubkey: eth.BLSPubkey(b.key), Amount: 32e9}}},
	} {
		paths := []proof.Path{b.path()}
		if rule := RuleOf(duty.Kind()); rule != "" {
			a := action.Action{Rule: rule, Domain: action.DomainValidator, PublicKey: b.key[:], Duty: eth.EncodeDuty(duty)}
			hash := a.Hash(b.cluster)
			g := action.Grant{Request: action.Request{Action: a.Encode(), By: "node/node0"}, Height: 1, Expires: uint64(b.ledger.Time().Add(time.Minute).UnixMilli())}
			b.ledger.Set(ns.Grant(hash[:]), g.Encode())
			paths = append(paths, ns.Grant(hash[:]))
		}
		for _, cert := range [][]byte{nil, b.certify(paths...)} {
			_, err := b.sign(p, b.key, duty, cert)
			refused(t, fmt.Sprintf("a %s of a beacon's key", duty.Kind()), err, rpc.CodeNotGranted)
		}
	}
}

// A certificate that is no longer fresh releases nothing: what it says of the
// key may have changed.
func TestRoundNeedsTheNewestLedger(t *testing.T) {
	b := newBeacon(t, 4)
	p := b.ps[0]
	old := b.certify(b.path())
	b.must(p, MethodRound, b.request(1, old).Encode())
	b.anchor(p)
	_, err := ask(p, MethodRound, b.request(1, old).Encode())
	refused(t, "a certificate from before the anchor", err, rpc.CodeNotGranted)
}

// A ceremony that would make shares for duties of a beacon's key, or the other
// way round, has no dealer: holders deal a share only as what it is for.
func TestUseOutlivesCeremonies(t *testing.T) {
	b := newBeacon(t, 4)
	duties, _ := b.made(b.ps, 1)
	for name, s := range map[string]*stage{
		"a beacon's for duties": b.renew(b.last, func(p *dkg.Params) { p.Use = action.UseDuties }),
		"a duty's for a beacon": b.renew(duties, func(p *dkg.Params) { p.Use = action.UseBeacon }),
	} {
		for range 6 {
			for i, p := range b.ps {
				r, err := s.step(p, s.cert())
				if err == nil {
					s.post(r.Posts)
				}
				if n := kinds(p)[seal.KindNext]; n != 0 {
					t.Fatalf("%s: seat %d keeps %d new shares", name, i+1, n)
				}
			}
			s.tick(1001)
		}
		if s.board.Phase() != dkg.PhaseAborted {
			t.Errorf("%s: the ceremony is in %s", name, s.board.Phase())
		}
	}
}

func FuzzParseRoundRequest(f *testing.F) {
	f.Add(RoundRequest{Key: [48]byte{1}, Epoch: 1, Height: 2, Certificate: []byte("c")}.Encode())
	f.Add(RoundRequest{}.Encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		if r, err := ParseRoundRequest(raw); err == nil && !bytes.Equal(r.Encode(), raw) {
			t.Error("it encodes to something else")
		}
	})
}
