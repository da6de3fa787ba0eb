package opsapi

import (
	"context"
	"net/http"
	"net/url"

	"github.com/quorate/quorate/internal/dkg"
)

// Transcripts are the files that prove a ceremony to whoever has neither the
// ledger nor trust in a node.
type Transcripts struct {
	Archive     []byte `json:"archive"`     // for replay
	Certificate []byte `json:"certificate"` // for everybody else
}

func (s *Server) transcripts(r *http.Request) (any, error) {
	view, board, _, err := s.board(r)
	if err != nil {
		return nil, err
	}
	if phase := board.Phase(); phase != dkg.PhaseDone {
		return nil, &Error{http.StatusConflict, "the ceremony is in phase " + phase.String() + " and proves nothing yet", "quorate ceremony watch " + r.PathValue("id")}
	}
	x, err := dkg.ReadTranscript(board, view.Source)
	if err != nil {
		return nil, err
	}
	return Transcripts{x.Archive(), x.Certificate()}, nil
}

// Transcripts returns those of a ceremony that is done.
func (c *Client) Transcripts(ctx context.Context, id string) (v Transcripts, err error) {
	return v, c.get(ctx, "/v1/ceremonies/"+url.PathEscape(id)+"/transcripts", &v)
}
