package node

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/slashing"
)

// A key that the ledger archives is stopped in every holder's custody, also for
// a node that asks its own custody and nobody else.
func TestArchivedKeysStopInCustody(t *testing.T) {
	nodes := startCluster(t, 4)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	keys := makeKeys(t, ctx, nodes, 2)
	for _, n := range nodes {
		eventually(t, ctx, n.Name()+" signs", func() bool { return errors.Join(askCustody(ctx, n, keys[0], 0), askCustody(ctx, n, keys[1], 0)) == nil })
	}
	archive(t, ctx, nodes[0], keys[0])
	for _, n := range nodes {
		var err error
		eventually(t, ctx, n.Name()+" stops", func() bool { err = askCustody(ctx, n, keys[0], 0); return err != nil })
		if !stopped(err) {
			t.Errorf("%s: refused for another reason: %v", n.Name(), err)
		}
		if err := askCustody(ctx, n, keys[1], 0); err != nil {
			t.Errorf("%s does not sign with the other key: %v", n.Name(), err)
		}
	}
}

// A holder that left has its key again by a reshare, and custody lets it sign
// that comes back. If it is archived before the reshare ends, it stays stopped.
func TestArchivedKeysDoNotComeBack(t *testing.T) {
	nodes := startCluster(t, 5)
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	key := makeKeys(t, ctx, nodes, 1)[0]
	reshare := func(holders dkg.Seats) [32]byte {
		ids, err := nodes[0].Renew(ctx, ledger.Renewal{Mode: dkg.ModeReshare, Keys: [][]byte{key[:]}, Holders: holders}, false, 0)
		if err != nil {
			t.Fatal(err)
		}
		return ids[0]
	}
	end := func(id [32]byte) {
		if _, err := nodes[0].WaitCeremony(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	all := dkg.AllSeats(5)
	end(reshare(dkg.AllSeats(4)))
	eventually(t, ctx, "the fifth gives its share up", func() bool {
		status, err := nodes[4].custody.Status(ctx)
		return err == nil && status.Handovers == 1
	})
	back := reshare(all)
	archive(t, ctx, nodes[0], key)
	end(back)
	for _, n := range nodes {
		view, err := n.View()
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, ctx, n.Name()+" has its new share", func() bool {
			status, err := n.custody.Status(ctx)
			return err == nil && len(status.Pending) == 0
		})
		eventually(t, ctx, n.Name()+" is stopped in the new epoch", func() bool { return stopped(askCustody(ctx, n, key, 2)) })
		if r, err := view.Key(action.DomainValidator, key[:]); n == nodes[0] && (err != nil || r.State != action.KeyArchived || r.Epoch != 2) {
			t.Fatalf("this tested nothing: %+v, %v", r, err)
		}
	}
}

// askCustody asks a node's custody, and nobody else, for its part of a signature.
func askCustody(ctx context.Context, n *Node, key [48]byte, epoch uint32) error {
	duty := eth.Duty{Message: &eth.RandaoReveal{Epoch: 1}, Fork: eth.ForkInfo{GenesisValidatorsRoot: *n.Network().GenesisValidatorsRoot}}
	_, err := n.custody.Relay(ctx, custody.MethodSign, custody.SignRequest{Key: key, Epoch: epoch, Duty: eth.EncodeDuty(duty)}.Encode())
	return err
}

func stopped(err error) bool {
	return err != nil && strings.Contains(err.Error(), string(slashing.RuleStoppedKey))
}

func archive(t *testing.T, ctx context.Context, n *Node, key [48]byte) {
	t.Helper()
	if err := (signerLedger{n}).Grant(ctx, &action.Action{Rule: action.RuleArchive, Domain: action.DomainValidator, PublicKey: key[:]}); err != nil {
		t.Fatal(err)
	}
}
