package e2e

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/dkg/dkgtest"
	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/participant"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// deal has a participant deal in a hand-over with a program of its own, which
// lies. With ! before it, the node has to refuse what it says. In hybrid mode it
// opens what it sent to whoever complains, until nobody can any more.
func deal(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 4 {
		ts.Fatalf("usage: deal INVITATION CEREMONY NODE nothing|one-share|noise|constant")
	}
	d, err := newDealer(ts, args[0], args[1], args[2])
	ts.Check(err)
	b, err := d.until(func(b *dkg.Board) bool { return b.Phase() >= dkg.PhaseDeal })
	ts.Check(err)
	m, err := d.Deal(b, d.source, dkgtest.Lie(args[3]))
	ts.Check(err)
	err = d.say(m)
	var refused *opsapi.Error
	if neg {
		if !errors.As(err, &refused) || refused.Status != http.StatusConflict {
			ts.Fatalf("the node takes it, or does not say no: %v", err)
		}
		ts.Logf("refused: %v", err)
		return
	}
	ts.Check(err)
	for b.Params().Hybrid && b.Phase() <= dkg.PhaseAnswer {
		b, err = d.until(func(b *dkg.Board) bool { return len(b.Claims(d.Seat)) > 0 || b.Phase() > dkg.PhaseAnswer })
		ts.Check(err)
		answers, err := d.Answers(b, d.source)
		ts.Check(err)
		for _, m := range answers {
			if err := d.say(m); err != nil && !errors.As(err, &refused) { // or it is there already
				ts.Fatalf("answer: %v", err)
			}
		}
	}
}

type dealer struct {
	dkgtest.Liar
	inv    *participant.Invitation
	signer credential.Signer
	node   *opsapi.Client
	name   string
	id     [32]byte
	bodies map[[32]byte][]byte
}

// newDealer takes what a participant has: dir/3-p3.json and dir/3-p3.seat, and
// its key file, p3.key.
func newDealer(ts *testscript.TestScript, invitation, ceremony, node string) (*dealer, error) {
	home := ts.MkAbs(strings.TrimSuffix(invitation, ".json") + ".seat")
	inv, err := participant.ParseInvitation([]byte(ts.ReadFile(invitation)))
	if err != nil {
		return nil, err
	}
	key := []byte(ts.ReadFile(inv.Name + ".key"))
	id, err := hex.DecodeString(ceremony)
	if err != nil || len(id) != 32 {
		return nil, fmt.Errorf("%q is no ceremony", ceremony)
	}
	d := &dealer{inv: inv, node: opsapi.NewClient(node, secret.Bytes{}), name: ceremony, id: [32]byte(id), bodies: map[[32]byte][]byte{}}
	if d.signer, err = credential.Open(key, secret.Bytes{}); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(home, "certificate"))
	if err != nil {
		return nil, err
	}
	c, err := assembly.ParseCertificate(raw)
	if err != nil {
		return nil, err
	}
	share, err := participant.ReadShare(home, credential.NewBox(key, secret.Bytes{}))
	if err != nil {
		return nil, err
	}
	d.Liar = dkgtest.Liar{Seat: inv.Seat, Path: c.Path(inv.Seat)}
	share.Secret.Expose(func(b []byte) { d.Share = append(d.Share, b...) })
	return d, nil
}

// until asks the node, and believes what it proves, until something holds.
func (d *dealer) until(holds func(*dkg.Board) bool) (b *dkg.Board, err error) {
	if !eventually(patience, func() bool {
		var raw []byte
		if raw, err = d.node.Summons(context.Background(), d.name); err != nil {
			return false
		}
		var s *participant.Summons
		if s, err = participant.ParseSummons(raw); err != nil {
			return false
		}
		for _, body := range s.Bodies {
			d.bodies[body.Name] = body.Body
		}
		b, _, err = d.inv.ReadSummons(raw)
		return err == nil && holds(b)
	}) {
		return nil, fmt.Errorf("participant %d waits in vain: %w", d.Seat, err)
	}
	return b, nil
}

func (d *dealer) source(name [32]byte) ([]byte, error) {
	if body := d.bodies[name]; body != nil {
		return body, nil
	}
	return nil, fmt.Errorf("body %x was not brought", name[:8])
}

func (d *dealer) say(m dkg.Message) error {
	raw := m.Encode()
	signature, err := d.signer.Sign(context.Background(), wire.TagDealerMessage, action.CeremonyParts(d.id, uint16(d.Seat), raw)...)
	if err != nil {
		return err
	}
	return d.node.PostDealing(context.Background(), d.name, opsapi.AssemblyPost{Seat: d.Seat, Message: raw, Signature: signature})
}
