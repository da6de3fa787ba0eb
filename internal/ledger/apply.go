package ledger

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/wire"
)

// Block is what the state machine knows of the block it runs in.
type Block struct {
	Height int64
	Time   uint64   // milliseconds since 1970, the votes' median
	Hash   [32]byte // of this block
}

// txContext is on whose behalf something happens, and because of what.
type txContext struct {
	block Block
	hash  [32]byte
	salt  []byte
	who   principal
	key   [32]byte // of who, that signed
}

// Result is what became of one transaction.
type Result struct {
	Code    Code
	Info    string   // for people; in no hash
	Request [32]byte // id of the request that waits for others; zero where nothing waits
	Entry   uint64   // number of the entry that it became in a ceremony's log, from 1
}

// Genesis writes the first state.
func (s *State) Genesis(g *action.Genesis) error {
	for i := range g.Nodes {
		s.set(s.ns.Node(g.Nodes[i].Name), g.Nodes[i].Encode())
	}
	for i := range g.Members {
		s.putMember(&g.Members[i])
	}
	if err := s.foundPolicy(g); err != nil {
		return err
	}
	network, err := g.EthNetwork()
	if err != nil {
		return err
	}
	s.set(s.networkPath(), network.Encode())
	ctx := txContext{block: Block{Time: uint64(g.Time.UnixMilli())}, who: theLedger, salt: s.cluster[:]}
	s.rulesChanged(ctx)
	s.record(ctx, Event{Kind: EventGenesis, Object: s.cluster.String(), Detail: fmt.Sprintf("%d nodes, %d members", len(g.Nodes), len(g.Members))})
	return nil
}

// Begin lets time pass: deadlines that lie before the block's time act now.
func (s *State) Begin(b Block) {
	ctx := txContext{block: b, who: theLedger, salt: b.Hash[:]}
	s.tickCeremonies(ctx)
	s.tickAssemblies(ctx)
	s.actOnDue(ctx)
}

// Misbehaviour records that a validator voted twice. Nothing follows from it
// by itself: an honest node that was rolled back looks the same.
func (s *State) Misbehaviour(b Block, kind string, vote [20]byte, height int64) {
	name := fmt.Sprintf("%x", vote)
	for _, n := range s.Nodes() {
		if (proof.Validator{PubKey: n.Vote[:]}).Address() == vote {
			name = n.Name
		}
	}
	ctx := txContext{block: b, who: theLedger, salt: b.Hash[:]}
	s.record(ctx, Event{Kind: EventIncident, Object: "node/" + name, Detail: fmt.Sprintf("%s at height %d", kind, height)})
}

// Apply carries out a verified transaction, or leaves the state as it was.
// It is total: whatever the transaction holds, it returns a code. A refusal
// uses up the nonce, or whoever has a copy of the transaction could bring it
// again when it would be taken, long after its signer was told no. A denial is
// recorded as well; every other refusal leaves no other trace.
func (s *State) Apply(b Block, tx VerifiedTx) Result {
	ctx := txContext{block: b, hash: tx.hash, salt: tx.env.Salt[:], who: tx.who, key: tx.key}
	// The nonce again: two copies can stand in one block.
	if !s.nonces(tx.env.Signer).fresh(tx.env.Nonce) {
		return Result{Code: CodeNonce, Info: "nonce used earlier in this block"}
	}
	var why error
	var done Result
	code := s.attempt(func(s *State) Code {
		s.useNonce(tx.env.Signer, tx.env.Nonce)
		done, why = s.carryOut(ctx, tx)
		var e *Error
		switch {
		case why == nil:
			return OK
		case errors.As(why, &e):
			why = e.Err // the code stands beside it
			return e.Code
		}
		return CodeMalformed
	})
	if code != OK {
		s.useNonce(tx.env.Signer, tx.env.Nonce)
	}
	if code == CodeDenied {
		s.record(ctx, Event{Kind: EventDenied, Detail: why.Error()})
	}
	if why != nil {
		return Result{Code: code, Info: why.Error()}
	}
	return done
}

// carryOut does what a transaction says.
func (s *State) carryOut(ctx txContext, tx VerifiedTx) (done Result, err error) {
	if err := ctx.who.mayAct(ctx.block.Time); err != nil {
		return done, err
	}
	switch b := tx.body.(type) {
	case Ask:
		done.Request, err = s.ask(ctx, b, tx.raw)
	case Decide:
		err = s.decide(ctx, b.Decision, tx.raw)
	case Freshness:
		err = s.freshness(tx, b)
	case CeremonyMessage:
		err = s.ceremonyMessage(ctx, tx, b)
	case AssemblyMessage:
		done.Entry, err = s.assemblyMessage(ctx, tx, b)
	case DealerMessage:
		err = s.dealerMessage(ctx, tx, b)
	case AssemblySeal:
		err = s.assemblySeal(ctx, tx, b)
	case UsageReport:
		err = s.usage(ctx, tx, b)
	case Registration:
		err = s.register(ctx, tx, b)
	case Lease:
		err = s.lease(ctx, tx, b)
	case Stopped:
		err = s.stopped(ctx, tx, b)
	case RoundOutput:
		err = s.takeOutput(ctx, b)
	case Tick:
	default:
		err = refuse(CodeMalformed, "no rule for this kind")
	}
	return done, err
}

// freshness stores a nonce of the signing node's own custody process. A
// header that proves it is younger than the nonce.
func (s *State) freshness(tx VerifiedTx, b Freshness) error {
	if err := s.ownCustody(tx, b.Domain); err != nil {
		return err
	}
	s.set(s.ns.Fresh(tx.env.Signer.Name, string(b.Domain)), b.Nonce[:])
	return nil
}

// usage anchors how far the custody log of the signing node has come. The
// sequence only grows within an incarnation, so that a report counts once.
func (s *State) usage(ctx txContext, tx VerifiedTx, b UsageReport) error {
	if err := s.ownCustody(tx, b.Domain); err != nil {
		return err
	}
	path := s.ns.Usage(tx.env.Signer.Name, string(b.Domain))
	if old := s.Get(path); old != nil {
		d := wire.NewDecoder(old)
		var incarnation [16]byte
		d.Fixed(incarnation[:])
		if last := d.U64(); incarnation == b.Incarnation && b.Sequence <= last {
			return refuse(CodeConflict, "usage was reported up to %d already", last)
		}
	}
	var e wire.Encoder
	e.Fixed(b.Incarnation[:])
	e.U64(b.Sequence)
	e.Fixed(b.Chain[:])
	s.set(path, e.Out())
	for _, key := range b.Keys {
		if s.Get(s.ns.Key(string(b.Domain), key)) == nil {
			return refuse(CodeNotFound, "usage of a key that is not in the inventory")
		}
		var last wire.Encoder
		last.U64(ctx.block.Time)
		s.set(s.lastUsePath(b.Domain, key), last.Out())
	}
	s.record(ctx, Event{Kind: EventUsage, Object: string(b.Domain), Detail: fmt.Sprintf("sequence %d, %d keys, chain %x", b.Sequence, len(b.Keys), b.Chain)})
	return nil
}
