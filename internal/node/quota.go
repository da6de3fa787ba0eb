package node

import (
	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ledger"
)

// maxOfSigner bounds how many transactions of one signer wait in a mempool, and
// how many stand in a block. What is refused costs its signer nothing, and a
// denial stays in the log for good: so that a member or node that floods us
// leaves room for the others. It is far above what nodes and people send.
const maxOfSigner = 256

// quota counts transactions by who signed them.
type quota map[action.Signer]int

// take says whether there is room for one more of the signer's.
func (q quota) take(tx ledger.VerifiedTx) bool {
	who := tx.Envelope().Signer
	if q[who] == maxOfSigner {
		return false
	}
	q[who]++
	return true
}
