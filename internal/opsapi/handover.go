package opsapi

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/participant"
	"github.com/quorate/quorate/internal/proof"
)

// Ceremonies in which participants hand their key over to nodes. As with those
// of participants, nobody needs a token.

func (s *Server) handoverRoutes() map[string]route {
	free := func(body int64) bounds { return bounds{body: body, time: requestTime, open: true} }
	return map[string]route{
		"GET /v1/ceremonies/{id}/summons":   {free(maxRequest), of(s.summons)},
		"POST /v1/ceremonies/{id}/messages": {free(maxRequest), of(s.postDealing)},
	}
}

// summons is what a participant is shown of a ceremony that takes its key over.
func (s *Server) summons(r *http.Request, id [32]byte) (any, error) {
	_, board, about, err := s.board(r)
	if err != nil {
		return nil, err
	}
	if p := board.Params(); !p.FromAssembly() {
		return nil, &Error{http.StatusConflict, "no participants hand a key over in that ceremony", "quorate ceremony show " + r.PathValue("id")}
	}
	out := participant.Summons{Ceremony: id}
	if out.Certificate, err = s.config.Evidence.Prove(r.Context(), func(ns proof.Namespace) []proof.Path {
		return []proof.Path{ns.Ceremony(id[:]), ns.Key(string(action.DomainValidator), about.Keys[0])}
	}); err != nil {
		return nil, err
	}
	// After the proof: what it names is there by now.
	view, board, _, err := s.board(r)
	if err != nil {
		return nil, err
	}
	for _, name := range board.DealerBodies() {
		body, err := view.Source(name)
		if err != nil {
			return nil, err
		}
		out.Bodies = append(out.Bodies, dkg.Posted{Name: name, Body: body})
	}
	return fileOf(kindBinary, out.Encode(), nil)
}

func (s *Server) postDealing(r *http.Request, id [32]byte) (any, error) {
	var req AssemblyPost
	if err := decode(r, &req, `{"seat":1,"message":"…","signature":"…"}`); err != nil {
		return nil, err
	}
	if err := checkSeat(req.Seat); err != nil {
		return nil, err
	}
	return struct{}{}, s.config.Hall.Deal(r.Context(), ledger.DealerMessage{Ceremony: id, Seat: uint16(req.Seat), Message: req.Message, Signature: req.Signature})
}

// Summons returns what a participant has to be shown, encoded. Who uses it
// proves it.
func (c *Client) Summons(ctx context.Context, id string) ([]byte, error) {
	var raw bytes.Buffer
	err := c.stream(ctx, requestTime, http.MethodGet, "/v1/ceremonies/"+url.PathEscape(id)+"/summons", nil, &limited{&raw, participant.MaxSummons})
	return raw.Bytes(), err
}

// PostDealing brings what a participant says.
func (c *Client) PostDealing(ctx context.Context, id string, p AssemblyPost) error {
	return c.post(ctx, "/v1/ceremonies/"+url.PathEscape(id)+"/messages", p, &struct{}{})
}

// Words says what may still be true of a key that participants handed over:
// nobody can see who has destroyed a share.
func (f *Former) Words() string {
	return fmt.Sprintf("participants: any %d of their %d old shares can still sign, until more than %d are destroyed", f.Threshold, f.Participants, f.Participants-f.Threshold)
}

// Words says who can sign with a key that is being handed over.
func (f *FromAssembly) Words(phase string) string {
	former := Former{f.Ceremony, f.Participants, f.Threshold}
	switch {
	case phase == dkg.PhaseDone.String() && f.DepositSafe:
		return "the nodes hold the key. " + former.Words()
	case phase == dkg.PhaseDone.String():
		return "the nodes sign with the key. Old shares are kept until t + f nodes have confirmed theirs"
	case phase == dkg.PhaseAborted.String():
		return "nothing has changed: the participants hold the key"
	}
	return "the participants hold the key until this is done"
}
