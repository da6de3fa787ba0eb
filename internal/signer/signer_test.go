package signer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/quorum"
	"github.com/quorate/quorate/internal/rpc"
)

// TestSign: every node signs every kind, with partials of real shares.
func TestSign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where a busy machine makes nobody slow
		c := newCluster(t, 4, nil)
		key := c.deal()
		for i, n := range c.nodes {
			at := uint64(i + 1)
			for _, d := range []eth.Duty{
				c.block(at), c.vote(at), c.randao(at),
				c.duty(&eth.VoluntaryExit{Epoch: at, ValidatorIndex: 1}),
				{Message: &eth.ValidatorRegistration{Pubkey: eth.BLSPubkey(key)}},
				{Message: &eth.Deposit{DepositMessage: eth.DepositMessage{Amount: at}}},
			} {
				c.signed(n, key, d)
			}
			if n.rounds.Load() != 6 || n.blamed.Load() != 0 {
				t.Errorf("%s: %d rounds, %d blamed", n.name, n.rounds.Load(), n.blamed.Load())
			}
		}
		// With one node down, too, whichever node is asked.
		c.nodes[1].down = true
		c.signed(c.nodes[0], key, c.block(9))
		c.signed(c.nodes[3], key, c.vote(9))
	})
}

// TestLeaders: who asks which node does not matter, and no holder is always
// first.
func TestLeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where a busy machine makes nobody slow
		for _, size := range []int{4, 7} {
			c := newCluster(t, size, nil)
			var key Key
			for trial := range uint64(200) {
				binary.BigEndian.PutUint64(key[40:], rand.Uint64())
				at := rand.Uint64N(1 << 63)
				if trial < 20 {
					at = ^uint64(0) - trial // where the sum wraps
				}
				first := map[uint16]bool{}
				for step := range uint64(size) {
					for _, d := range []eth.Duty{c.block(at + step), c.vote(at + step)} {
						ranks := c.nodes[0].leaders(key, d)
						for _, n := range c.nodes[1:] {
							if other := n.leaders(key, d); !slices.Equal(other, ranks) {
								t.Fatalf("%s ranks %v, node0 %v", n.name, other, ranks)
							}
						}
						if all := slices.Sorted(slices.Values(ranks)); len(all) != size || all[0] != 1 || all[size-1] != uint16(size) || len(slices.Compact(all)) != size {
							t.Fatalf("ranks %v are not all of %d holders", ranks, size)
						}
						first[ranks[0]] = true
					}
				}
				// The sum may wrap anywhere, and there the rotation has a seam.
				if len(first) < size-1 {
					t.Errorf("of %d holders only %d lead in as many slots", size, len(first))
				}
			}
			// One slot, many keys: about the same for each.
			led := map[uint16]int{}
			for i := range uint64(100 * size) {
				binary.BigEndian.PutUint64(key[40:], i*0x9e3779b97f4a7c15)
				led[c.nodes[0].leaders(key, c.block(5))[0]]++
			}
			for index := range uint16(size) {
				if n := led[index+1]; n < 60 || n > 140 {
					t.Errorf("holder %d of %d leads %d of %d keys", index+1, size, n, 100*size)
				}
			}
			// Votes of one target meet, whatever their slot and content; what
			// cannot be slashed has no leader.
			vote, other := c.vote(9), c.vote(9)
			m := other.Message.(*eth.AttestationData)
			m.Slot, m.BeaconBlockRoot, m.Source.Epoch = m.Slot+1, eth.Root{1}, 3
			if a, b := c.nodes[0].leaders(key, vote), c.nodes[1].leaders(key, other); !slices.Equal(a, b) {
				t.Errorf("two votes of one target: %v, %v", a, b)
			}
			if ranks := c.nodes[0].leaders(key, c.randao(1)); ranks != nil {
				t.Errorf("a RANDAO reveal has leaders %v", ranks)
			}
		}
	})
}

// TestLeaderGoesFirst: the first in rank has recorded a duty before anybody
// else is asked, on whichever node the request arrives.
func TestLeaderGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where a busy machine makes nobody slow
		c := newCluster(t, 4, nil)
		key := c.deal()
		var mu sync.Mutex
		seen := map[string]uint16{} // duty -> who was asked first
		for i, n := range c.nodes {
			n.refuse = func(req custody.SignRequest) error {
				mu.Lock()
				defer mu.Unlock()
				if seen[string(req.Duty)] == 0 {
					seen[string(req.Duty)] = uint16(i + 1)
				}
				return nil
			}
		}
		for slot := range uint64(16) {
			n, d := c.nodes[slot/4], c.block(slot)
			c.signed(n, key, d)
			mu.Lock()
			got, want := seen[string(eth.EncodeDuty(d))], n.leaders(key, d)[0]
			mu.Unlock()
			if got != want {
				t.Errorf("slot %d: holder %d was asked first, not %d", slot, got, want)
			}
		}
	})
}

// TestOldIncarnation: a holder that answers under another life than the ledger
// knows may be a clone; what it says counts only where two answers do no harm.
func TestOldIncarnation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where a busy machine makes nobody slow
		c := newCluster(t, 4, nil)
		key := c.deal()
		clone := func(i int) { c.nodes[i].set(func(n *node) { n.life = [32]byte{0xee} }) }
		clone(2)
		for _, n := range c.nodes {
			c.signed(n, key, c.block(5)) // three are left
			c.signed(n, key, c.randao(5))
		}
		clone(3)
		for _, n := range c.nodes {
			for _, d := range []eth.Duty{c.block(6), c.vote(6)} {
				c.refused(n, key, d, rpc.CodeFenced)
			}
			c.signed(n, key, c.randao(6))
			c.signed(n, key, c.duty(&eth.VoluntaryExit{Epoch: 1}))
		}

		// Of one holder alone.
		q, err := c.nodes[0].key(key, action.UseDuties)
		if err != nil {
			t.Fatal(err)
		}
		h := holder{c.nodes[0].cfg.Roster[2], c.nodes[2].Partial, c.nodes[0]}
		for _, e := range []struct {
			duty eth.Duty
			life [32]byte
			want rpc.Code
		}{
			{c.block(1), registered(2), rpc.CodeOK},
			{c.block(1), registered(1), rpc.CodeFenced},
			{c.vote(1), [32]byte{}, rpc.CodeFenced},
			{c.vote(1), registered(2), rpc.CodeOK},
			{c.randao(1), registered(1), rpc.CodeOK},
			{c.duty(&eth.SyncCommitteeMessage{Slot: 1}), [32]byte{}, rpc.CodeOK},
		} {
			c.nodes[2].set(func(n *node) { n.life = e.life })
			p, err := h.SignPartial(t.Context(), quorum.Request{Key: q.PublicKey, Duty: eth.EncodeDuty(e.duty)})
			if rpc.CodeOf(err) != e.want || err == nil && p.Index() != 3 {
				t.Errorf("%s under life %x: %v, want %s", e.duty.Kind(), e.life[:1], err, e.want)
			}
		}
	})
}

// TestHolderAnswers: what a peer sends is parsed before it counts, and a false
// partial is blamed.
func TestHolderAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where a busy machine makes nobody slow
		c := newCluster(t, 4, nil)
		key := c.deal()
		q, err := c.nodes[0].key(key, action.UseDuties)
		if err != nil {
			t.Fatal(err)
		}
		for _, answer := range [][]byte{nil, {1}, make([]byte, 4096), custody.SignResponse{}.Encode()} {
			h := holder{c.nodes[0].cfg.Roster[1], func(context.Context, []byte) ([]byte, error) { return answer, nil }, c.nodes[0]}
			if _, err := h.SignPartial(t.Context(), quorum.Request{Key: q.PublicKey, Duty: eth.EncodeDuty(c.randao(1))}); err == nil {
				t.Errorf("%d bytes were taken for a partial", len(answer))
			}
		}
		c.nodes[1].set(func(n *node) { n.shares[key] = c.nodes[2].shares[key] })
		c.signed(c.nodes[1], key, c.randao(2)) // a node asks its own custody first
		if got := c.nodes[1].blamed.Load(); got != 1 {
			t.Errorf("%d blamed, want 1", got)
		}
	})
}

// TestPartialProves: custody gets the proof that it wants, made by its own
// node, and everything else as it came.
func TestPartialProves(t *testing.T) {
	c := newCluster(t, 4, nil)
	key := c.deal()
	n := c.nodes[1]
	exit := c.duty(&eth.VoluntaryExit{Epoch: 5, ValidatorIndex: 9})
	deposit := eth.Duty{Message: &eth.Deposit{}}
	granted := func(rule action.Rule, d eth.Duty) string {
		a := &action.Action{Rule: rule, Domain: action.DomainValidator, PublicKey: key[:], Duty: eth.EncodeDuty(d)}
		return fmt.Sprintf("node1 proves grant %x", a.Encode())
	}
	for _, e := range []struct {
		duty eth.Duty
		want string
	}{
		{exit, granted(action.RuleExit, exit)},
		{deposit, granted(action.RuleDeposit, deposit)},
		{eth.Duty{Message: &eth.ValidatorRegistration{}}, fmt.Sprintf("node1 proves key %x", key)},
		{c.duty(&eth.ProposerPreferences{}), fmt.Sprintf("node1 proves key %x", key)},
	} {
		for _, brought := range []string{"", "another node's word"} {
			body := custody.SignRequest{Key: key, Duty: eth.EncodeDuty(e.duty), Evidence: custody.Evidence{Certificate: []byte(brought)}}.Encode()
			n.Partial(t.Context(), body) //nolint:errcheck // what custody was asked is what counts
			got := n.requests()
			if len(got) != 1 || string(got[0].Certificate) != e.want || got[0].Key != key || !bytes.Equal(got[0].Duty, eth.EncodeDuty(e.duty)) {
				t.Errorf("%s: custody was asked %+v", e.duty.Kind(), got)
			}
		}
	}
	// Duties come through byte for byte, even with a certificate that nobody
	// wants: custody judges it.
	for _, d := range []eth.Duty{c.block(1), c.vote(1), c.randao(1)} {
		body := custody.SignRequest{Key: key, Duty: eth.EncodeDuty(d), Evidence: custody.Evidence{Certificate: []byte("whatever")}}.Encode()
		before := n.recorded.Load()
		if _, err := n.Partial(t.Context(), body); err != nil {
			t.Errorf("%s: %v", d.Kind(), err)
		}
		if got := n.requests(); len(got) != 1 || !bytes.Equal(got[0].Encode(), body) {
			t.Errorf("%s was changed on its way: %+v", d.Kind(), got)
		}
		if observed, want := n.recorded.Load()-before, d.Slashable() != nil; (observed == 1) != want {
			t.Errorf("%s: %d observations", d.Kind(), observed)
		}
	}
	// Without the proof custody is not asked at all.
	n.proofErr = rpc.Errorf(rpc.CodeNotGranted, "no")
	for _, d := range []eth.Duty{exit, deposit, {Message: &eth.ValidatorRegistration{}}} {
		_, err := n.Partial(t.Context(), custody.SignRequest{Key: key, Duty: eth.EncodeDuty(d)}.Encode())
		if rpc.CodeOf(err) != rpc.CodeNotGranted {
			t.Errorf("%s without a proof: %v", d.Kind(), err)
		}
	}
	for _, body := range [][]byte{nil, {1, 2, 3}, custody.SignRequest{Key: key}.Encode(),
		append(custody.SignRequest{Key: key, Duty: []byte{1}}.Encode(), 0)} {
		if _, err := n.Partial(t.Context(), body); rpc.CodeOf(err) != rpc.CodeMalformed {
			t.Errorf("body %x: %v", body, err)
		}
	}
	if got := n.requests(); len(got) != 0 {
		t.Errorf("custody was asked nonetheless: %v", got)
	}
}

// TestStoppedKeyGivesNoPartial: a node that goes on asking for a key that the
// ledger stopped, or froze, gets nothing from the others.
func TestStoppedKeyGivesNoPartial(t *testing.T) {
	c := newCluster(t, 4, nil)
	key := c.deal()
	n := c.nodes[1]
	active, _ := n.Record(key)
	for state, want := range map[action.KeyState]rpc.Code{
		action.KeyActive: rpc.CodeOK, action.KeyFrozen: rpc.CodeNotGranted,
		action.KeyArchived: rpc.CodeUnknownKey, action.KeyRevoked: rpc.CodeUnknownKey, action.KeyDestroyed: rpc.CodeUnknownKey,
	} {
		record := *active
		record.State = state
		n.SetKey(&record)
		for _, d := range []eth.Duty{c.block(1), c.randao(1), c.duty(&eth.VoluntaryExit{Epoch: 1})} {
			_, err := n.Partial(t.Context(), custody.SignRequest{Key: key, Duty: eth.EncodeDuty(d)}.Encode())
			if rpc.CodeOf(err) != want {
				t.Errorf("%s of a key that is %s: %v, want %s", d.Kind(), state, err, want)
			}
			if asked := len(n.requests()); (asked > 0) != (state == action.KeyActive) {
				t.Errorf("%s of a key that is %s: custody was asked %d times", d.Kind(), state, asked)
			}
		}
	}
}

// TestLeaseIsExtendedOnce, and only where that can help.
func TestLeaseIsExtendedOnce(t *testing.T) {
	c := newCluster(t, 4, nil)
	key := c.deal()
	n := c.nodes[0]
	fenced := rpc.Errorf(rpc.CodeFenced, "beyond the lease")
	always := func(err error) func(int) error { return func(int) error { return err } }
	for _, e := range []struct {
		name     string
		refuse   func(extended int) error
		leaseErr error
		extended int
		asked    int
		want     rpc.Code
	}{
		{"in the lease", always(nil), nil, 0, 1, rpc.CodeOK},
		{"beyond it", func(extended int) error {
			if extended == 0 {
				return fenced
			}
			return nil
		}, nil, 1, 2, rpc.CodeOK},
		{"fenced for good", always(fenced), nil, 1, 2, rpc.CodeFenced},
		{"no lease to be had", always(fenced), errors.New("no quorum"), 1, 1, rpc.CodeFenced},
		{"slashable", always(rpc.Errorf(rpc.CodeSlashable, "")), nil, 0, 1, rpc.CodeSlashable},
		{"out of range", always(rpc.Errorf(rpc.CodeOutOfRange, "")), nil, 0, 1, rpc.CodeOutOfRange},
		{"custody is down", always(rpc.ErrConn), nil, 0, 1, rpc.CodeUnavailable},
	} {
		for _, d := range []eth.Duty{c.block(1), c.vote(1)} {
			n.requests()
			n.set(func(n *node) {
				n.extended, n.leaseErr = 0, e.leaseErr
				n.refuse = func(custody.SignRequest) error {
					n.mu.Lock()
					defer n.mu.Unlock()
					return e.refuse(n.extended)
				}
			})
			raw, err := n.Partial(t.Context(), custody.SignRequest{Key: key, Duty: eth.EncodeDuty(d)}.Encode())
			if asked := len(n.requests()); rpc.CodeOf(err) != e.want || n.extended != e.extended || asked != e.asked {
				t.Errorf("%s, %s: %v after %d extensions and %d questions", e.name, d.Kind(), err, n.extended, asked)
			}
			if _, parse := custody.ParseSignResponse(raw); (parse == nil) != (err == nil) {
				t.Errorf("%s, %s: an answer of %d bytes with %v", e.name, d.Kind(), len(raw), err)
			}
		}
	}
}

// TestRefusals: each error carries the code by which a client is answered, and
// what is refused early asks no holder.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where a busy machine makes nobody slow
		c := newCluster(t, 4, nil)
		key := c.deal()
		n := c.nodes[0]
		stranger := key
		stranger[47]++
		c.refused(n, stranger, c.randao(1), rpc.CodeUnknownKey)

		record, _ := n.Record(key)
		archived := *record
		archived.State = action.KeyArchived
		n.SetKey(&archived)
		c.refused(n, key, c.randao(1), rpc.CodeUnknownKey)
		n.SetKey(record)
		c.refused(n, key, eth.Duty{Message: &eth.RandaoReveal{}, Fork: eth.ForkInfo{GenesisValidatorsRoot: eth.Root{1}}}, rpc.CodeMalformed)

		// The ledger's answer to what is no duty is the client's.
		exit := c.duty(&eth.VoluntaryExit{Epoch: 1, ValidatorIndex: 3})
		for _, code := range []rpc.Code{rpc.CodeNotGranted, rpc.CodeUnavailable} {
			n.grantErr = rpc.Errorf(code, "said the ledger")
			c.refused(n, key, exit, code)
		}
		n.grantErr = nil
		for _, nd := range c.nodes {
			if asked := nd.requests(); len(asked) != 0 {
				t.Errorf("%s was asked for what was refused before: %v", nd.name, asked)
			}
		}
		if a := n.actions[0]; a.Rule != action.RuleExit || !bytes.Equal(a.PublicKey, key[:]) || !bytes.Equal(a.Duty, eth.EncodeDuty(exit)) {
			t.Errorf("the ledger was asked for %+v", a)
		}

		// Holders: a refusal counts when it bars a quorum.
		const ok, slashable, gone, denied = rpc.CodeOK, rpc.CodeSlashable, rpc.CodeUnavailable, rpc.CodeNotGranted
		say := func(codes ...rpc.Code) {
			for i, nd := range c.nodes {
				nd.set(func(nd *node) {
					nd.refuse = func(custody.SignRequest) error {
						if codes[i] == ok {
							return nil
						}
						return rpc.Errorf(codes[i], "says %s", nd.name)
					}
				})
			}
		}
		say(ok, slashable, ok, ok)
		c.signed(n, key, c.block(1))
		say(ok, slashable, slashable, ok)
		c.refused(n, key, c.block(2), slashable)
		say(slashable, slashable, slashable, slashable)
		c.refused(n, key, c.vote(2), slashable)
		say(ok, gone, gone, ok)
		c.refused(n, key, c.randao(2), gone)
		say(denied, denied, ok, ok)
		c.refused(n, key, exit, denied)
		say(ok, ok, ok, ok)

		// A record that contradicts itself is a fault of ours, not the client's.
		broken := *record
		broken.Commitment = broken.Commitment[1:]
		n.SetKey(&broken)
		c.refused(n, key, c.randao(3), rpc.CodeInternal)
		foreign := *record
		foreign.Curve = action.CurveRistretto255
		n.SetKey(&foreign)
		c.refused(n, key, c.randao(3), rpc.CodeInternal)
	})
}

// TestLearn: an exit needs the validator's index and the chain, which duties
// name.
func TestLearn(t *testing.T) {
	mainnet, err := eth.LookupNetwork("mainnet")
	if err != nil {
		t.Fatal(err)
	}
	config := mainnet.Config()
	delete(config, "GENESIS_VALIDATORS_ROOT")
	young, err := eth.NetworkFromConfig(config)
	if err != nil || young.GenesisValidatorsRoot != nil {
		t.Fatalf("a network without a root: %v", err)
	}
	c := newCluster(t, 4, young)
	key, other := c.deal(), c.deal()
	n := c.nodes[0]
	c.signed(n, key, eth.Duty{Message: &eth.ValidatorRegistration{}}) // has neither
	if root, ok := n.GenesisRoot(); ok {
		t.Errorf("root %x before any duty", root)
	}
	// What was not signed teaches nothing.
	for _, nd := range c.nodes {
		nd.set(func(nd *node) {
			nd.refuse = func(custody.SignRequest) error { return rpc.Errorf(rpc.CodeSlashable, "") }
		})
	}
	c.refused(n, key, c.block(1), rpc.CodeSlashable)
	for _, nd := range c.nodes {
		nd.set(func(nd *node) { nd.refuse = nil })
	}
	if index, ok := n.ValidatorIndex(key); ok {
		t.Errorf("index %d from a duty that was refused", index)
	}
	c.signed(n, key, c.vote(1))
	if root, ok := n.GenesisRoot(); !ok || root != c.fork().GenesisValidatorsRoot {
		t.Errorf("root %x, %t after a vote", root, ok)
	}
	c.signed(n, key, c.block(2))
	n.learn(other, c.duty(&eth.ContributionAndProof{AggregatorIndex: 78}))
	for k, want := range map[Key]uint64{key: 77, other: 78} {
		if got, ok := n.ValidatorIndex(k); !ok || got != want {
			t.Errorf("index %d, %t, want %d", got, ok, want)
		}
	}
	n.learn(other, c.duty(&eth.AggregateAndProof{AggregatorIndex: 79}))
	if got, _ := n.ValidatorIndex(other); got != 79 {
		t.Errorf("index %d, want that of the last duty, 79", got)
	}
	// The first root stays, and a configured one is known from the start.
	later := c.vote(3)
	later.Fork.GenesisValidatorsRoot = eth.Root{9}
	n.learn(key, later)
	if root, _ := n.GenesisRoot(); root != c.fork().GenesisValidatorsRoot {
		t.Errorf("the root moved to %x", root)
	}
	if root, ok := newCluster(t, 4, nil).nodes[0].GenesisRoot(); !ok || root != *mainnet.GenesisValidatorsRoot {
		t.Errorf("mainnet's root is %x, %t", root, ok)
	}
}

// TestInventory: keys come and go while they are read; a list that was handed
// out does not change.
func TestInventory(t *testing.T) {
	c := newCluster(t, 4, nil)
	dealt := c.deal()
	n := c.nodes[0]
	const writers, keys, turns = 4, 16, 50
	var writing, reading sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for turn := range turns {
				state := []action.KeyState{action.KeyActive, action.KeyArchived}[turn%2]
				for i := range keys {
					k := Key{0: byte(w + 1), 1: byte(i)}
					n.SetKey(&action.KeyRecord{PublicKey: k[:], State: state})
					if got := n.Holds(k); got != (state == action.KeyActive || state == action.KeyFrozen) {
						t.Errorf("Holds is %t of a key that is %s", got, state)
					}
				}
			}
		})
	}
	done := make(chan struct{})
	for range 2 {
		reading.Go(func() {
			for {
				list := n.Keys()
				was := slices.Clone(list)
				for _, k := range list {
					if _, ok := n.Record(k); !ok {
						t.Error("a listed key without a record")
					}
				}
				if !slices.IsSortedFunc(list, compareKeys) || !slices.Equal(list, was) {
					t.Error("the list is out of order or moved")
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	writing.Go(func() {
		for i := range uint64(10) {
			c.signed(n, dealt, c.randao(i))
		}
	})
	writing.Wait()
	close(done)
	reading.Wait()
	// The last turn archived all but the dealt one.
	if got := n.Keys(); len(got) != 1 || got[0] != dealt {
		t.Errorf("%d keys are left", len(got))
	}
	// Whoever has a list keeps it as it was.
	a, z := Key{}, Key{0: 0xff}
	n.SetKey(&action.KeyRecord{PublicKey: a[:], State: action.KeyActive})
	n.SetKey(&action.KeyRecord{PublicKey: z[:], State: action.KeyActive})
	list := n.Keys()
	was := slices.Clone(list)
	n.SetKey(&action.KeyRecord{PublicKey: a[:], State: action.KeyRevoked})
	if !slices.Equal(list, was) || len(n.Keys()) != 2 {
		t.Errorf("a list that was handed out changed, or a key stayed: %d", len(n.Keys()))
	}
	n.SetKey(&action.KeyRecord{PublicKey: []byte{1, 2, 3}, State: action.KeyActive}) // of another domain
	for _, s := range []action.KeyState{action.KeyGenerated, action.KeyRevoked, action.KeyDestroyed} {
		k := Key{9}
		n.SetKey(&action.KeyRecord{PublicKey: k[:], State: s})
		if n.Holds(k) {
			t.Errorf("a key that is %s may sign", s)
		}
	}
	if got := n.Keys(); len(got) != 2 {
		t.Errorf("listed: %x", got)
	}
	if _, ok := n.Record(Key{8}); ok {
		t.Error("a record of a key that is not there")
	}
}

// TestTakenOver: participants' key has no points here, and needs none once
// nodes have taken it over.
func TestTakenOver(t *testing.T) {
	c := newCluster(t, 4, nil)
	key := c.deal()
	n := c.nodes[0]
	taken, _ := n.Record(key)
	held := *taken
	held.State, held.Provenance, held.Commitment = action.KeyHeld, action.ProvenanceAssembled, nil
	next := *taken
	next.Epoch, next.Provenance = 1, action.ProvenanceAssembled
	n.SetKey(&held)
	if _, err := n.Signer.key(key, action.UseDuties); rpc.CodeOf(err) != rpc.CodeUnknownKey {
		t.Errorf("while they hold it: %v", err)
	}
	n.SetKey(&next)
	if _, err := n.Signer.key(key, action.UseDuties); err != nil {
		t.Errorf("once it is taken over: %v", err)
	}
}
