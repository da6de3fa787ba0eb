package hall

import (
	"context"

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
	view, err := h.config.View()
	if err != nil {
		return err
	}
	if err := view.TakesDealing(m); err != nil {
		return err
	}
	of := dealing{m.Ceremony, m.Seat}
	if !h.enter(of) {
		return ErrBusy
	}
	defer h.leave(of)
	_, err = h.submit(ctx, action.KindDealing, m.Encode())
	return err
}

// enter lets one word of a participant be under way.
func (h *Hall) enter(of dealing) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dealings[of] {
		return false
	}
	h.dealings[of] = true
	return true
}

func (h *Hall) leave(of dealing) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.dealings, of)
}
