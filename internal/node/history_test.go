package node

import (
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/ledger/ledgertest"
	"github.com/quorate/quorate/internal/signer"
)

// Those who are enough to know a key's past have an honest one of every quorum
// of its signers, also where not all nodes have shares; f that are silent do
// not keep anybody from knowing it.
func TestEnoughOfAKeysHolders(t *testing.T) {
	g := ledgertest.New(t, 10).Genesis
	network, err := g.EthNetwork()
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{genesis: g}
	n.signer, err = signer.New(signer.Config{Self: n.names()[0], Roster: action.NewRoster(g.Nodes, action.DomainValidator), Network: network, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	among := func(count int) (names []string) { // in no order
		for _, i := range rnd.Perm(10)[:count] {
			names = append(names, n.names()[i])
		}
		return names
	}
	key := signer.Key{1}
	did := func(names []string) error {
		return n.enough(key, func(node string) bool { return slices.Contains(names, node) })
	}
	if did(among(6)) == nil || did(among(7)) != nil {
		t.Error("of a key that is in no inventory seven of ten know")
	}
	for range 2000 {
		members := dkg.AllSeats(10)
		for _, i := range rnd.Perm(10)[:rnd.IntN(7)] {
			members = members.Without(dkg.AllSeats(i + 1).Without(dkg.AllSeats(i)))
		}
		th, err := action.DefaultThreshold(members.Len())
		if err != nil {
			t.Fatal(err)
		}
		n.signer.SetKey(&action.KeyRecord{PublicKey: key[:], State: action.KeyActive, T: uint16(th.T()), N: 10, Without: uint32(dkg.AllSeats(10).Without(members))})
		record, _ := n.signer.Record(key)
		holders := n.holders(record)
		if len(holders) != th.N() {
			t.Fatalf("%d holders of %d", len(holders), th.N())
		}
		spoke := among(rnd.IntN(11))
		of := len(slices.DeleteFunc(slices.Clone(spoke), func(name string) bool { return !slices.Contains(holders, name) }))
		switch err := did(spoke); {
		case err == nil && of+th.T()-th.N() <= th.F():
			t.Fatalf("%d of %d holders are enough, and a quorum of %d can have none of them that is honest", of, th.N(), th.T())
		case err != nil && of >= th.N()-th.F():
			t.Fatal(err)
		}
	}
}
