package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/participant"
	"github.com/quorate/quorate/internal/secret"
)

// courier carries bundles and replies between nodes and a seat. It has no key
// and is not believed; neither are the nodes, of which it takes another when
// one does not answer or lies.
type courier struct {
	inv   *participant.Invitation
	nodes []*opsapi.Client
	at    int // which node is asked
}

func newCourier(inv *participant.Invitation, nodes []string) (*courier, error) {
	if len(nodes) == 0 {
		nodes = inv.Nodes
	}
	if len(nodes) == 0 {
		return nil, fail(exitBadUse, "name one with --node http://HOST:9003", "the invitation names no node")
	}
	c := &courier{inv: inv}
	for _, n := range nodes {
		c.nodes = append(c.nodes, opsapi.NewClient(n, secret.Bytes{}))
	}
	c.at = inv.Seat % len(c.nodes) // spreads the seats over the nodes
	return c, nil
}

func (c *courier) node() *opsapi.Client { return c.nodes[c.at] }

// name is that of the node that is asked.
func (c *courier) name() string { return c.node().Address() }

func (c *courier) another() { c.at = (c.at + 1) % len(c.nodes) }

// try asks one node after the other until one helps.
func (c *courier) try(ctx context.Context, ask func() error) (err error) {
	for range c.nodes {
		if err = ask(); err == nil || ctx.Err() != nil {
			return err
		}
		var refused *refusal
		if errors.As(err, &refused) {
			return err
		}
		c.another()
	}
	return noNode(err)
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

// fetch returns what happened behind so many entries.
func (c *courier) fetch(ctx context.Context, from uint64) (*participant.Bundle, error) {
	id, node := c.inv.Ceremony, c.node()
	b := &participant.Bundle{Ceremony: c.inv.ID(), From: from}
	var err error
	// The proof first: the log that comes after it reaches as far at least.
	if b.Certificate, err = node.AssemblyProof(ctx, id); err != nil {
		return nil, err
	}
	next := from // number of an entry; from 0 the head comes first
	if from > 0 {
		next++
	}
	for len(b.Log) <= participant.MaxLog {
		raw, then, err := node.AssemblyLog(ctx, id, next)
		if err != nil {
			return nil, err
		}
		if len(raw) == 0 {
			break
		}
		b.Log, next = append(b.Log, raw...), then
	}
	return b, nil
}

// letters adds what dealers sent to the seat, as far as any node has it.
func (c *courier) letters(ctx context.Context, b *participant.Bundle, dealers []int) {
	for _, d := range dealers {
		for k := range c.nodes {
			l, err := c.nodes[(c.at+k)%len(c.nodes)].Letter(ctx, c.inv.Ceremony, d, c.inv.Seat)
			if err == nil {
				b.AddLetter(d, *l)
				break
			}
		}
	}
}

// dealers returns whose letters a seat may want now: everybody's who dealt.
func (c *courier) dealers(ctx context.Context) (dealers []int, err error) {
	view, err := c.node().Assembly(ctx, c.inv.Ceremony, true)
	for _, s := range view.Seats {
		if s.Dealt {
			dealers = append(dealers, s.Seat)
		}
	}
	return dealers, err
}

// refusal is what a node had against a message of the seat. The seat goes by
// the log, and not by what a node says.
type refusal struct {
	node string
	err  error
}

func (r *refusal) Error() string { return fmt.Sprintf("%s refuses a message: %v", r.node, r.err) }
func (r *refusal) Unwrap() error { return r.err }

// post hands over what a seat says. One node carries a message to all; letters
// go to every node, so that any can be asked for them.
func (c *courier) post(ctx context.Context, r *participant.Reply) error {
	id, node := c.inv.Ceremony, c.node()
	var refused []error
	for _, p := range r.Posts {
		_, err := node.PostAssembly(ctx, id, opsapi.AssemblyPost{Seat: r.Seat, Message: p.Message, Signature: p.Signature})
		if conflicts(err) {
			refused = append(refused, &refusal{c.name(), err})
			continue
		}
		if err != nil {
			return err
		}
	}
	if len(r.Mail) > 0 {
		var failed []error
		for _, n := range c.nodes {
			if err := n.PutLetters(ctx, id, r.Seat, r.Mail); err != nil {
				failed = append(failed, err)
			}
		}
		if len(failed) == len(c.nodes) {
			return errors.Join(failed...)
		}
	}
	if len(r.Seal) > 0 {
		if err := node.SealAssembly(ctx, id, opsapi.AssemblySeal{Seat: r.Seat, Signature: r.Seal}); err != nil && !conflicts(err) {
			return err
		}
	}
	return errors.Join(refused...)
}

func conflicts(err error) bool {
	var answer *opsapi.Error
	return errors.As(err, &answer) && answer.Status == http.StatusConflict
}
