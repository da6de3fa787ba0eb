package signerapi

import (
	"context"
	"encoding/hex"
	"log/slog"
	"net/http"
	"time"

	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/wire"
)

// sign answers POST /api/v1/eth2/sign/{identifier}. What is cheap to refuse is
// refused first: a bad identifier or a foreign key before the body is read, a
// body that is no duty, or whose root is not the one claimed, before any
// holder is asked.
func (s *Server) sign(w http.ResponseWriter, r *http.Request, identifier string) error {
	start := time.Now()
	q := signRequest{client: s.client(r)}
	signature, err := s.signature(r, identifier, &q)
	s.account(r.Context(), &q, time.Since(start), err)
	if err != nil {
		return err
	}
	writeSignature(w, wantsJSON(r.Header), &signature)
	return nil
}

// signRequest is what the log and the metrics say of a sign request; duty
// and key are zero as long as they are not known.
type signRequest struct {
	client string
	key    pubkey
	duty   eth.Duty
	parsed bool
}

func (s *Server) signature(r *http.Request, identifier string, q *signRequest) (signature [96]byte, err error) {
	if q.key, err = parseIdentifier(identifier); err != nil {
		return signature, err
	}
	if !s.config.Signer.Holds(q.key) {
		return signature, rpc.Errorf(rpc.CodeUnknownKey, "")
	}
	if err := checkType(r); err != nil {
		return signature, err
	}
	buf := s.buffers.get()
	defer s.buffers.put(buf)
	held := false
	*buf, err = readBody(r, *buf, wire.MaxHTTPBody, func() error {
		err := s.large.enter(r.Context())
		held = err == nil
		return err
	})
	if held {
		defer s.large.leave()
	}
	if err != nil {
		return signature, err
	}

	ctx, cancel := context.WithTimeout(r.Context(), s.config.Deadline)
	defer cancel()
	if err := s.signing.enter(ctx); err != nil {
		return signature, err
	}
	defer s.signing.leave()
	s.config.Metrics.working.Inc()
	defer s.config.Metrics.working.Dec()

	if err := s.parseDuty(*buf, q); err != nil {
		return signature, err
	}
	return s.config.Signer.Sign(ctx, q.client, q.key, q.duty)
}

// parseDuty reads the body and holds the signing root that the client claims
// against the one that the duty has.
func (s *Server) parseDuty(body []byte, q *signRequest) error {
	request, err := ParseSignRequest(body, s.config.Network)
	if err != nil {
		return refuse(http.StatusBadRequest, "%.300s", err)
	}
	q.duty, q.parsed = request.Duty, true
	root, err := request.Duty.SigningRoot(s.config.Network)
	if err != nil {
		return refuse(http.StatusBadRequest, "%s", err)
	}
	if request.SigningRoot != nil && *request.SigningRoot != root.Bytes() {
		status := http.StatusInternalServerError
		if s.config.Strict {
			status = http.StatusBadRequest
		}
		return refuse(status, "signing root 0x%x must match the signing root %s computed from the data", *request.SigningRoot, root)
	}
	return nil
}

// account writes the log line and the metrics of one sign request. It never
// sees the body.
func (s *Server) account(ctx context.Context, q *signRequest, took time.Duration, err error) {
	m := s.config.Metrics
	m.duration.Observe(took.Seconds())
	kind, status := "", http.StatusOK
	if q.parsed {
		kind = q.duty.Kind().String()
	}
	level := slog.LevelInfo
	if err != nil {
		status, level = statusOf(err, false), slog.LevelWarn
	}
	outcome := outcomeOf(status)
	switch {
	case err == nil:
		m.permitted.Inc()
	case status == http.StatusPreconditionFailed:
		m.prevented.Inc()
	case status == http.StatusNotFound:
		m.missing.Inc()
	case status == http.StatusBadRequest:
		m.malformed.Inc()
	}
	m.outcomes.WithLabelValues(kind, outcome).Inc()
	if !s.log.Enabled(ctx, level) {
		return
	}
	attrs := [...]slog.Attr{
		slog.Any("key", q.key), slog.String("type", kind), when(q), slog.String("outcome", outcome),
		slog.Duration("took", took), slog.String("client", q.client), {},
	}
	if err != nil {
		attrs[len(attrs)-1] = slog.Any("cause", err)
	}
	s.log.LogAttrs(ctx, level, "sign", attrs[:]...)
}

// outcomeOf names the status of a sign request, for people and labels.
func outcomeOf(status int) string {
	switch status {
	case http.StatusOK:
		return "signed"
	case http.StatusNotFound:
		return "unknown_key"
	case http.StatusPreconditionFailed:
		return "refused"
	case http.StatusServiceUnavailable:
		return "unavailable"
	case http.StatusInternalServerError:
		return "fault"
	default:
		return "malformed"
	}
}

// when is the slot of a duty, or its epoch where it has no slot. Absent for
// what has neither: slog leaves an empty attribute out.
func when(q *signRequest) slog.Attr {
	slot := func(n uint64) slog.Attr { return slog.Uint64("slot", n) }
	epoch := func(n uint64) slog.Attr { return slog.Uint64("epoch", n) }
	switch m := q.duty.Message.(type) {
	case *eth.BeaconBlockHeader:
		return slot(m.Slot)
	case *eth.AttestationData:
		return slot(m.Slot)
	case *eth.AggregateAndProof:
		return slot(m.Aggregate.Data.Slot)
	case *eth.AggregationSlot:
		return slot(m.Slot)
	case *eth.RandaoReveal:
		return epoch(m.Epoch)
	case *eth.SyncCommitteeMessage:
		return slot(m.Slot)
	case *eth.SyncAggregatorSelectionData:
		return slot(m.Slot)
	case *eth.ContributionAndProof:
		return slot(m.Contribution.Slot)
	case *eth.VoluntaryExit:
		return epoch(m.Epoch)
	case *eth.PayloadAttestationData:
		return slot(m.Slot)
	}
	return slog.Attr{}
}

func writeSignature(w http.ResponseWriter, asJSON bool, signature *[96]byte) {
	const prefix, suffix = `{"signature":"`, `"}`
	buf := make([]byte, 0, len(prefix)+2+2*len(signature)+len(suffix))
	if !asJSON {
		writeBody(w, http.StatusOK, contentText, appendHex(buf, signature[:]))
		return
	}
	buf = append(appendHex(append(buf, prefix...), signature[:]), suffix...)
	writeBody(w, http.StatusOK, contentJSON, buf)
}

func appendHex(dst, b []byte) []byte { return hex.AppendEncode(append(dst, "0x"...), b) }
