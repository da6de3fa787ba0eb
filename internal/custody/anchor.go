package custody

import (
	"context"
	"crypto/ed25519"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/slashing"
	"github.com/quorate/quorate/internal/wire"
)

// signAnchor states how far the slashing record has come. The node puts it on
// the ledger with the registration and with each lease, one in every epoch; the
// next incarnation finds it in its own record there and knows by it a disk
// that was rolled back.
func (p *Process) signAnchor() ([]byte, error) {
	a := p.life.opened
	if _, _, registered := p.life.fence(); registered {
		var err error
		if a, err = anchorOf(p.record); err != nil {
			return nil, err
		}
	}
	var e wire.Encoder
	action.SignedAnchor{Anchor: a, Signature: [ed25519.SignatureSize]byte(p.life.sign(a.Message(p.cluster, p.domain)))}.EncodeTo(&e)
	return e.Out(), nil
}

func anchorOf(r *slashing.Record) (action.Anchor, error) {
	a, err := r.Anchor()
	return action.Anchor{Sequence: a.Seq, Chain: a.Chain, Watermarks: a.Watermarks}, err
}

// RecordAnchor returns how far custody's slashing record has come, signed by
// its incarnation: before the registration as it was opened, then as it is.
func (c *Client) RecordAnchor(ctx context.Context) (action.SignedAnchor, error) {
	return call(ctx, c, MethodRecordAnchor, nil, func(b []byte) (action.SignedAnchor, error) {
		d := wire.NewDecoder(b)
		a := action.DecodeSignedAnchor(d)
		return a, d.Finish()
	})
}
