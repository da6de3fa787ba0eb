package ledger

import (
	"errors"
	"fmt"
	"slices"
	"strings"

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

// txContext is on whose behalf something happens.
type txContext struct {
	block                          Block
	hash                           [32]byte
	salt                           []byte
	actor, human, operator, region string
}

// Result is what became of one transaction.
type Result struct {
	Code Code
	Info string // for people; in no hash
}

// grantLifetime is how long after its block a grant can be carried out.
const grantLifetime = 10 * 60 * 1000

// Genesis writes the first state.
func (s *State) Genesis(g *action.Genesis) error {
	for i := range g.Nodes {
		s.set(s.ns.Node(g.Nodes[i].Name), g.Nodes[i].Encode())
	}
	for i := range g.Members {
		s.set(s.ns.Member([]byte(g.Members[i].ID)), g.Members[i].Encode())
	}
	for rule, who := range g.Rules {
		if len(who) > 0 { // nobody is what no rule says, too
			s.set(s.rulePath(rule), []byte(strings.Join(who, " ")))
		}
	}
	network, err := g.EthNetwork()
	if err != nil {
		return err
	}
	s.set(s.networkPath(), network.Encode())
	ctx := txContext{block: Block{Time: uint64(g.Time.UnixMilli())}, actor: "ledger", salt: s.cluster[:]}
	s.record(ctx, Event{Kind: EventGenesis, Object: s.cluster.String(), Detail: fmt.Sprintf("%d nodes, %d members", len(g.Nodes), len(g.Members))})
	return nil
}

// Begin lets time pass: deadlines that lie before the block's time act now.
func (s *State) Begin(b Block) {
	ctx := txContext{block: b, actor: "ledger", salt: b.Hash[:]}
	s.tickCeremonies(ctx)
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
	ctx := txContext{block: b, actor: "ledger", salt: b.Hash[:]}
	s.record(ctx, Event{Kind: EventIncident, Object: "node/" + name, Detail: fmt.Sprintf("%s at height %d", kind, height)})
}

// Apply carries out a verified transaction, or leaves the state as it was.
// It is total: whatever the transaction holds, it returns a code. A denial
// uses up the nonce and is recorded; every other refusal leaves no trace.
func (s *State) Apply(b Block, tx VerifiedTx) Result {
	ctx := txContext{
		block: b, hash: tx.hash, salt: tx.env.Salt[:],
		actor: tx.env.Signer.String(), human: tx.human, operator: tx.operator, region: tx.region,
	}
	// The nonce again: two copies can stand in one block.
	if !s.nonces(tx.env.Signer).fresh(tx.env.Nonce) {
		return Result{CodeNonce, "nonce used earlier in this block"}
	}
	var why error
	code := s.attempt(func(s *State) Code {
		s.useNonce(tx.env.Signer, tx.env.Nonce)
		why = s.carryOut(ctx, tx)
		var e *Error
		switch {
		case why == nil:
			return OK
		case errors.As(why, &e):
			return e.Code
		}
		return CodeMalformed
	})
	if code == CodeDenied {
		s.useNonce(tx.env.Signer, tx.env.Nonce)
		s.record(ctx, Event{Kind: EventDenied, Detail: why.Error()})
	}
	if why != nil {
		return Result{code, why.Error()}
	}
	return Result{Code: OK}
}

func (s *State) carryOut(ctx txContext, tx VerifiedTx) error {
	switch b := tx.body.(type) {
	case Freshness:
		return s.freshness(tx, b)
	case CeremonyOpen:
		return s.openCeremony(ctx, tx, b)
	case CeremonyMessage:
		return s.ceremonyMessage(ctx, tx, b)
	case UsageReport:
		return s.usage(ctx, tx, b)
	case Registration:
		return s.register(ctx, tx, b)
	case Lease:
		return s.lease(ctx, tx, b)
	case GrantRequest:
		return s.grant(ctx, tx, b.Action)
	case Tick:
		return nil
	}
	return refuse(CodeMalformed, "no rule for this kind")
}

// allowed says whether a rule lets the signer act. No rule means no.
func (s *State) allowed(tx VerifiedTx, rule action.Rule) error {
	for _, who := range strings.Fields(string(s.Get(s.rulePath(rule)))) {
		role, isMember := strings.CutPrefix(who, "member:")
		switch {
		case who == "node" && tx.env.Signer.Class == action.SignerNode:
			return nil
		case isMember && tx.env.Signer.Class == action.SignerMember && slices.Contains(tx.roles, role):
			return nil
		}
	}
	return refuse(CodeDenied, "rule %s does not allow %s", rule, tx.env.Signer)
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

// grant decides on an action. What the ledger itself can do it does; for what
// custody has to do it leaves a grant.
func (s *State) grant(ctx txContext, tx VerifiedTx, a *action.Action) error {
	if err := s.allowed(tx, a.Rule); err != nil {
		return err
	}
	key, err := s.Key(a.Domain, a.PublicKey)
	if err != nil {
		return err
	}
	object := fmt.Sprintf("%s/%x", a.Domain, a.PublicKey)
	switch a.Rule {
	case action.RuleSettings:
		key.Settings = a.Settings
		s.putKey(key)
		s.record(ctx, Event{Kind: EventKeySettings, Object: object})
	case action.RuleArchive:
		if key.State != action.KeyActive && key.State != action.KeyGenerated {
			return refuse(CodeConflict, "key is %s", key.State)
		}
		key.State = action.KeyArchived
		s.putKey(key)
		s.record(ctx, Event{Kind: EventKeyArchived, Object: object})
	case action.RuleExit, action.RuleDeposit:
		if key.State != action.KeyActive {
			return refuse(CodeConflict, "key is %s", key.State)
		}
		if board := s.board(key.Ceremony); a.Rule == action.RuleDeposit && (board == nil || !board.DepositSafe()) {
			return refuse(CodeConflict, "too few holders confirmed their share of the key to deposit to it: t + f have to")
		}
		g := action.Grant{Action: a.Encode(), By: tx.env.Signer.String(), Height: uint64(ctx.block.Height), Expires: ctx.block.Time + grantLifetime}
		hash := a.Hash(s.cluster)
		s.set(s.ns.Grant(hash[:]), g.Encode())
		s.record(ctx, Event{Kind: EventGranted, Object: object, Purpose: string(a.Rule), Detail: fmt.Sprintf("action %x", hash)})
	default:
		return refuse(CodeMalformed, "rule %s is not granted this way", a.Rule)
	}
	return nil
}
