package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/participant"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// courier carries bundles and replies between nodes and a seat. It has no key
// and is not believed; neither are the nodes. It asks them in turns: what one
// hides the next one shows, and what one swallows the seat says to the next.
type courier struct {
	inv   *participant.Invitation
	nodes []*stop
	at    int // which node is asked
}

// stop is a node on the courier's way.
type stop struct {
	*opsapi.Client
	failed int       // times in a row
	rests  time.Time // until when others are asked
	mail   [32]byte  // hash of the letters that it has taken
}

const (
	restLeast = time.Second // of a node that did not help; twice as long each time
	restMost  = 10 * time.Minute
	fetchMost = 10 * time.Minute // for a log of 50 MB: a node that trickles costs no more
)

func newCourier(inv *participant.Invitation, nodes []string) (*courier, error) {
	if len(nodes) == 0 {
		nodes = inv.Nodes
	}
	if len(nodes) == 0 {
		return nil, fail(exitBadUse, "name one with --node http://HOST:9003", "the invitation names no node")
	}
	c := &courier{inv: inv}
	for _, n := range nodes {
		c.nodes = append(c.nodes, &stop{Client: opsapi.NewClient(n, secret.Bytes{})})
	}
	c.at = inv.Seat % len(c.nodes) // spreads the seats over the nodes
	return c, nil
}

func (c *courier) node() *stop { return c.nodes[c.at] }

// name is that of the node that is asked.
func (c *courier) name() string { return c.node().Address() }

// helped ends a node's turn.
func (c *courier) helped() {
	c.node().failed = 0
	c.next()
}

// failed ends the turn of a node that did not help, and leaves it out for a while.
func (c *courier) failed() {
	c.node().rest()
	c.next()
}

func (n *stop) rest() {
	n.rests = time.Now().Add(min(restLeast<<min(n.failed, 16), restMost))
	n.failed++
}

func (n *stop) resting() bool { return time.Now().Before(n.rests) }

// next goes on to the next node that does not rest, or to the one that has
// rested most of its time.
func (c *courier) next() {
	soonest := (c.at + 1) % len(c.nodes)
	for k := 1; k <= len(c.nodes); k++ {
		i := (c.at + k) % len(c.nodes)
		if !c.nodes[i].resting() {
			c.at = i
			return
		}
		if c.nodes[i].rests.Before(c.nodes[soonest].rests) {
			soonest = i
		}
	}
	c.at = soonest
}

// awake are the nodes to ask now where all are asked, the one whose turn it is
// first; never none.
func (c *courier) awake() (nodes []*stop) {
	for k := range c.nodes {
		if n := c.nodes[(c.at+k)%len(c.nodes)]; k == 0 || !n.resting() {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// noNode says what to do where none of the nodes helped.
func noNode(err error) error {
	code, hint := explain(err)
	var unreachable *url.Error
	if hint == "" || errors.As(err, &unreachable) {
		hint = "is this machine on a network? name another node with --node http://HOST:9003"
	}
	return &failure{code, fmt.Errorf("no node of the invitation helps: %w", err), hint}
}

// sight is what a node shows of a ceremony, and the ledger proves.
type sight struct {
	*action.AssemblyRecord
	certificate []byte
	at          time.Time // of the block
}

// look returns where the ceremony stands, as the node shows it.
func (c *courier) look(ctx context.Context, n *stop) (s sight, err error) {
	if s.certificate, err = n.AssemblyProof(ctx, c.inv.Ceremony); err != nil {
		return s, err
	}
	s.AssemblyRecord, s.at, err = c.inv.Prove(s.certificate)
	return s, err
}

// lookAround asks all nodes and takes one that shows the newest: not always the
// same, for it can still show wrong letters. It fails when none shows anything.
func (c *courier) lookAround(ctx context.Context) (newest sight, err error) {
	nodes := c.awake()
	rand.Shuffle(len(nodes), func(i, k int) { nodes[i], nodes[k] = nodes[k], nodes[i] })
	for _, n := range nodes {
		s, failed := c.look(ctx, n)
		if failed != nil {
			err = failed
			n.rest()
			continue
		}
		n.failed = 0
		if s.at.After(newest.at) {
			newest, c.at = s, slices.Index(c.nodes, n)
		}
	}
	if newest.AssemblyRecord == nil {
		return newest, noNode(err)
	}
	return newest, nil
}

// fetch returns what happened behind so many entries, as far as the node proves it.
func (c *courier) fetch(ctx context.Context, from uint64) (*participant.Bundle, error) {
	seen, err := c.look(ctx, c.node())
	if err != nil {
		return nil, err
	}
	return c.fetchUpTo(ctx, seen, from)
}

func (c *courier) fetchUpTo(ctx context.Context, seen sight, from uint64) (*participant.Bundle, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchMost)
	defer cancel()
	b := &participant.Bundle{Ceremony: c.inv.ID(), From: from, Certificate: seen.certificate}
	next := from // number of an entry; from 0 the head comes first
	if from > 0 {
		next++
	}
	for next <= seen.Entries {
		raw, then, err := c.node().AssemblyLog(ctx, c.inv.Ceremony, next)
		if err != nil {
			return nil, err
		}
		if then <= next || len(b.Log)+len(raw) > participant.MaxLog {
			return nil, fmt.Errorf("%d of %d: %w", next, seen.Entries, participant.ErrShort)
		}
		b.Log, next = append(b.Log, raw...), then
	}
	return b, nil
}

// letters adds what dealers sent to the seat, as far as any node has it.
func (c *courier) letters(ctx context.Context, b *participant.Bundle, dealers []int) {
	for _, d := range dealers {
		for _, n := range c.awake() {
			l, err := n.Letter(ctx, c.inv.Ceremony, d, c.inv.Seat)
			if err == nil {
				b.AddLetter(d, *l)
				break
			}
			if errors.As(err, new(*url.Error)) {
				n.rest()
			}
		}
	}
}

// dealers returns whose letters a seat may want now: everybody's who dealt, as
// any node says.
func (c *courier) dealers(ctx context.Context) (dealers []int) {
	for _, n := range c.awake() {
		view, err := n.Assembly(ctx, c.inv.Ceremony, true)
		if err != nil {
			n.rest()
		}
		for _, s := range view.Seats {
			if s.Dealt && s.Seat >= 1 && s.Seat <= wire.MaxParticipants {
				dealers = append(dealers, s.Seat)
			}
		}
	}
	slices.Sort(dealers)
	return slices.Compact(dealers)
}

// refusal is what a node had against a message of the seat. The seat goes by
// the log, and not by what a node says.
type refusal struct {
	node string
	err  error
}

func (r *refusal) Error() string { return fmt.Sprintf("%s refuses a message: %v", r.node, r.err) }
func (r *refusal) Unwrap() error { return r.err }

// refusals has an error for each message that no node took.
type refusals []error

func (r refusals) Error() string   { return errors.Join(r...).Error() }
func (r refusals) Unwrap() []error { return r }

// post hands over what a seat says. A message goes to some nodes, of which one
// is enough: it carries it to all. Letters go to every node, so that any can be
// asked for them, and so does the seal, which the seat does not wait to see.
func (c *courier) post(ctx context.Context, r *participant.Reply, some []*stop) error {
	id := c.inv.Ceremony
	refused := say(some, r.Seat, r.Posts, func(n *stop, p opsapi.AssemblyPost) error {
		_, err := n.PostAssembly(ctx, id, p)
		return err
	})
	if refused != nil && !errors.As(refused, new(*refusal)) {
		return refused
	}
	if len(r.Mail) > 0 {
		hash := sha256.Sum256(r.Mail)
		if err := give(c.awake(), func(n *stop) error {
			if n.mail == hash {
				return nil
			}
			err := n.PutLetters(ctx, id, r.Seat, r.Mail)
			if err == nil {
				n.mail = hash
			}
			return err
		}); err != nil {
			return err
		}
	}
	if len(r.Seal) > 0 {
		if err := give(c.awake(), func(n *stop) error {
			err := n.SealAssembly(ctx, id, opsapi.AssemblySeal{Seat: r.Seat, Signature: r.Seal})
			if conflicts(err) {
				return nil
			}
			return err
		}); err != nil {
			return err
		}
	}
	return refused
}

// postDealing hands over what a seat says to the nodes that take its key over.
func postDealing(ctx context.Context, r *participant.HandOverReply, some []*stop) error {
	return say(some, r.Seat, r.Posts, func(n *stop, p opsapi.AssemblyPost) error {
		return n.PostDealing(ctx, hex.EncodeToString(r.Ceremony[:]), p)
	})
}

// say brings messages to some nodes, of which one has to take each. It goes on
// after a refusal, and returns refusals if there was no other error.
func say(some []*stop, seat int, messages []participant.Post, to func(*stop, opsapi.AssemblyPost) error) error {
	var refused refusals
	for _, m := range messages {
		err := give(some, func(n *stop) error {
			err := to(n, opsapi.AssemblyPost{Seat: seat, Message: m.Message, Signature: m.Signature})
			if conflicts(err) {
				return &refusal{n.Address(), err}
			}
			return err
		})
		if err != nil && !errors.As(err, new(*refusal)) {
			return err
		}
		if err != nil {
			refused = append(refused, err)
		}
	}
	if len(refused) == 0 {
		return nil
	}
	return refused
}

// summons returns the newest that any node shows of a ceremony that takes the
// seat's key over.
func (c *courier) summons(ctx context.Context, id string) (raw []byte, board *dkg.Board, at time.Time, err error) {
	for _, n := range c.awake() {
		shown, failed := n.Summons(ctx, id)
		var b *dkg.Board
		var of time.Time
		if failed == nil {
			b, of, failed = c.inv.ReadSummons(shown)
		}
		if failed != nil {
			err = failed
			n.rest()
			continue
		}
		if n.failed = 0; of.After(at) {
			raw, board, at = shown, b, of
		}
	}
	if raw == nil {
		return nil, nil, at, noNode(err)
	}
	return raw, board, at, nil
}

// give fails when none of the nodes takes something.
func give(nodes []*stop, to func(*stop) error) error {
	var failed []error
	for _, n := range nodes {
		err := to(n)
		if err != nil {
			failed = append(failed, err)
		}
		if errors.As(err, new(*url.Error)) {
			n.rest()
		}
	}
	if len(failed) < len(nodes) {
		return nil
	}
	return errors.Join(failed...)
}

func conflicts(err error) bool {
	var answer *opsapi.Error
	return errors.As(err, &answer) && answer.Status == http.StatusConflict
}
