package hall_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/dkg/assembly/assemblytest"
	"github.com/quorate/quorate/internal/hall"
	"github.com/quorate/quorate/internal/hall/halltest"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/ledger/ledgertest"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// What participants say when they hand their key over reaches the ledger once,
// and what the ledger would refuse does not leave the door.
func TestDeal(t *testing.T) {
	f := halltest.New(t, assemblytest.New(t, 4, 1, 0, nil))
	var follower *assembly.Follower
	f.Play(nil, func(r *hall.Room) { follower = r.Follower }, func(assembly.Phase) {})
	view := func() *ledger.State {
		s, err := f.View()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	plans, err := view().PlanRenewal(ledger.Renewal{Mode: dkg.ModeReshare, Handover: true, Keys: [][]byte{recordOf(f).PublicKey}}, f.Cluster.Params(1, 1))
	if err != nil {
		t.Fatal(err)
	}
	p, id := plans[0].Params, plans[0].Params.ID()
	if r := f.Make(1000, f.Cluster.Tx(ledgertest.Alice, action.KindRequest, plans[0].Encode())); r.Code != ledger.OK {
		t.Fatal(r.Info)
	}
	for seat := 1; seat <= 4; seat++ {
		raw := f.Cluster.Participant(p, seat).Join().Encode()
		said := ledger.CeremonyMessage{Ceremony: id, Seat: uint16(seat), Message: raw, Signature: f.Cluster.Say(id, seat, raw)}
		if r := f.Make(1000, f.Cluster.Tx(ledgertest.Node(0), action.KindCeremonyMessage, said.Encode())); r.Code != ledger.OK {
			t.Fatal(r.Info)
		}
	}
	certificate, err := follower.Board().Certificate()
	if err != nil {
		t.Fatal(err)
	}
	says := func(seat int) ledger.DealerMessage {
		seed := sha256.Sum256([]byte{byte(seat)})
		share, err := f.Share(follower, seat)
		if err != nil {
			t.Fatal(err)
		}
		d, err := dkg.NewDealer(p, seat, secret.New(seed[:]), share, certificate.Path(seat))
		if err != nil {
			t.Fatal(err)
		}
		board, _ := view().Ceremony(id)
		out, err := d.Next(board, view().Source)
		if err != nil || len(out) != 1 {
			t.Fatalf("%d messages, %v", len(out), err)
		}
		raw := out[0].Encode()
		return ledger.DealerMessage{Ceremony: id, Seat: uint16(seat), Message: raw,
			Signature: f.Keys[seat-1].Sign(wire.TagDealerMessage, action.CeremonyParts(id, uint16(seat), raw)...)}
	}
	one, sent := says(1), f.Sent
	forged := one
	forged.Seat = 2
	if err := f.Hall.Deal(t.Context(), forged); !isCode(err, ledger.CodeSigner) {
		t.Errorf("of another: %v", err)
	}
	forged.Ceremony = [32]byte{1}
	if err := f.Hall.Deal(t.Context(), forged); !isCode(err, ledger.CodeNotFound) {
		t.Errorf("to no ceremony: %v", err)
	}
	if f.Sent != sent {
		t.Error("the node carried what the ledger refuses")
	}
	if err := f.Hall.Deal(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if err := f.Hall.Deal(t.Context(), one); !isCode(err, ledger.CodePhase) || f.Sent != sent+1 {
		t.Errorf("again: %v, %d transactions", err, f.Sent-sent)
	}
	// One after the other is checked: who waits too long leaves, and was not looked at.
	one.Seat = 2 // forged
	looking, looked := make(chan struct{}), make(chan struct{})
	looks := 0
	config := f.Config
	config.View = func() (*ledger.State, error) {
		if looks++; looks == 1 {
			close(looking)
			<-looked
		}
		return f.View()
	}
	narrow, first := hall.New(config), make(chan error)
	go func() { first <- narrow.Deal(t.Context(), one) }()
	<-looking
	gone, leave := context.WithCancel(t.Context())
	leave()
	if err := narrow.Deal(gone, one); !errors.Is(err, hall.ErrBusy) || looks != 1 {
		t.Errorf("while another is checked: %v, %d looks", err, looks)
	}
	close(looked)
	if err := <-first; !isCode(err, ledger.CodeSigner) {
		t.Errorf("the one that was checked: %v", err)
	}
	// While one is under way nobody brings it again, nor after it failed is it shut out.
	two, tries := says(2), 0
	var again *hall.Hall
	config = f.Config
	config.Submit = func(ctx context.Context, kind action.Kind, body []byte) (ledger.Result, error) {
		if tries++; tries == 1 {
			if err := again.Deal(ctx, two); !errors.Is(err, hall.ErrBusy) {
				t.Errorf("while it is under way: %v", err)
			}
			return ledger.Result{}, errors.New("no block in time")
		}
		return f.Submit(ctx, kind, body)
	}
	again = hall.New(config)
	if err := again.Deal(t.Context(), two); err == nil {
		t.Error("it got no block, and it was taken")
	}
	if err := again.Deal(t.Context(), two); err != nil {
		t.Error(err)
	}
	if board, _ := view().Ceremony(id); board.Dealt().Len() != 2 {
		t.Errorf("dealt %s", board.Dealt())
	}
}
