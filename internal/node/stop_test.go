package node

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/slashing"
)

// A key that the ledger archives is stopped in every holder's custody, also for
// a node that asks its own custody and nobody else.
func TestArchivedKeysStopInCustody(t *testing.T) {
	nodes := startCluster(t, 4)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	keys := makeKeys(t, ctx, nodes, 2)
	ask := func(n *Node, key [48]byte) error {
		duty := eth.Duty{Message: &eth.RandaoReveal{Epoch: 1}, Fork: eth.ForkInfo{GenesisValidatorsRoot: *n.Network().GenesisValidatorsRoot}}
		_, err := n.custody.Relay(ctx, custody.MethodSign, custody.SignRequest{Key: key, Duty: eth.EncodeDuty(duty)}.Encode())
		return err
	}
	for _, n := range nodes {
		eventually(t, ctx, n.Name()+" signs", func() bool { return errors.Join(ask(n, keys[0]), ask(n, keys[1])) == nil })
	}
	a := &action.Action{Rule: action.RuleArchive, Domain: action.DomainValidator, PublicKey: keys[0][:]}
	if err := (signerLedger{nodes[0]}).Grant(ctx, a); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		var err error
		eventually(t, ctx, n.Name()+" stops", func() bool { err = ask(n, keys[0]); return err != nil })
		if !strings.Contains(err.Error(), string(slashing.RuleStoppedKey)) {
			t.Errorf("%s: refused for another reason: %v", n.Name(), err)
		}
		if err := ask(n, keys[1]); err != nil {
			t.Errorf("%s does not sign with the other key: %v", n.Name(), err)
		}
	}
}
