package opsapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg/assembly/assemblytest"
	"github.com/quorate/quorate/internal/hall/halltest"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/ledger/ledgertest"
	"github.com/quorate/quorate/internal/secret"
)

// A participant without a token is told what it cannot be told or say, and
// nothing of it reaches the ledger. A whole hand-over is e2e's.
func TestHandoverIsOfParticipants(t *testing.T) {
	w := halltest.New(t, assemblytest.New(t, 4, 1, 0, nil))
	server, err := New(Config{Ledger: onWorld{newFixture(t), w}, Keys: &keyRoom{}, Evidence: newFixture(t), Hall: w.Hall, Beacon: newFixture(t), Self: newFixture(t),
		Token: secret.New([]byte(token)), Listen: "0.0.0.0:0", Cluster: w.Cluster.ID, Node: "node0"})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(server)
	defer front.Close()
	c := NewClient(front.URL, secret.Bytes{})
	nodes := w.Cluster.Params(1, 1)
	if r := w.Make(1000, w.Cluster.Tx(ledgertest.Alice, action.KindRequest, ledger.CeremonyOpen{Params: nodes}.Encode())); r.Code != ledger.OK {
		t.Fatal(r.Info)
	}
	said := AssemblyPost{Seat: 1, Message: []byte("m"), Signature: []byte("s")}
	sent := w.Sent
	for id, want := range map[string]int{fmt.Sprintf("%x", nodes.ID()): http.StatusConflict, fmt.Sprintf("%x", w.ID): http.StatusNotFound, strings.Repeat("0", 64): http.StatusNotFound, "x": http.StatusBadRequest} {
		if _, err := c.Summons(t.Context(), id); status(err) != want {
			t.Errorf("a summons to %.8s: %v, want %d", id, err, want)
		}
		if err := c.PostDealing(t.Context(), id, said); status(err) != want {
			t.Errorf("a dealing in %.8s: %v, want %d", id, err, want)
		}
	}
	said.Seat = 0
	if err := c.PostDealing(t.Context(), fmt.Sprintf("%x", nodes.ID()), said); status(err) != http.StatusBadRequest {
		t.Errorf("of no seat: %v", err)
	}
	if w.Sent != sent {
		t.Error("something reached the ledger")
	}
}
