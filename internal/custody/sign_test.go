package custody

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/durable/durabletest"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/slashing"
	"github.com/quorate/quorate/internal/wire"
)

// Exits and deposits need a grant for exactly these bytes, of this key, that
// has not run out.
func TestWhatIsNoDutyNeedsItsGrant(t *testing.T) {
	w := newWorld(t, 4, nil)
	p := w.start(0)
	key, other := w.give(p, "key"), w.give(p, "other key")
	exit := eth.Duty{Fork: w.fork(), Message: &eth.VoluntaryExit{Epoch: 7, ValidatorIndex: 1}}
	deposit := eth.Duty{Message: &eth.Deposit{DepositMessage: eth.DepositMessage{Pubkey: eth.BLSPubkey(key), Amount: 32e9}}}
	for _, duty := range []eth.Duty{exit, deposit} {
		kind := duty.Kind()
		rule := RuleOf(kind)
		// grant puts a grant on the ledger, at the path of the action that is
		// asked for, and proves it.
		grant := func(edit func(*action.Action, *action.Grant)) []byte {
			asked := action.Action{Rule: rule, Domain: action.DomainValidator, PublicKey: key[:], Duty: eth.EncodeDuty(duty)}
			hash := asked.Hash(w.cluster)
			granted := asked
			g := action.Grant{Request: action.Request{By: "node/node0"}, Height: 1, Expires: uint64(w.ledger.Time().Add(time.Minute).UnixMilli())}
			if edit != nil {
				edit(&granted, &g)
			}
			g.Action = granted.Encode()
			w.ledger.Set(ns.Grant(hash[:]), g.Encode())
			defer w.ledger.Delete(ns.Grant(hash[:]))
			return w.certify(ns.Grant(hash[:]))
		}
		later := duty
		if kind == eth.KindVoluntaryExit {
			later.Message = &eth.VoluntaryExit{Epoch: 8, ValidatorIndex: 1}
		} else {
			later.Message = &eth.Deposit{DepositMessage: eth.DepositMessage{Pubkey: eth.BLSPubkey(key), Amount: 33e9}}
		}
		for name, cert := range map[string][]byte{
			"no grant":     nil,
			"absent grant": w.certify(ns.Grant(bytes.Repeat([]byte{7}, 32))),
			"another key":  grant(func(a *action.Action, _ *action.Grant) { a.PublicKey = other[:] }),
			"another duty": grant(func(a *action.Action, _ *action.Grant) { a.Duty = eth.EncodeDuty(later) }),
			"another rule": grant(func(a *action.Action, _ *action.Grant) { a.Rule = action.RuleArchive }),
			"run out": grant(func(_ *action.Action, g *action.Grant) {
				g.Expires = uint64(w.ledger.Time().UnixMilli())
			}),
		} {
			_, err := w.sign(p, key, duty, cert)
			refused(t, fmt.Sprintf("%s, %s", kind, name), err, rpc.CodeNotGranted)
		}
		exact := grant(nil)
		w.signed(p, key, duty, exact)
		w.signed(p, key, duty, exact) // once more, the same bytes
		_, err := w.sign(p, other, duty, exact)
		refused(t, kind.String()+" with another key's grant", err, rpc.CodeNotGranted)
		_, err = w.sign(p, key, later, exact)
		refused(t, kind.String()+" with another duty's grant", err, rpc.CodeNotGranted)
	}
}

// What tells builders whom to pay says what the ledger holds for the key, or
// the cluster's default, or what the client likes where both are silent.
func TestSettingsBindRegistrations(t *testing.T) {
	mine, theirs := action.Address{1}, action.Address{2}
	gas := uint64(30_000_000)
	for name, c := range map[string]struct {
		defaults, own action.ProposerSettings
		state         action.KeyState
		recipient     action.Address
		gas           uint64
		want          rpc.Code
	}{
		"open":                    {recipient: theirs, gas: 1},
		"own recipient":           {own: action.ProposerSettings{FeeRecipient: &mine}, recipient: mine, gas: 1},
		"another recipient":       {own: action.ProposerSettings{FeeRecipient: &mine}, recipient: theirs, want: rpc.CodeNotGranted},
		"default recipient":       {defaults: action.ProposerSettings{FeeRecipient: &mine}, recipient: mine},
		"not the default":         {defaults: action.ProposerSettings{FeeRecipient: &mine}, recipient: theirs, want: rpc.CodeNotGranted},
		"own over default":        {defaults: action.ProposerSettings{FeeRecipient: &mine}, own: action.ProposerSettings{FeeRecipient: &theirs}, recipient: theirs},
		"default under own":       {defaults: action.ProposerSettings{FeeRecipient: &mine}, own: action.ProposerSettings{FeeRecipient: &theirs}, recipient: mine, want: rpc.CodeNotGranted},
		"gas limit":               {own: action.ProposerSettings{GasLimit: &gas}, gas: gas},
		"another gas limit":       {own: action.ProposerSettings{GasLimit: &gas}, gas: gas + 1, want: rpc.CodeNotGranted},
		"default gas limit":       {defaults: action.ProposerSettings{GasLimit: &gas}, gas: 1, want: rpc.CodeNotGranted},
		"key that was revoked":    {state: action.KeyRevoked, want: rpc.CodeNotGranted},
		"key that was archived":   {state: action.KeyArchived, want: rpc.CodeNotGranted},
		"key that is only there":  {state: action.KeyGenerated, want: rpc.CodeNotGranted},
		"key that was destroyed":  {state: action.KeyDestroyed, want: rpc.CodeNotGranted},
		"recipient and gas limit": {own: action.ProposerSettings{FeeRecipient: &mine, GasLimit: &gas}, recipient: mine, gas: gas},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, func(g *action.Genesis) { g.ProposerDefaults = c.defaults })
			p := w.start(0)
			key := w.give(p, "key")
			rec := &action.KeyRecord{Domain: action.DomainValidator, Curve: action.CurveBLS12381G1, PublicKey: key[:], State: c.state,
				Settings: c.own, T: 1, N: 1, Commitment: key[:]}
			if c.state == 0 {
				rec.State = action.KeyActive
			}
			path := ns.Key(string(action.DomainValidator), key[:])
			w.ledger.Set(path, rec.Encode())
			cert := w.certify(path)
			registration := &eth.ValidatorRegistration{FeeRecipient: eth.ExecutionAddress(c.recipient), GasLimit: c.gas, Pubkey: eth.BLSPubkey(key)}
			preferences := &eth.ProposerPreferences{FeeRecipient: eth.ExecutionAddress(c.recipient), TargetGasLimit: c.gas}
			for _, duty := range []eth.Duty{{Message: registration}, {Message: preferences, Fork: w.fork()}} {
				_, err := w.sign(p, key, duty, nil)
				refused(t, "without a proof", err, rpc.CodeNotGranted)
				_, err = w.sign(p, key, duty, w.certify(ns.Key(string(action.DomainValidator), make([]byte, 48))))
				refused(t, "with the proof of another key", err, rpc.CodeNotGranted)
				if c.want != 0 {
					_, err = w.sign(p, key, duty, cert)
					refused(t, name, err, c.want)
				} else {
					w.signed(p, key, duty, cert)
				}
			}
			registration.Pubkey[0] ^= 1
			_, err := w.sign(p, key, eth.Duty{Message: registration}, cert)
			refused(t, "for another validator", err, rpc.CodeMalformed)
		})
	}
}

// A validator's everyday duties need no proof, and what a duty is decides its
// content alone: no byte of it makes one kind pass for another.
func TestKindsAreNotConfused(t *testing.T) {
	w := newWorld(t, 1, nil)
	p := w.start(0)
	key := w.give(p, "key")
	_, err := w.sign(p, [48]byte{1}, w.block(1, 1), nil)
	refused(t, "an unknown key", err, rpc.CodeUnknownKey)

	duties := []eth.Duty{
		{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}},
		{Fork: w.fork(), Message: &eth.AggregationSlot{Slot: 2}},
		{Fork: w.fork(), Message: &eth.SyncCommitteeMessage{Slot: 2}},
		{Fork: w.fork(), Message: &eth.SyncAggregatorSelectionData{Slot: 2}},
		{Fork: w.fork(), Message: &eth.ContributionAndProof{Contribution: eth.SyncCommitteeContribution{AggregationBits: make([]byte, 16)}}},
		{Fork: w.fork(), Message: &eth.PayloadAttestationData{Slot: 2}},
		{Message: &eth.BuilderRequestAuth{Data: []byte("auth")}},
		w.attestation(w.epoch()-2, w.epoch(), 1),
		w.block(w.epoch()*32, 1),
	}
	roots := map[[32]byte]bool{}
	for _, duty := range duties {
		w.signed(p, key, duty, nil)
		encoded := eth.EncodeDuty(duty)
		for _, kind := range append(eth.Kinds(), 0, 17, 255) {
			if kind == duty.Kind() {
				continue
			}
			confused := bytes.Clone(encoded)
			confused[0] = byte(kind)
			raw, err := ask(p, MethodSign, SignRequest{Key: key, Duty: confused}.Encode())
			if err != nil {
				continue
			}
			// The bytes are a duty of the other kind, too: then it is that
			// duty which was signed, under its own domain.
			other, err := eth.DecodeDuty(confused)
			answer, _ := ParseSignResponse(raw)
			if err != nil || !kind.IsDuty() || BoundBySettings(kind) || !w.verifies(key, other, answer) || w.verifies(key, duty, answer) {
				t.Errorf("a %s was signed as a %s", duty.Kind(), kind)
			}
		}
		root, err := duty.SigningRoot(w.network)
		if err != nil || roots[root.Bytes()] {
			t.Errorf("%s: root is another's, or %v", duty.Kind(), err)
		}
		roots[root.Bytes()] = true
	}

	foreign := duties[0]
	foreign.Fork.GenesisValidatorsRoot[0] ^= 1
	_, err = w.sign(p, key, foreign, nil)
	refused(t, "another network", err, rpc.CodeMalformed)
	for _, target := range []uint64{w.epoch() + 3, 1<<63 - 1, 1<<64 - 1} {
		_, err = w.sign(p, key, w.attestation(w.epoch(), target, 1), nil)
		refused(t, "a far target", err, rpc.CodeOutOfRange)
		_, err = w.sign(p, key, w.attestation(target, target, 1), nil)
		refused(t, "a far source", err, rpc.CodeOutOfRange)
		_, err = w.sign(p, key, w.attestation(target, w.epoch(), 1), nil)
		refused(t, "a far source of a near target", err, rpc.CodeOutOfRange)
		_, err = w.sign(p, key, w.block(target*32|31, 1), nil)
		refused(t, "a far slot", err, rpc.CodeOutOfRange)
	}
	if s := statusOf(t, p); s.Source > w.epoch() {
		t.Errorf("the ledger would be asked for a lease up to source %d", s.Source)
	}
	w.signed(p, key, w.attestation(w.epoch()-2, w.epoch()+1, 1), nil) // and the next real one signs
}

// However many ask at once for whatever contradicts each other, one partial
// leaves the process.
func TestConflictsRace(t *testing.T) {
	w := newWorld(t, 1, nil)
	p := w.start(0)
	key := w.give(p, "key")
	race := func(what string, duty func(i int) eth.Duty) {
		t.Helper()
		const racers = 32
		answers := make([]SignResponse, racers)
		errs := make([]error, racers)
		var all sync.WaitGroup
		for i := range racers {
			all.Go(func() { answers[i], errs[i] = w.sign(p, key, duty(i), nil) })
		}
		all.Wait()
		signed := 0
		for i, err := range errs {
			switch {
			case err != nil:
				refused(t, what, err, rpc.CodeSlashable)
			case !w.verifies(key, duty(i), answers[i]):
				t.Errorf("%s: a partial does not verify", what)
			default:
				signed++
			}
		}
		if signed != 1 {
			t.Errorf("%s: %d partials", what, signed)
		}
	}
	epoch, first := w.epoch(), (w.epoch()-4)*32
	for round := range uint64(8) {
		race("blocks", func(i int) eth.Duty { return w.block(first+round, byte(i)) })
	}
	race("votes", func(i int) eth.Duty { return w.attestation(epoch-5, epoch-3, byte(i)) })
	race("votes again", func(i int) eth.Duty { return w.attestation(epoch-3, epoch-1, byte(i)) })
	_, err := w.sign(p, key, w.attestation(epoch-4, epoch, 1), nil)
	refused(t, "a vote that surrounds", err, rpc.CodeSlashable)
	w.signed(p, key, w.attestation(epoch-3, epoch, 1), nil)

	_, err = ask(p, MethodStop, keyList([48]byte{9}, key))
	refused(t, "stop an unknown key and another", err, rpc.CodeUnknownKey)
	_, err = w.sign(p, key, eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{}}, nil)
	refused(t, "a key that was stopped beside an unknown one", err, rpc.CodeUnknownKey)
	w.must(p, MethodStop, keyList(key))
}

// A disk that fails while keys are stopped is not mistaken for a key that is not
// known here, in whatever order they come.
func TestStopTellsOfTheDisk(t *testing.T) {
	w, disks := newStopWorld(t, 1)
	p := w.start(0)
	key, stranger := w.give(p, "key"), [48]byte{9}
	disks[0].arm(1, false)
	for _, keys := range [][]byte{keyList(stranger, key), keyList(key, stranger)} {
		_, err := ask(p, MethodStop, keys)
		refused(t, "stop while the disk fails", err, rpc.CodeInternal)
	}
}

// No partial leaves the process when the record of its duty may not be on the
// disk, wherever the disk fails, and the process ends.
func TestNothingIsSignedWithoutItsRecord(t *testing.T) {
	w := newWorld(t, 1, nil)
	conf := slashingConfig("record", w.cluster, action.DomainValidator, w.network)
	for _, fault := range durabletest.Faults {
		for at := 1; ; at++ {
			disk := durabletest.NewDisk()
			conf.FS = disk
			if err := slashing.Init(conf); err != nil {
				t.Fatal(err)
			}
			p := w.start(0)
			p.record.Close()
			var err error
			if p.record, err = slashing.Open(conf); err != nil {
				t.Fatal(err)
			}
			key := [48]byte{}
			for k := range p.shares.keys() {
				key = k
			}
			if key == [48]byte{} {
				key = w.give(p, "key")
			} else if err := p.record.Register(key, slashing.History{Mode: slashing.HistoryNone}); err != nil {
				t.Fatal(err)
			}
			clear(p.life.older)
			before := disk.Ops()
			disk.Inject(at, fault)
			var signed []eth.Duty
			for slot := range uint64(6) {
				duty := w.block(w.epoch()*32-10+slot, 1)
				if answer, err := w.sign(p, key, duty, nil); err == nil {
					signed = append(signed, duty)
					if !w.verifies(key, duty, answer) {
						t.Fatal("a partial does not verify")
					}
				}
			}
			reached := disk.Ops()-before >= at
			if reached && len(signed) == 6 {
				t.Errorf("%s at operation %d: nobody noticed", fault, at)
			}
			if reached {
				<-p.record.Failed() // Run ends the process by it
			}
			p.close()
			// What was signed is on the disk, whatever a power failure takes.
			conf.FS = disk.Crash(durabletest.LoseUnsynced, nil)
			after, err := slashing.Open(conf)
			if err != nil {
				t.Fatalf("%s at operation %d: %v", fault, at, err)
			}
			if s, _ := after.Status(key); len(signed) > 0 && s.Block.Slot < signed[len(signed)-1].Message.(*eth.BeaconBlockHeader).Slot {
				t.Errorf("%s at operation %d: slot %d was signed, the disk says %d", fault, at, w.epoch()*32-10+uint64(len(signed)-1), s.Block.Slot)
			}
			after.Close()
			if !reached {
				break
			}
		}
	}
}

// Histories of keys that never come must not grow until the record cannot be
// opened, and no history lies ahead of the clock.
func TestImportedHistoryIsBounded(t *testing.T) {
	w := newWorld(t, 1, nil)
	p := w.start(0)
	key := w.give(p, "key")
	doc := func(slot, target uint64, keys ...[48]byte) []byte {
		ic := slashing.Interchange{Genesis: slashing.Root(*w.network.GenesisValidatorsRoot)}
		for _, k := range keys {
			ic.Keys = append(ic.Keys, slashing.KeyHistory{Key: k, Watermarks: slashing.Watermarks{
				Block: slashing.BlockMark{Known: true, Slot: slot}, Vote: slashing.VoteMark{Known: true, Source: target, Target: target}}})
		}
		raw, err := ic.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	strangers := make([][48]byte, maxStrangers)
	for i := range strangers {
		strangers[i] = [48]byte{1, byte(i >> 8), byte(i)}
	}
	for part := range slices.Chunk(strangers, maxStrangers/4) {
		w.must(p, MethodImportSlashing, w.bringIn(doc(1, 1, part...)))
	}
	_, err := ask(p, MethodImportSlashing, w.bringIn(doc(1, 1, [48]byte{2})))
	refused(t, "one stranger too many", err, rpc.CodeUnavailable)
	w.must(p, MethodImportSlashing, w.bringIn(doc(2, 2, key)))
	_, err = ask(p, MethodImportSlashing, w.bringIn(doc((w.epoch()+2)*32, 1, key)))
	refused(t, "a block of the future", err, rpc.CodeOutOfRange)
	_, err = ask(p, MethodImportSlashing, w.bringIn(doc(1, w.epoch()+2, key)))
	refused(t, "a vote of the future", err, rpc.CodeOutOfRange)
	_, err = ask(p, MethodImportSlashing, w.bringIn([]byte("{}")))
	refused(t, "no interchange", err, rpc.CodeMalformed)
	_, err = w.sign(p, key, w.block(2, 1), nil)
	refused(t, "a block of the imported past", err, rpc.CodeSlashable)

	p = w.restart(p)
	exported, err := slashing.ParseInterchange(w.must(p, MethodExportSlashing, keyList(key)))
	if err != nil || len(exported.Keys) != 1 || exported.Keys[0].Block.Slot != 2 || exported.Keys[0].Vote.Target != 2 {
		t.Errorf("exported %+v, %v", exported, err)
	}
	_, err = ask(p, MethodExportSlashing, keyList([48]byte{3}))
	refused(t, "the history of an unknown key", err, rpc.CodeUnknownKey)
}

// After a restart the disk may be an old one: what the incarnation before
// could sign is out of reach, until the others testify that the record is the
// last. Keys that a restored seed brings back are no exception.
func TestFloorsAndCeilings(t *testing.T) {
	w := newWorld(t, 4, nil)
	p := w.open(0)
	w.anchor(p)
	key := w.give(p, "key")
	now := w.epoch()
	_, err := w.sign(p, key, w.block(now*32, 1), nil)
	refused(t, "before the registration", err, rpc.CodeFenced)
	w.signed(p, key, eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: now}}, nil) // cannot be slashed
	low := action.Ceiling{Slot: now*32 - 1, Source: now - 2, Target: now - 1}
	w.leaseUpTo(p, action.Incarnation{Number: 1, ID: p.life.id, Ceiling: low})
	_, err = w.sign(p, key, w.block(now*32, 1), nil)
	refused(t, "above the ceiling", err, rpc.CodeFenced)
	_, err = w.sign(p, key, w.attestation(now-2, now, 1), nil)
	refused(t, "a target above the ceiling", err, rpc.CodeFenced)
	_, err = w.sign(p, key, w.attestation(now-1, now-1, 1), nil)
	refused(t, "a source above the ceiling", err, rpc.CodeFenced)
	w.signed(p, key, w.block(now*32-1, 1), nil)
	w.signed(p, key, w.attestation(now-2, now-1, 1), nil)
	old := p.life.id

	p.close()
	p = w.open(0)
	w.anchor(p)
	path := ns.Incarnation(nodeName(0), "validator")
	_, err = ask(p, MethodLease, w.certify(path))
	refused(t, "another incarnation's record", err, rpc.CodeNotGranted)
	w.leaseUpTo(p, action.Incarnation{Number: 2, ID: p.life.id, Previous: old, Former: low, Ceiling: action.CeilingAt(w.network, time.Now())})
	fresh := w.give(p, "fresh")
	for _, duty := range []eth.Duty{w.block((now+2)*32-1, 1), w.attestation(now, now+1, 1), w.attestation(now-1, now+1, 1)} {
		_, err = w.sign(p, key, duty, nil)
		refused(t, "up to what could have been signed", err, rpc.CodeFenced)
	}
	w.signed(p, fresh, w.block(now*32, 1), nil) // its first share is of this incarnation

	w.ledger.Set(path, (&action.Incarnation{Number: 3, ID: [32]byte{3}}).Encode())
	_, err = ask(p, MethodLease, w.certify(path))
	refused(t, "replaced", err, rpc.CodeFenced)
	_, err = w.sign(p, fresh, w.block(now*32+1, 1), nil)
	refused(t, "after it was replaced", err, rpc.CodeFenced)
	if s := statusOf(t, p); !s.Ended || !s.Registered || s.Incarnation != p.life.id {
		t.Errorf("status %+v", s)
	}
}

// The answer to an unknown method, or to anything that does not parse, is an
// error; and nothing that cannot be parsed reaches the record.
func TestMalformedRequests(t *testing.T) {
	w := newWorld(t, 1, nil)
	p := w.start(0)
	for method := range uint16(40) {
		if slices.Contains([]uint16{MethodStatus, MethodChallenge, MethodClose, MethodRecordAnchor}, method) { // these take nothing
			continue
		}
		for _, body := range [][]byte{{0xff}, bytes.Repeat([]byte{0xff}, 200), bytes.Repeat([]byte{0}, 33)} {
			if out, err := ask(p, method, body); err == nil {
				t.Errorf("method %d answers %x to nonsense", method, out)
			} else if strings.Contains(err.Error(), "panic") {
				t.Error(err)
			}
		}
	}
	if u, err := p.usage(0); err != nil || len(u.Keys) != 0 {
		t.Errorf("usage %+v, %v", u, err)
	}
}

func TestUsage(t *testing.T) {
	w := newWorld(t, 1, nil)
	p := w.start(0)
	key, idle := w.give(p, "key"), w.give(p, "idle")
	usage := func(after uint64) Usage {
		t.Helper()
		var e wire.Encoder
		e.U64(after)
		u, err := parseUsage(w.must(p, MethodUsage, e.Out()))
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	before := usage(0)
	w.signed(p, key, w.block(1, 1), nil)
	w.signed(p, key, w.attestation(1, 2, 1), nil)
	after := usage(before.Sequence)
	if after.Sequence != before.Sequence+2 || after.Chain == before.Chain || len(after.Keys) != 1 || !bytes.Equal(after.Keys[0], key[:]) {
		t.Errorf("after two duties: %+v, before: %+v (idle %x)", after, before, idle[:4])
	}
	if again := usage(after.Sequence); len(again.Keys) != 0 || again.Sequence != after.Sequence {
		t.Errorf("nothing happened, but %+v", again)
	}
}

var benchPartial bls.Partial

// BenchmarkSign is one duty through everything but the socket, and the curve's
// part of it.
func BenchmarkSign(b *testing.B) {
	w := newWorld(b, 1, nil)
	p := w.start(0)
	key := w.give(p, "key")
	duty := func(i int) eth.Duty {
		return eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: uint64(i)}}
	}
	b.Run("one", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := w.sign(p, key, duty(i), nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if _, err := w.sign(p, key, duty(i), nil); err != nil {
					b.Error(err)
				}
			}
		})
	})
	share, _ := p.shares.get(key)
	b.Run("bare", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			root, err := duty(i).SigningRoot(w.network)
			if err != nil {
				b.Fatal(err)
			}
			benchPartial = share.share.SignPartial(root)
		}
	})
}
