package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/wire"
)

// anchors keeps custody convinced that the ledger it is shown is the present
// one. An anchor costs a transaction, so it is renewed only when somebody
// needs it and it is past half its life.
type anchors struct {
	mu     sync.Mutex
	since  time.Time
	height uint64
}

// anchor returns the height from which certificates count as fresh for the
// node's own custody, proving a new nonce first where that is due.
func (n *Node) anchor(ctx context.Context) (uint64, error) {
	n.anchors.mu.Lock()
	defer n.anchors.mu.Unlock()
	if time.Since(n.anchors.since) < wire.FreshnessWindow/2 {
		return n.anchors.height, nil
	}
	asked := time.Now()
	nonce, err := n.custody.Challenge(ctx)
	if err != nil {
		return 0, fmt.Errorf("anchor custody: %w", err)
	}
	body := ledger.Freshness{Domain: action.DomainValidator, Nonce: nonce}.Encode()
	receipt, err := n.Submit(ctx, action.KindFreshness, body)
	if err != nil {
		return 0, fmt.Errorf("anchor custody: %w", err)
	}
	cert, err := n.certificate(ctx, receipt.Height, n.namespace().Fresh(n.cfg.Name, string(action.DomainValidator)))
	if err != nil {
		return 0, fmt.Errorf("anchor custody: %w", err)
	}
	if err := n.custody.Anchor(ctx, cert.raw); err != nil {
		return 0, fmt.Errorf("anchor custody: %w", err)
	}
	n.anchors.since, n.anchors.height = asked, cert.height
	return cert.height, nil
}

// forgetAnchor makes the next use anchor again: custody was restarted.
func (n *Node) forgetAnchor() {
	n.anchors.mu.Lock()
	defer n.anchors.mu.Unlock()
	n.anchors.since = time.Time{}
}

// certificate is an encoded certificate and the height of its header.
type certificate struct {
	raw    []byte
	height uint64
}

func (n *Node) certificate(ctx context.Context, atLeast uint64, paths ...proof.Path) (certificate, error) {
	c, err := n.Certify(ctx, atLeast, paths...)
	if err != nil {
		return certificate{}, err
	}
	raw, err := c.Encode()
	if err != nil {
		return certificate{}, err
	}
	return certificate{raw, c.Header.Height}, nil
}

// freshCertificate proves paths so that the node's own custody accepts it.
// At least is the block that must have been seen.
func (n *Node) freshCertificate(ctx context.Context, atLeast uint64, paths ...proof.Path) (certificate, error) {
	anchored, err := n.anchor(ctx)
	if err != nil {
		return certificate{}, err
	}
	// The anchor's height is a header's; the state it proves is one older.
	return n.certificate(ctx, max(atLeast, anchored-1), paths...)
}

func (n *Node) namespace() proof.Namespace { return proof.Namespace(n.genesis.Namespace) }
