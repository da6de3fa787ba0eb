package node

import (
	"testing"

	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/quorate/quorate/internal/ledger/ledgertest"
	"github.com/quorate/quorate/internal/wire"
)

// Whatever the ledger takes the mempool takes, and a block has room for it
// beside all signatures and evidence.
func TestEngineLimits(t *testing.T) {
	c := ledgertest.New(t, wire.MaxNodes)
	if got := engineConfig(t.TempDir(), "127.0.0.1:1", nil).Mempool.MaxTxBytes; got != wire.MaxTx {
		t.Errorf("the mempool takes %d bytes, the ledger %d", got, wire.MaxTx)
	}
	gd, err := engineGenesis(c.Genesis, c.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := gd.ConsensusParams
	if room := cmttypes.MaxDataBytes(p.Block.MaxBytes, p.Evidence.MaxBytes, wire.MaxNodes); room < wire.MaxTx+txOverhead {
		t.Errorf("room for %d bytes in a full block, a transaction has up to %d", room, wire.MaxTx)
	}
}
