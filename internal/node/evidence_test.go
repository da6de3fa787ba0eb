package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	logfmt "github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/audit"
	"github.com/quorate/quorate/internal/audit/witnesstest"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/wire"
)

func witnessKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// A cluster's evidence is checked by one who has the genesis only, and dated
// by a witness.
func TestEvidence(t *testing.T) {
	const name = "witness.example/w"
	var witness *witnesstest.Witness
	ready := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-ready
		witness.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close) // after the nodes have ended
	nodes := startCluster(t, 4, Witness{Name: name, URL: server.URL})
	n := nodes[1]
	origin := audit.Origin(n.Cluster())
	vkeys := n.signatories.VerifierKeys(n.Genesis())
	var err error
	if witness, err = witnesstest.New(name, witnessKey(name), map[string][]string{origin: vkeys[:4]}, filepath.Join(t.TempDir(), "witness.json"), time.Now); err != nil {
		t.Fatal(err)
	}
	close(ready)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := n.OpenCeremony(ctx, 1, action.UseDuties, true, "test", 0); err != nil {
		t.Fatal(err)
	}

	// Every node gets to a checkpoint of the log that the ceremony made.
	view, err := n.View()
	if err != nil {
		t.Fatal(err)
	}
	size, _ := view.LogRoot()
	for i, n := range nodes {
		eventually(t, ctx, fmt.Sprintf("%s has a checkpoint of %d events", n.Name(), size), func() bool { return n.lastCheckpoint().Size >= size })
		raw, err := n.Checkpoint(ctx)
		if err != nil {
			t.Fatal(err)
		}
		own, err := note.NewVerifier(vkeys[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := logfmt.ParseCheckpoint(raw, origin, own); err != nil {
			t.Errorf("%s's checkpoint under its own key: %v", n.Name(), err)
		}
	}

	// The file, whole and with all but one kind of event withheld.
	var receipts [][32]byte
	for _, filter := range []audit.Filter{{}, {Kind: "ceremony opened"}} {
		var file bytes.Buffer
		if err := n.ExportLog(ctx, &file, filter); err != nil {
			t.Fatal(err)
		}
		r, err := audit.Verify(bytes.NewReader(file.Bytes()), n.genesisDoc)
		if err != nil || r.Events < size || r.Checkpoints != 1 || (r.Erased > 0) != (filter.Kind != "") {
			t.Errorf("%+v: %+v, %v", filter, r, err)
		}
	}
	for i := range size {
		if ev := view.Event(i); ev.Kind == ledger.EventCeremonyOpened {
			receipts = append(receipts, ev.Request)
		}
	}
	if len(receipts) != 1 {
		t.Fatalf("%d ceremonies", len(receipts))
	}
	raw, err := nodes[2].EventReceipt(ctx, receipts[0])
	if err != nil {
		t.Fatal(err)
	}
	if r, err := audit.Verify(bytes.NewReader(raw), n.genesisDoc); err != nil || r.Kind != "receipt" || r.Transactions.Verified != 1 {
		t.Errorf("receipt: %+v, %v", r, err)
	}
	if _, err := n.EventReceipt(ctx, [32]byte{1}); !errors.Is(err, audit.ErrNoReceipt) {
		t.Error(err)
	}

	// The witness has seen it, and its word is in some node's checkpoint.
	cosigned := 0
	for cosigned == 0 {
		for _, n := range nodes {
			if strings.Contains(string(n.lastCheckpoint().Raw), "— "+name+" ") {
				cosigned++
			}
		}
		if _, err := n.Submit(ctx, action.KindUsage, usage(n, witness.Seen(origin))); err != nil && ctx.Err() != nil {
			t.Fatal("no checkpoint was cosigned")
		}
	}

	// No node signs a log that is not its own.
	var e wire.Encoder
	e.U64(1)
	e.Fixed(make([]byte, 32))
	if _, err := nodes[0].call(ctx, "node3", methodCheckpoint, e.Out()); rpc.CodeOf(err) != rpc.CodeNotGranted {
		t.Errorf("another root: %v", err)
	}
	checkTurns(t, nodes[0])
}

// checkTurns: what waits for the ledger waits in its peer's turns, and gives them
// back when it is withdrawn.
func checkTurns(t *testing.T, n *Node) {
	t.Helper()
	var checkpoint wire.Encoder
	checkpoint.U64(1 << 40) // that the log will not come to
	checkpoint.Fixed(make([]byte, 32))
	for method, body := range map[uint16][]byte{methodCheckpoint: checkpoint.Out(), methodStop: make([]byte, 48)} {
		ctx, withdraw := context.WithCancel(t.Context())
		answers := make(chan error, most(method)+1)
		for range most(method) + 1 {
			go func() {
				_, err := n.answerPeer(ctx, "node1", method, body)
				answers <- err
			}()
		}
		if err := <-answers; rpc.CodeOf(err) != rpc.CodeUnavailable || !strings.Contains(err.Error(), "under way") {
			t.Errorf("method %d, one request more: %v", method, err)
		}
		withdraw()
		for range most(method) {
			<-answers
		}
		if _, err := n.answerPeer(ctx, "node1", method, body); err == nil || strings.Contains(err.Error(), "under way") {
			t.Errorf("method %d, after they were withdrawn: %v", method, err)
		}
	}
}

// usage is a report that makes an event, whether or not custody was used.
func usage(n *Node, sequence uint64) []byte {
	return ledger.UsageReport{Domain: action.DomainValidator, Incarnation: [16]byte{7}, Sequence: sequence}.Encode()
}
