package opsapi

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/wire"
)

func (s *Server) open(r *http.Request) (any, error) {
	var req OpenCeremony
	if err := decode(r, &req, `{"keys":1}`); err != nil {
		return nil, err
	}
	if req.Keys < 1 || req.Keys > wire.MaxKeysPerBatch {
		return nil, &Error{Status: http.StatusBadRequest, Text: fmt.Sprintf("keys is %d, want 1 to %d", req.Keys, wire.MaxKeysPerBatch)}
	}
	if req.Suite != "" && req.Suite != suiteName(dkg.SuiteG1) {
		return nil, &Error{Status: http.StatusBadRequest, Text: fmt.Sprintf("suite %q is unknown", req.Suite), Hint: "leave it out for " + suiteName(dkg.SuiteG1)}
	}
	if len(req.Purpose) > wire.MaxName {
		return nil, &Error{Status: http.StatusBadRequest, Text: fmt.Sprintf("purpose is over %d bytes", wire.MaxName)}
	}
	phase := time.Duration(req.PhaseTimeout) * time.Millisecond
	id, err := s.config.Ledger.OpenCeremony(r.Context(), req.Keys, req.Hybrid, req.Purpose, phase)
	if err != nil {
		return nil, err
	}
	return Opened{ID: hex.EncodeToString(id[:])}, nil
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

func hexDigits(size int) string { return fmt.Sprintf("0x and %d hex digits", 2*size) }
