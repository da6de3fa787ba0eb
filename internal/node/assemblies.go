package node

import (
	"context"
	"errors"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/proof"
)

// followAssemblies reads on in the logs of ceremonies among participants with
// every block, so that who asks does not wait for it.
func (n *Node) followAssemblies(ctx context.Context) error {
	for {
		_, moved := n.app.wait()
		if err := n.hall.FollowOpen(); err != nil {
			n.log.Warn("follow ceremonies among participants", "err", err)
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil
		}
	}
}

// submitFor carries what a participant signed.
func (n *Node) submitFor(ctx context.Context, kind action.Kind, body []byte) (ledger.Result, error) {
	r, err := n.Submit(ctx, kind, body)
	if err != nil && !errors.As(err, new(*ledger.Error)) {
		err = unavailable(err)
	}
	return ledger.Result{Request: r.Request, Entry: r.Entry}, err
}

// Prove proves what paths hold, as of the newest state that a header names, to
// whoever knows the genesis: an encoded proof.Certificate.
func (n *Node) Prove(ctx context.Context, paths func(proof.Namespace) []proof.Path) ([]byte, error) {
	c, err := n.certificate(ctx, 0, paths(n.namespace())...)
	return c.raw, unavailable(err)
}
