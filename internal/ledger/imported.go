package ledger

import (
	"fmt"

	"github.com/quorate/quorate/internal/action"
)

// importHistory lets custody take a slashing history from elsewhere. It keeps
// the signing node's newest only, so that nobody makes the state grow; what
// there was before stands in the audit log.
func (s *State) importHistory(ctx txContext, tx VerifiedTx, b HistoryImport) error {
	if err := s.allowed(tx, action.RuleImport); err != nil {
		return err
	}
	if err := s.ownCustody(tx, b.Domain); err != nil {
		return err
	}
	in := action.HistoryImport{Hash: b.Hash, Expires: ctx.block.Time + grantLifetime}
	s.set(s.ns.History(tx.env.Signer.Name, string(b.Domain)), in.Encode())
	s.record(ctx, Event{Kind: EventGranted, Object: string(b.Domain), Purpose: "slashing history",
		Detail: fmt.Sprintf("interchange %x, %d keys", b.Hash, b.Keys)})
	return nil
}

// HistoryImport returns the newest history that a node brought in.
func (s *State) HistoryImport(node string, domain action.Domain) (action.HistoryImport, bool) {
	raw := s.Get(s.ns.History(node, string(domain)))
	if raw == nil {
		return action.HistoryImport{}, false
	}
	return mustParse(action.ParseHistoryImport(raw)), true
}
