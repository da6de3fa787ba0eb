package node

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/signer"
	"github.com/quorate/quorate/internal/slashing"
)

// TestOnePeerLeavesRoom: a peer that asks for all it can, and withdraws it while
// custody is at work, keeps neither this node nor another peer from custody.
func TestOnePeerLeavesRoom(t *testing.T) {
	for name, c := range map[string]struct {
		method uint16
		body   func(i int) []byte
	}{
		"partials": {signer.MethodPartial, func(i int) []byte {
			return custody.SignRequest{Duty: eth.EncodeDuty(eth.Duty{Message: &eth.RandaoReveal{Epoch: uint64(i)}})}.Encode()
		}},
		"histories":  {methodHistory, func(i int) []byte { return custody.EncodeKeys([][48]byte{{byte(i)}}) }},
		"last words": {methodWitness, func(i int) []byte { return []byte{byte(i)} }},
	} {
		t.Run(name, func(t *testing.T) { leavesRoom(t, c.method, c.body) })
	}
}

func leavesRoom(t *testing.T, method uint16, body func(i int) []byte) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	asked, release := make(chan struct{}, 1<<14), make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { // a custody whose disk hangs
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			rpc.Serve(ctx, conn, func(context.Context, uint16, []byte) ([]byte, error) { //nolint:errcheck // it ends with the test
				asked <- struct{}{}
				<-release
				return slashing.Interchange{}.Encode()
			}, custody.Options())
		}
	})
	network, err := eth.LookupNetwork("mainnet")
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{custody: custody.NewClient(socket)}
	if n.signer, err = signer.New(signer.Config{Self: "node0", Roster: action.Roster{{Index: 1, Node: "node0"}}, Network: network,
		Custody: n.custody, Ledger: signerLedger{n}, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	running.Go(func() { n.custody.Run(ctx) }) //nolint:errcheck // it ends with the test
	for !n.custody.Up() {
		runtime.Gosched()
	}
	ask := func(ctx context.Context, from string, i int) error {
		_, err := n.answerPeer(ctx, from, method, body(i))
		return err
	}
	room := most(method)
	const many = 1100 // over what a peer's connection, and once custody's, takes
	answers := make(chan error, many)
	short, withdraw := context.WithCancel(ctx)
	for i := range many {
		running.Go(func() { answers <- ask(short, "node1", i) })
	}
	for range room {
		<-asked
	}
	for range many - room {
		if err := <-answers; rpc.CodeOf(err) != rpc.CodeUnavailable {
			t.Fatalf("one request more: %v", err)
		}
	}
	withdraw()
	if err := ask(ctx, "node1", 0); rpc.CodeOf(err) != rpc.CodeUnavailable {
		t.Errorf("withdrawn requests made room: %v", err)
	}
	for i, from := range []string{"node2", "node3"} {
		running.Go(func() {
			if err := ask(ctx, from, i); err != nil {
				t.Errorf("%s: %v", from, err)
			}
		})
		<-asked
	}
	close(release)
	for range room {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if err := ask(ctx, "node1", 0); err != nil {
		t.Errorf("after they were answered: %v", err)
	}
	cancel()
	l.Close()
	running.Wait()
}
