package signerapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/quorate/quorate/internal/rpc"
)

// failure is an error whose status is decided. Its text is for the client.
type failure struct {
	status int
	text   string
}

func (f *failure) Error() string { return f.text }

func refuse(status int, format string, args ...any) error {
	return &failure{status, fmt.Sprintf(format, args...)}
}

// statusOf is the one map from what went wrong below to HTTP.
func statusOf(err error, keymanager bool) int {
	var f *failure
	if errors.As(err, &f) {
		return f.status
	}
	switch rpc.CodeOf(err) {
	case rpc.CodeMalformed:
		return http.StatusBadRequest
	case rpc.CodeUnknownKey:
		return http.StatusNotFound
	case rpc.CodeSlashable, rpc.CodeFenced, rpc.CodeOutOfRange:
		return http.StatusPreconditionFailed
	case rpc.CodeNotGranted:
		// Validator clients know one status for "the signer will not".
		if keymanager {
			return http.StatusForbidden
		}
		return http.StatusPreconditionFailed
	case rpc.CodeWaiting:
		return http.StatusAccepted
	case rpc.CodeUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// textOf is what the client may read of an error: refusals speak, faults do not.
func textOf(err error, status int) string {
	var f *failure
	var refusal *rpc.Error
	switch {
	case errors.As(err, &f):
		return f.text
	case status == http.StatusInternalServerError:
		return "internal error"
	case errors.As(err, &refusal):
		return refusal.Error()
	case status == http.StatusServiceUnavailable:
		return "no quorum in time"
	default:
		return http.StatusText(status)
	}
}

// fail writes the error unless an answer is already under way.
func (s *Server) fail(w *response, rt *route, err error) {
	if w.status != 0 {
		return
	}
	status := statusOf(err, rt.keymanager)
	if status == http.StatusInternalServerError {
		s.log.Error("request failed", "route", rt.name, "cause", err)
	}
	var body any = signerError{textOf(err, status)}
	if rt.keymanager {
		body = keymanagerError{textOf(err, status)}
	}
	h := w.Header()
	switch status {
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	case http.StatusRequestEntityTooLarge, http.StatusRequestTimeout, http.StatusUnsupportedMediaType:
		h.Set("Connection", "close") // the body is not read to its end
	}
	writeJSON(w, status, body)
}

// signerError is the form that Nimbus reads.
type signerError struct {
	Error string `json:"error"`
}

// keymanagerError is ErrorResponse of the Keymanager API.
type keymanagerError struct {
	Message string `json:"message"`
}

const (
	contentJSON = "application/json; charset=utf-8"
	contentText = "text/plain; charset=utf-8"
)

// writeJSON is only given types that marshal; a write error means that the
// client is gone.
func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Errorf("marshal %T: %w", v, err))
	}
	writeBody(w, status, contentJSON, body)
}

func writeBody(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
