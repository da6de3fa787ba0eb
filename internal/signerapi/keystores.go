package signerapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// data is the envelope of every answer of the Keymanager API.
type data[T any] struct {
	Data T `json:"data"`
}

// itemStatus is the outcome for one element of a request's list.
type itemStatus struct {
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
}

func itemError(format string, args ...any) itemStatus {
	return itemStatus{"error", fmt.Sprintf(format, args...)}
}

// listedKeystore has no derivation_path: the cluster keeps none.
type listedKeystore struct {
	Pubkey   pubkey `json:"validating_pubkey"`
	Readonly bool   `json:"readonly"`
}

func (s *Server) listKeystores(w http.ResponseWriter, _ *http.Request, _ string) error {
	keys := s.config.Signer.Keys()
	list := make([]listedKeystore, len(keys))
	for i, key := range keys {
		list[i].Pubkey = key
	}
	writeJSON(w, http.StatusOK, data[[]listedKeystore]{list})
	return nil
}

type importRequest struct {
	Keystores []jsonText `json:"keystores"`
	Passwords []jsonText `json:"passwords"`
	Slashing  *jsonText  `json:"slashing_protection"`
}

func (q *importRequest) wipe() {
	for _, p := range q.Passwords {
		secret.Wipe(p)
	}
}

// importKeystores deals each keystore's key to the holders. The slashing
// history comes first: if it cannot be applied everywhere, no key is imported.
func (s *Server) importKeystores(w http.ResponseWriter, r *http.Request, _ string) error {
	ctx, leave, err := s.administer(w, r, importUpload, importTime)
	if err != nil {
		return err
	}
	defer leave()
	body, err := readBody(r, nil, wire.MaxImportBody, nil)
	defer secret.Wipe(body)
	if err != nil {
		return err
	}
	var request importRequest
	defer request.wipe()
	if err := decode(body, &request); err != nil {
		return err
	}
	if len(request.Keystores) != len(request.Passwords) {
		return refuse(http.StatusBadRequest, "%d keystores but %d passwords", len(request.Keystores), len(request.Passwords))
	}
	if len(request.Keystores) > maxImports {
		return refuse(http.StatusBadRequest, "more than %d keystores", maxImports)
	}
	if request.Slashing != nil && len(*request.Slashing) > 0 {
		if err := s.config.Keymanager.ImportSlashing(ctx, *request.Slashing); err != nil {
			return fmt.Errorf("import slashing protection: %w", err)
		}
	}
	statuses := make([]itemStatus, len(request.Keystores))
	for i := range statuses {
		statuses[i] = s.importKeystore(ctx, request.Keystores[i], request.Passwords[i])
	}
	writeJSON(w, http.StatusOK, data[[]itemStatus]{statuses})
	return nil
}

// importKeystore imports one keystore and wipes its password.
func (s *Server) importKeystore(ctx context.Context, keystore, password []byte) itemStatus {
	defer secret.Wipe(password)
	switch {
	case len(keystore) > wire.MaxKeystore:
		return itemError("keystore over the limit of %d bytes", wire.MaxKeystore)
	case len(password) > wire.MaxPassword:
		return itemError("password over the limit of %d bytes", wire.MaxPassword)
	}
	created, key, err := s.config.Keymanager.Import(ctx, keystore, password)
	switch {
	case err != nil:
		s.log.Warn("keystore not imported", "cause", err)
		return itemError("%s", textOf(err, statusOf(err, true)))
	case !created:
		return itemStatus{Status: "duplicate"}
	}
	s.log.Info("keystore imported", "key", pubkey(key))
	return itemStatus{Status: "imported"}
}

type deleteRequest struct {
	Pubkeys []pubkey `json:"pubkeys"`
}

// deleteAnswer carries the interchange as a string of JSON, as the
// specification has it.
type deleteAnswer struct {
	Data     []itemStatus `json:"data"`
	Slashing string       `json:"slashing_protection"`
}

func (s *Server) deleteKeystores(w http.ResponseWriter, r *http.Request, _ string) error {
	ctx, leave, err := s.administer(w, r, requestTime, importTime)
	if err != nil {
		return err
	}
	defer leave()
	var request deleteRequest
	if err := readJSON(r, &request); err != nil {
		return err
	}
	if len(request.Pubkeys) > maxImports {
		return refuse(http.StatusBadRequest, "more than %d keys", maxImports)
	}
	keys := make([][48]byte, len(request.Pubkeys))
	for i, key := range request.Pubkeys {
		keys[i] = key
	}
	outcomes, interchange, err := s.config.Keymanager.Delete(ctx, keys)
	if err != nil {
		return fmt.Errorf("delete keys: %w", err)
	}
	if len(outcomes) != len(keys) {
		return rpc.Errorf(rpc.CodeInternal, "delete keys: %d outcomes for %d keys", len(outcomes), len(keys))
	}
	answer := deleteAnswer{make([]itemStatus, len(outcomes)), string(interchange)}
	for i, o := range outcomes {
		answer.Data[i] = itemStatus{string(o.Status), o.Message}
		s.log.Info("keystore deletion", "key", request.Pubkeys[i], "outcome", o.Status)
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// administer waits for the one place that changes of keys and settings share,
// and gives them the time that they need.
func (s *Server) administer(w http.ResponseWriter, r *http.Request, read, work time.Duration) (context.Context, func(), error) {
	if err := checkType(r); err != nil {
		return nil, nil, err
	}
	if err := s.admin.enter(r.Context()); err != nil {
		return nil, nil, err
	}
	extend(w, read, work)
	ctx, cancel := context.WithTimeout(r.Context(), read+work)
	return ctx, func() { cancel(); s.admin.leave() }, nil
}

// readJSON reads a body without secrets.
func readJSON(r *http.Request, into any) error {
	body, err := readBody(r, nil, wire.MaxHTTPBody, nil)
	if err != nil {
		return err
	}
	return decode(body, into)
}

// decode never repeats the body: it may hold passwords.
func decode(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return refuse(http.StatusBadRequest, "body does not parse")
	}
	return nil
}
