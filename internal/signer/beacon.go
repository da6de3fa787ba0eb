package signer

import (
	"context"
	"encoding/binary"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/quorum"
	"github.com/quorate/quorate/internal/rpc"
)

// MethodRound is the call by which a node asks another for a partial signature
// of a beacon's round. Its body and answer are custody's.
const MethodRound uint16 = 16

// roundHolder is a seat of the roster as package quorum asks it for a round.
type roundHolder struct {
	seat action.Seat
	ask  asking
}

func (h roundHolder) Name() string  { return h.seat.Node }
func (h roundHolder) Index() uint16 { return h.seat.Index }

func (h roundHolder) SignPartial(ctx context.Context, req quorum.Request) (bls.Partial, error) {
	raw, err := h.ask(ctx, custody.RoundRequest{Key: req.Key.Bytes(), Epoch: req.Epoch, Height: binary.BigEndian.Uint64(req.Duty)}.Encode())
	if err != nil {
		return bls.Partial{}, err
	}
	answer, err := custody.ParseSignResponse(raw)
	if err != nil {
		return bls.Partial{}, err
	}
	return partialOf(h.seat, answer, req.Epoch)
}

// Round returns the verified signature of a beacon's round. A round has only
// one, whoever makes it.
func (s *Signer) Round(ctx context.Context, key Key, height uint64) (sig [bls.SignatureSize]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	made, _, err := s.combine(ctx, s.rounds, action.UseBeacon, key, binary.BigEndian.AppendUint64(nil, height), bls.NewRound(s.cfg.Cluster, height))
	if err != nil {
		return sig, err
	}
	return made.Bytes(), nil
}

// PartialRound answers for this node's custody: it adds the proof that the
// height is final, and that the key is a beacon's. Custody checks both.
func (s *Signer) PartialRound(ctx context.Context, body []byte) ([]byte, error) {
	req, err := custody.ParseRoundRequest(body)
	if err != nil {
		return nil, rpc.Errorf(rpc.CodeMalformed, "%v", err)
	}
	if req.Certificate, err = s.cfg.Ledger.ProveKey(ctx, req.Key, req.Height); err != nil {
		return nil, err
	}
	return s.cfg.Custody.Relay(ctx, custody.MethodRound, req.Encode())
}
