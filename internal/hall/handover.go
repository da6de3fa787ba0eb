package hall

import (
	"context"
	"fmt"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ledger"
)

// dealing is one participant's word in one ceremony that takes a key over.
type dealing struct {
	ceremony [32]byte
	seat     uint16
}

// Deal carries what a participant says to the nodes that take its key over.
// The door tries it on the ledger's state first: what gets past it is taken,
// unless something came in between. A refusal is a *ledger.Error.
func (h *Hall) Deal(ctx context.Context, m ledger.DealerMessage) error {
	if err := h.enter(ctx, m); err != nil {
		return err
	}
	defer h.leave(m)
	_, err := h.submit(ctx, action.KindDealing, m.Encode())
	return err
}

// enter lets one word of a participant be under way. One after the other is
// checked: anybody may knock, and to turn forged words away costs what true ones
// do. Only a word that is true takes its participant's place.
func (h *Hall) enter(ctx context.Context, m ledger.DealerMessage) error {
	select {
	case h.door <- struct{}{}:
		defer func() { <-h.door }()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
	}
	h.mu.Lock()
	busy := h.dealings[dealing{m.Ceremony, m.Seat}]
	h.mu.Unlock()
	if busy {
		return ErrBusy
	}
	view, err := h.config.View()
	if err != nil {
		return err
	}
	if err := view.TakesDealing(m); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dealings[dealing{m.Ceremony, m.Seat}] = true
	return nil
}

func (h *Hall) leave(m ledger.DealerMessage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.dealings, dealing{m.Ceremony, m.Seat})
}
