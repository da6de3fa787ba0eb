package node

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmttypes "github.com/cometbft/cometbft/types"
	"pgregory.net/rapid"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/ledger/ledgertest"
	"github.com/quorate/quorate/internal/store"
	"github.com/quorate/quorate/internal/wire"
)

// replica is the application with its store, called as CometBFT calls it.
type replica struct {
	testing.TB
	*app
	dir string
}

func openReplica(t testing.TB, c *ledgertest.Cluster, dir string, keep int) *replica {
	t.Helper()
	r := &replica{TB: t, dir: dir}
	st, err := store.Open(store.Config{Dir: dir, Keep: keep})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	if r.app, err = newApp(c.Genesis, c.ID, st, log, func(err error) { t.Errorf("the node would stop: %v", err) }); err != nil {
		t.Fatal(err)
	}
	return r
}

// founded opens n replicas that have made their first block.
func founded(t testing.TB, c *ledgertest.Cluster, n int) (replicas []*replica) {
	for i := range n {
		r := openReplica(t, c, filepath.Join(t.TempDir(), fmt.Sprint(i)), store.DefaultKeep)
		t.Cleanup(func() { r.store.Close() })
		r.block(1)
		replicas = append(replicas, r)
	}
	return replicas
}

// crash closes what the operating system would, and starts again.
func (r *replica) crash(c *ledgertest.Cluster) *replica {
	r.Helper()
	if err := r.store.Close(); err != nil {
		r.Fatal(err)
	}
	next := openReplica(r, c, r.dir, store.DefaultKeep)
	r.Cleanup(func() { next.store.Close() })
	return next
}

func blockTime(height int64) time.Time {
	return time.UnixMilli(1_700_000_000_000 + 1000*height)
}

func (r *replica) finalize(height int64, txs ...[]byte) *abci.ResponseFinalizeBlock {
	r.Helper()
	hash := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(height)))
	resp, err := r.FinalizeBlock(r.Context(), &abci.RequestFinalizeBlock{Height: height, Time: blockTime(height), Hash: hash[:], Txs: txs})
	if err != nil {
		r.Fatal(err)
	}
	return resp
}

func (r *replica) commit() {
	r.Helper()
	if _, err := r.Commit(r.Context(), &abci.RequestCommit{}); err != nil {
		r.Fatal(err)
	}
}

// block executes and commits a block, and returns codes and AppHash.
func (r *replica) block(height int64, txs ...[]byte) (codes []ledger.Code, appHash []byte) {
	r.Helper()
	resp := r.finalize(height, txs...)
	r.commit()
	for _, x := range resp.TxResults {
		codes = append(codes, ledger.Code(x.Code))
	}
	return codes, resp.AppHash
}

func (r *replica) info() *abci.ResponseInfo {
	resp, err := r.Info(r.Context(), &abci.RequestInfo{})
	if err != nil {
		r.Fatal(err)
	}
	return resp
}

func (r *replica) prepare(height, maxBytes int64, txs [][]byte) [][]byte {
	resp, err := r.PrepareProposal(r.Context(), &abci.RequestPrepareProposal{Height: height, MaxTxBytes: maxBytes, Txs: txs})
	if err != nil {
		r.Fatal(err)
	}
	return resp.Txs
}

func (r *replica) accepts(height int64, txs [][]byte) bool {
	resp, err := r.ProcessProposal(r.Context(), &abci.RequestProcessProposal{Height: height, Txs: txs})
	if err != nil {
		r.Fatal(err)
	}
	return resp.IsAccepted()
}

func (r *replica) check(tx []byte) ledger.Code {
	resp, err := r.CheckTx(r.Context(), &abci.RequestCheckTx{Tx: tx})
	if err != nil {
		r.Fatal(err)
	}
	return ledger.Code(resp.Code)
}

func freshness(b byte) []byte {
	return ledger.Freshness{Domain: action.DomainValidator, Nonce: [32]byte{b}}.Encode()
}

// Before the first block there is no genesis on the ledger: nothing is taken,
// nothing breaks.
func TestBeforeTheFirstBlock(t *testing.T) {
	c := ledgertest.New(t, 4)
	r := openReplica(t, c, t.TempDir(), store.DefaultKeep)
	defer func() { r.store.Close() }()
	tx := c.Tx(ledgertest.Node(0), action.KindTick, nil)
	if code := r.check(tx); code != ledger.CodeBusy {
		t.Errorf("check: %s", code)
	}
	if in := r.info(); in.LastBlockHeight != 0 || in.LastBlockAppHash != nil {
		t.Errorf("info: %v", in)
	}
	if out := r.prepare(1, 1<<20, [][]byte{tx, nil}); len(out) != 0 {
		t.Errorf("proposes %d transactions", len(out))
	}
	if r.accepts(1, [][]byte{tx}) || !r.accepts(1, nil) {
		t.Error("accepts a transaction, or refuses the empty block")
	}
	r.block(1)
	if code := r.check(tx); code != ledger.OK {
		t.Errorf("check after the first block: %s", code)
	}
}

// A block without effects leaves the AppHash, or the ledger never rests.
func TestBlockWithoutEffects(t *testing.T) {
	c := ledgertest.New(t, 4)
	r := founded(t, c, 1)[0]
	tx := c.Tx(ledgertest.Node(0), action.KindFreshness, freshness(1))
	_, hash := r.block(2, tx)
	unknown := ledger.Ask{Action: &action.Action{Rule: action.RuleSettings, Domain: action.DomainValidator, PublicKey: make([]byte, 48)}}.Encode()
	for i, txs := range [][][]byte{
		nil,
		{tx},           // replayed
		{nil, {1}, tx}, // malformed
	} {
		height := int64(3 + i)
		codes, now := r.block(height, txs...)
		if !bytes.Equal(now, hash) {
			t.Errorf("block %d with codes %v moved the hash", height, codes)
		}
		if in := r.info(); in.LastBlockHeight != height || !bytes.Equal(in.LastBlockAppHash, hash) {
			t.Errorf("info after block %d: %v", height, in)
		}
	}
	if codes, now := r.block(6, c.Tx(ledgertest.Node(0), action.KindRequest, unknown)); codes[0] != ledger.CodeNotFound || bytes.Equal(now, hash) {
		t.Errorf("a refusal has to use up its number: %v", codes)
	}
	_, hash = r.block(7)
	if _, now := r.block(8, c.Tx(ledgertest.Node(0), action.KindTick, nil)); bytes.Equal(now, hash) {
		t.Error("a tick has to move it: the block after it brings the time")
	}
}

// What dies between FinalizeBlock and Commit is executed again, with the same
// outcome, in the same process or in the next.
func TestCrashBeforeCommit(t *testing.T) {
	c := ledgertest.New(t, 4)
	twins := founded(t, c, 2)
	steady, r := twins[0], twins[1]
	for height := int64(2); height < 12; height++ {
		txs := [][]byte{
			c.Tx(ledgertest.Node(0), action.KindFreshness, freshness(byte(height))), nil,
			c.Tx(ledgertest.Alice, action.KindRequest, ledger.CeremonyOpen{Params: c.Params(1, byte(height))}.Encode()),
			c.Tx(ledgertest.Olga, action.KindRequest, ledger.CeremonyOpen{Params: c.Params(2, byte(height))}.Encode()),
		}
		_, want := steady.block(height, txs...)
		before := r.info()
		if got := r.finalize(height, txs...).AppHash; !bytes.Equal(got, want) {
			t.Fatalf("block %d: %x, want %x", height, got, want)
		}
		if height%2 == 0 {
			r = r.crash(c)
			if in := r.info(); in.LastBlockHeight != height-1 || !bytes.Equal(in.LastBlockAppHash, before.LastBlockAppHash) {
				t.Fatalf("after the crash: %v, before: %v", in, before)
			}
		}
		if _, got := r.block(height, txs...); !bytes.Equal(got, want) {
			t.Fatalf("block %d replayed: %x, want %x", height, got, want)
		}
		if height%3 == 0 {
			r = r.crash(c) // after the commit
		}
		if in := r.info(); in.LastBlockHeight != height || !bytes.Equal(in.LastBlockAppHash, want) {
			t.Fatalf("after block %d: %v", height, in)
		}
	}
}

// What an honest node proposes every honest node accepts, whatever is in the
// mempool, and it fits.
func TestProposals(t *testing.T) {
	c := ledgertest.New(t, 4)
	replicas := founded(t, c, 2)
	params := c.Params(1, 1)
	join := c.Participant(params, 1).Join().Encode()
	for height := int64(2); height < 5; height++ {
		for _, r := range replicas {
			r.block(height, c.Numbered(ledgertest.Node(0), uint64(height), action.KindTick, nil),
				c.Numbered(ledgertest.Alice, uint64(height), action.KindRequest, ledger.CeremonyOpen{Params: params}.Encode()))
		}
	}
	other := ledgertest.New(t, 5) // another cluster
	signers := []action.Signer{ledgertest.Node(0), ledgertest.Node(1), ledgertest.Alice, ledgertest.Olga}
	rapid.Check(t, func(t *rapid.T) {
		var pool [][]byte
		for range rapid.IntRange(0, 12).Draw(t, "size") {
			who := rapid.SampledFrom(signers).Draw(t, "who")
			nonce := rapid.Uint64Range(1, 80).Draw(t, "nonce")
			var raw []byte
			switch rapid.IntRange(0, 8).Draw(t, "what") {
			case 0:
				raw = rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "garbage")
			case 1:
				raw = make([]byte, wire.MaxTx+rapid.IntRange(0, 2).Draw(t, "over"))
			case 2:
				raw = other.Numbered(ledgertest.Node(0), nonce, action.KindTick, nil)
			case 3:
				body := ledger.CeremonyMessage{Ceremony: params.ID(), Seat: 1, Message: join,
					Signature: c.Say(params.ID(), rapid.IntRange(1, 2).Draw(t, "seat"), join)}
				raw = c.Numbered(ledgertest.Node(1), nonce, action.KindCeremonyMessage, body.Encode())
			case 4:
				raw = c.Numbered(who, nonce, action.KindTick, nil)
				raw[rapid.IntRange(0, len(raw)-1).Draw(t, "at")] ^= 1
			case 5:
				if len(pool) > 0 {
					raw = rapid.SampledFrom(pool).Draw(t, "again")
				}
			default:
				raw = c.Numbered(who, nonce, action.KindFreshness, freshness(byte(nonce)))
			}
			pool = append(pool, raw)
		}
		for _, raw := range pool {
			replicas[0].check(raw) // what one has seen, and the other not, makes no difference
		}
		limit := rapid.Int64Range(0, 4000).Draw(t, "limit")
		out := replicas[0].prepare(5, limit, pool)
		var txs cmttypes.Txs
		for _, raw := range out {
			txs = append(txs, raw)
		}
		if size := cmttypes.ComputeProtoSizeForTxs(txs); size > limit {
			t.Fatalf("proposes %d bytes of %d", size, limit)
		}
		if !replicas[1].accepts(5, out) || !replicas[0].accepts(5, out) {
			t.Fatal("an honest proposal is refused")
		}
		// The other way round: what is accepted verifies, every bit of it.
		if accepted, all := replicas[1].accepts(5, pool), len(replicas[1].prepare(5, 1<<30, pool)) == len(pool); accepted != all {
			t.Fatalf("accepts the whole mempool: %t, would propose it: %t", accepted, all)
		}
	})
	// Room for everything that fits a block.
	raw := c.Numbered(ledgertest.Node(0), 50, action.KindFreshness, freshness(1))
	if got := replicas[0].prepare(5, int64(len(raw)+txOverhead), [][]byte{raw}); len(got) != 1 {
		t.Error("an empty block has no room")
	}
}

// TestQuota: one who floods leaves room for the others, in the mempool and in
// the block, and has it again after the next.
func TestQuota(t *testing.T) {
	c := ledgertest.New(t, 4)
	r := founded(t, c, 1)[0]
	var flood [][]byte
	for i := range maxOfSigner + 2 {
		raw := c.Tx(ledgertest.Node(0), action.KindTick, nil)
		want := ledger.OK
		if i >= maxOfSigner {
			want = ledger.CodeBusy
		}
		if code := r.check(raw); code != want {
			t.Fatalf("transaction %d of one signer: %s, want %s", i+1, code, want)
		}
		flood = append(flood, raw)
	}
	other := c.Tx(ledgertest.Node(1), action.KindTick, nil)
	if code := r.check(other); code != ledger.OK {
		t.Errorf("one of another: %s", code)
	}
	out := r.prepare(2, 1<<20, append(flood, other))
	if len(out) != maxOfSigner+1 || !bytes.Equal(out[maxOfSigner], other) {
		t.Errorf("%d transactions in the block, want %d", len(out), maxOfSigner+1)
	}
	if !r.accepts(2, out) || r.accepts(2, flood) {
		t.Error("accepts more of one signer than may be proposed, or less")
	}
	r.block(2, out...)
	if code := r.check(c.Tx(ledgertest.Node(0), action.KindTick, nil)); code != ledger.OK {
		t.Errorf("after the block: %s", code)
	}
}

// TestReplicas: four replicas, with other histories, other map seeds and other
// numbers of processors, come to the same AppHash after every block, whatever
// is in it. QUORATE_REPLICA_TXS makes it longer.
func TestReplicas(t *testing.T) {
	total := 3600
	if v, err := strconv.Atoi(os.Getenv("QUORATE_REPLICA_TXS")); err == nil {
		total = v
	}
	c := ledgertest.New(t, 4)
	replicas := founded(t, c, 4)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	m := &mix{Cluster: c, rand: rand.New(rand.NewPCG(1, 2)), players: map[[32]byte][]*dkg.Participant{}, size: 40 + total/250}
	happened := map[ledger.EventKind]int{}
	outcomes := map[ledger.Code]int{}
	height, empty := int64(1), 0
	for done := 0; done < total; height++ {
		view, err := replicas[0].view()
		if err != nil {
			t.Fatal(err)
		}
		m.height = height
		txs := m.block(t, view)
		done += len(txs)
		// Two at a time. The second pair has seen the signatures that the first
		// has, as after a mempool's check.
		var hashes [4][]byte
		var codes [4][]ledger.Code
		for pair := range 2 {
			runtime.GOMAXPROCS(1 + m.rand.IntN(4))
			var both sync.WaitGroup
			for i := pair; i < 4; i += 2 {
				before, proposed, crashes := m.some(txs), m.rand.IntN(8) == 0, i == 2 && height%16 == 0
				both.Go(func() {
					r := replicas[i]
					if pair == 1 {
						r.seen = replicas[i-1].seen
					}
					for _, raw := range before {
						r.check(raw)
					}
					if proposed {
						r.accepts(height+1, txs)
					}
					if crashes {
						r.finalize(height+1, txs...)
						r = r.crash(c)
						replicas[i] = r
					}
					codes[i], hashes[i] = r.block(height+1, txs...)
				})
			}
			both.Wait()
		}
		for i, hash := range hashes {
			if hash == nil || !bytes.Equal(hash, hashes[0]) || !slices.Equal(codes[i], codes[0]) {
				t.Fatalf("block %d: replica %d is at %x, replica 0 at %x", height+1, i, hash, hashes[0])
			}
		}
		for _, code := range codes[0] {
			outcomes[code]++
		}
		if len(txs) == 0 {
			empty++
		}
	}
	view, _ := replicas[0].view()
	keys, ended := 0, map[dkg.Phase]int{}
	view.Keys(action.DomainValidator, func(*action.KeyRecord) bool { keys++; return true })
	view.Ceremonies(func(b *dkg.Board, _ ledger.About) bool { ended[b.Phase()]++; return true })
	size, _ := view.LogRoot()
	for i := range size {
		if ev := view.Event(i); ev != nil {
			happened[ev.Kind]++
		}
	}
	t.Logf("%d blocks, %d of them empty; outcomes %v; %d keys, ceremonies %v; %d events: %v", height, empty, outcomes, keys, ended, size, happened)
	for code := ledger.OK; code <= ledger.CodeBusy; code++ {
		if outcomes[code] == 0 {
			t.Errorf("no transaction ended %s: the mix is too narrow", code)
		}
	}
	for kind := ledger.EventRequested; kind <= ledger.EventTimer; kind++ {
		if happened[kind] == 0 && (total >= 100_000 || kind != ledger.EventFailed && kind != ledger.EventPolicy && kind != ledger.EventCancelled && kind != ledger.EventVetoed) {
			t.Errorf("nothing was %s: the mix is too narrow", kind)
		}
	}
	assembled := map[assembly.Phase]int{}
	view.Assemblies(func(_ [32]byte, r *action.AssemblyRecord) bool { assembled[assembly.Phase(r.Phase)]++; return true })
	if assembled[assembly.PhaseDone] == 0 || assembled[assembly.PhaseAborted] == 0 {
		t.Errorf("ceremonies among participants ended %v: the mix is too narrow", assembled)
	}
	if happened[ledger.EventBeacon] == 0 || happened[ledger.EventBeaconMissed] == 0 {
		t.Error("no ceremony took a beacon's output, or none had to do without: the mix is too narrow")
	}
	if ended[dkg.PhaseDone] == 0 || ended[dkg.PhaseAborted] == 0 {
		t.Errorf("ceremonies ended %v: the mix is too narrow", ended)
	}
}

// mix makes random blocks: whole ceremonies with deaf and dumb seats, governance,
// reports, leases, replays, forgeries and noise.
type mix struct {
	*ledgertest.Cluster
	rand    *rand.Rand
	players map[[32]byte][]*dkg.Participant
	crowds  crowds
	past    [][]byte
	nonce   uint32
	size    int   // of a block, at most
	height  int64 // of the last block
}

func (m *mix) block(t testing.TB, s *ledger.State) (txs [][]byte) {
	switch {
	case m.height == 5: // from here on people have to agree, but for a while now and then
		txs = append(txs, m.policy(agreeing))
	case m.rand.IntN(10) == 0:
		return nil
	}
	for range m.rand.IntN(m.size) {
		raw := m.any(s)
		txs = append(txs, raw)
		if m.rand.IntN(6) == 0 {
			txs = append(txs, raw)
		}
	}
	for _, id := range s.OpenCeremonies() {
		board, _ := s.Ceremony(id)
		if p := board.Params(); m.players[id] == nil && p.Mode == dkg.ModeKeygen {
			m.players[id] = []*dkg.Participant{m.Participant(p, 1), m.Participant(p, 2), m.Participant(p, 3), m.Participant(p, 4)}
		}
		for i, q := range m.players[id] {
			if m.rand.IntN(3) == 0 || id[0]%4 == 0 && i < 2 {
				continue // not now, or in some ceremonies never
			}
			out, err := q.Next(board, s.Source)
			if err != nil {
				t.Fatal(err)
			}
			for _, msg := range out {
				raw := msg.Encode()
				body := ledger.CeremonyMessage{Ceremony: id, Seat: uint16(i + 1), Message: raw, Signature: m.Say(id, i+1, raw)}
				txs = append(txs, m.Tx(ledgertest.Node(m.rand.IntN(4)), action.KindCeremonyMessage, body.Encode()))
			}
		}
	}
	txs = append(txs, m.assembly(t, s)...)
	txs = append(txs, m.outputs(s)...)
	m.rand.Shuffle(len(txs), func(i, j int) { txs[i], txs[j] = txs[j], txs[i] })
	m.past = append(m.past, txs...)
	return txs
}

// outputs are what nodes bring of a beacon, of most heights that ceremonies
// wait for.
func (m *mix) outputs(s *ledger.State) (txs [][]byte) {
	for _, wanted := range s.Awaited() {
		if wanted.Height%5 == 0 || m.rand.IntN(4) == 0 {
			continue
		}
		beacon, err := s.Key(action.DomainValidator, wanted.Key[:])
		if err != nil {
			panic(err)
		}
		board, _ := s.Ceremony(beacon.Ceremony)
		out := ledger.RoundOutput{Height: wanted.Height, Signature: m.Round(m.players[beacon.Ceremony], board, s.Source, wanted.Height)}
		if m.rand.IntN(3) == 0 {
			out.Signature[m.rand.IntN(len(out.Signature))] ^= 1
		}
		for range 1 + m.rand.IntN(2) {
			txs = append(txs, m.Tx(ledgertest.Node(m.rand.IntN(4)), action.KindOutput, out.Encode()))
		}
	}
	return txs
}

// some are those transactions that came through a replica's mempool.
func (m *mix) some(txs [][]byte) (out [][]byte) {
	for _, raw := range txs {
		if m.rand.IntN(4) == 0 {
			out = append(out, raw)
		}
	}
	return out
}

// params are those of a new ceremony.
func (m *mix) params(keys int) dkg.Params {
	m.nonce++
	p := m.Params(keys, 0)
	binary.BigEndian.PutUint32(p.Nonce[:], m.nonce)
	return p
}

func (m *mix) any(s *ledger.State) []byte {
	if m.rand.IntN(2) == 0 {
		return m.governance(s)
	}
	who := ledgertest.Node(m.rand.IntN(4))
	if m.rand.IntN(12) == 0 {
		who = []action.Signer{ledgertest.Alice, ledgertest.Olga}[m.rand.IntN(2)]
	}
	b := byte(m.rand.IntN(4))
	switch m.rand.IntN(15) {
	case 0:
		p := m.params(1 + m.rand.IntN(2))
		if m.rand.IntN(8) > 0 {
			who = ledgertest.Alice
		}
		p.Hybrid = m.nonce%2 == 0
		if m.nonce < 4 || m.rand.IntN(6) == 0 {
			p.Keys, p.Use = 1, action.UseBeacon
		}
		return m.Tx(who, action.KindRequest, ledger.CeremonyOpen{Params: p, Purpose: "mix"}.Encode())
	case 1:
		keys := [][]byte{bytes.Repeat([]byte{b}, 48)}
		p := ledgertest.Import(m.params(1), b+1, keys)
		return m.Tx(who, action.KindRequest, ledger.CeremonyOpen{Params: p, Keys: keys}.Encode())
	case 2, 3, 4:
		gas := uint64(m.rand.IntN(3))
		return m.Tx(who, action.KindRequest, m.action(s, action.RuleSettings, action.ProposerSettings{GasLimit: &gas}))
	case 5:
		rule := []action.Rule{action.RuleExit, action.RuleDeposit, action.RuleArchive}[m.rand.IntN(3)]
		return m.Tx(ledgertest.Alice, action.KindRequest, m.action(s, rule, action.ProposerSettings{}))
	case 6:
		var keys [][]byte
		s.Keys(action.DomainValidator, func(k *action.KeyRecord) bool { keys = append(keys, k.PublicKey); return len(keys) < 3 })
		return m.Tx(who, action.KindUsage, ledger.UsageReport{Domain: action.DomainValidator, Incarnation: [16]byte{b}, Sequence: uint64(m.rand.IntN(100)), Keys: keys}.Encode())
	case 7:
		id, a := m.Life(b, action.Anchor{Sequence: uint64(m.rand.IntN(100))})
		return m.Tx(who, action.KindRegistration, ledger.Registration{Domain: action.DomainValidator, ID: id, Anchor: a}.Encode())
	case 8:
		id, a := m.Life(b, action.Anchor{Sequence: uint64(m.rand.IntN(100))})
		return m.Tx(who, action.KindLease, ledger.Lease{Domain: action.DomainValidator, ID: id, Source: uint64(b), Anchor: a}.Encode())
	case 9:
		if len(m.past) > 0 {
			return m.past[m.rand.IntN(len(m.past))]
		}
		return nil
	case 10:
		raw := bytes.Clone(m.Tx(who, action.KindFreshness, freshness(b)))
		raw[m.rand.IntN(len(raw))] ^= 1 << m.rand.IntN(8)
		return raw
	case 11:
		a := &action.Action{Rule: action.RuleHistory, Domain: action.DomainValidator, History: action.History{Hash: [32]byte{b}, Keys: 1}}
		return m.Tx(who, action.KindRequest, ledger.Ask{Action: a}.Encode())
	case 12:
		back := min(m.Nonces[who], uint64(m.rand.IntN(100))) // used before, or too old
		return m.Numbered(who, max(1, m.Nonces[who]-back), action.KindTick, nil)
	}
	return m.Tx(who, action.KindFreshness, freshness(b))
}

func (m *mix) action(s *ledger.State, rule action.Rule, settings action.ProposerSettings) []byte {
	a := &action.Action{Rule: rule, Domain: action.DomainValidator, PublicKey: make([]byte, 48), Settings: action.SettingsChange{Set: settings}}
	s.Keys(action.DomainValidator, func(k *action.KeyRecord) bool {
		a.PublicKey = k.PublicKey
		return m.rand.IntN(3) > 0
	})
	return ledger.Ask{Action: a}.Encode()
}
