package opsapi

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/wire"
)

func (s *Server) open(r *http.Request) (any, error) {
	var req OpenCeremony
	if err := decode(r, &req, `{"keys":1}`); err != nil {
		return nil, err
	}
	if err := req.check(); err != nil {
		return nil, err
	}
	if req.renews() {
		return s.renew(r.Context(), req)
	}
	id, err := s.config.Ledger.OpenCeremony(r.Context(), req.Keys, req.use(), req.Hybrid, req.Purpose, req.phase())
	if err != nil {
		return nil, err
	}
	return Opened{ID: hex.EncodeToString(id[:])}, nil
}

// renew opens ceremonies on existing keys.
func (s *Server) renew(ctx context.Context, req OpenCeremony) (any, error) {
	renewal, err := req.renewal()
	if err != nil {
		return nil, err
	}
	ids, err := s.config.Ledger.Renew(ctx, renewal, req.Hybrid, req.phase())
	if err != nil {
		return nil, err
	}
	opened := Opened{ID: hex.EncodeToString(ids[0][:])}
	for _, id := range ids[1:] {
		opened.More = append(opened.More, hex.EncodeToString(id[:]))
	}
	return opened, nil
}

func (req OpenCeremony) renews() bool { return req.Mode != "" && req.Mode != dkg.ModeKeygen.String() }

func (req OpenCeremony) use() action.Use {
	if req.Use == action.UseBeacon.String() {
		return action.UseBeacon
	}
	return action.UseDuties
}

func (req OpenCeremony) phase() time.Duration {
	return time.Duration(req.PhaseTimeout) * time.Millisecond
}

// renewal reads what is asked of existing keys.
func (req OpenCeremony) renewal() (renewal ledger.Renewal, err error) {
	bad := func(text, hint string) (ledger.Renewal, error) {
		return renewal, &Error{http.StatusBadRequest, text, hint}
	}
	renewal = ledger.Renewal{Threshold: req.Threshold, Purpose: req.Purpose}
	switch req.Mode {
	case dkg.ModeRefresh.String():
		renewal.Mode = dkg.ModeRefresh
	case dkg.ModeReshare.String():
		renewal.Mode = dkg.ModeReshare
	case modeHandover:
		renewal.Mode, renewal.Handover, renewal.Deal = dkg.ModeReshare, true, req.DealTimeout
		if len(req.PublicKeys) != 1 || len(req.Lost) != 0 {
			return bad("participants hand over the one key that they made", "name it with pubkeys")
		}
	default:
		return bad(fmt.Sprintf("mode %q is unknown", req.Mode), "mode is one of "+strings.Join(Modes(), ", "))
	}
	if req.DealTimeout != 0 && !renewal.Handover {
		return bad("nobody but participants is waited for so long", "deal_timeout_ms goes with mode handover")
	}
	if req.Keys != 0 || req.Suite != "" || req.Use != "" || len(req.Purpose) > wire.MaxName {
		return bad("a "+req.Mode+" is of keys that there are", "name them with pubkeys, or none for all")
	}
	for _, k := range req.PublicKeys {
		raw, err := parseHex(k, 48)
		if err != nil {
			return renewal, err
		}
		renewal.Keys = append(renewal.Keys, raw)
	}
	for _, list := range []struct {
		to   *dkg.Seats
		from []int
	}{{&renewal.Holders, req.Seats}, {&renewal.Lost, req.Lost}} {
		for _, i := range list.from {
			if i < 1 || i > wire.MaxNodes {
				return bad(fmt.Sprintf("there is no seat %d", i), "quorate ceremony show lists the seats")
			}
			*list.to = list.to.With(i)
		}
	}
	return renewal, nil
}

// check refuses what cannot make new keys. A renewal is checked as it is read.
func (req OpenCeremony) check() error {
	if req.renews() {
		return nil
	}
	if len(req.PublicKeys)+len(req.Seats)+len(req.Lost)+req.Threshold != 0 || req.DealTimeout != 0 {
		return &Error{Status: http.StatusBadRequest, Text: "new keys are held by all seats, with the default threshold", Hint: "for existing keys say mode refresh, reshare or handover"}
	}
	if req.Keys < 1 || req.Keys > wire.MaxKeysPerBatch {
		return &Error{Status: http.StatusBadRequest, Text: fmt.Sprintf("keys is %d, want 1 to %d", req.Keys, wire.MaxKeysPerBatch)}
	}
	if req.Use != "" && req.Use != action.UseDuties.String() && req.Use != action.UseBeacon.String() || req.use() == action.UseBeacon && req.Keys != 1 {
		return &Error{Status: http.StatusBadRequest, Text: fmt.Sprintf("%d keys for use %q cannot be", req.Keys, req.Use), Hint: "use is duties or beacon, and a beacon has one key"}
	}
	if req.Suite != "" && req.Suite != suiteName(dkg.SuiteG1) {
		return &Error{Status: http.StatusBadRequest, Text: fmt.Sprintf("suite %q is unknown", req.Suite), Hint: "leave it out for " + suiteName(dkg.SuiteG1)}
	}
	if len(req.Purpose) > wire.MaxName {
		return &Error{Status: http.StatusBadRequest, Text: fmt.Sprintf("purpose is over %d bytes", wire.MaxName)}
	}
	return nil
}

// decode reads a body that holds no secret: an error may repeat parts of it.
func decode(r *http.Request, into any, example string) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return &Error{http.StatusBadRequest, "read request: " + err.Error(), "the body is " + example}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return &Error{Status: http.StatusBadRequest, Text: "data after the request"}
	}
	return nil
}
