package signerapi

import (
	"encoding/json"
	"net/http"
)

// Remote keys are keys of another signer that a validator client asks. This
// server is the signer: it asks nobody, so it lists none, imports none and
// has none to delete. The routes exist all the same, because tools that
// manage a fleet call both kinds everywhere and take a 404 for an old server.
// Saying "imported" would be the one wrong answer: the caller would believe
// that duties of that key are signed here.

const noRemoteKeys = "this server is a signer and uses no remote signers: add the key to the validator client, with this server's URL"

func (s *Server) listRemoteKeys(w http.ResponseWriter, _ *http.Request, _ string) error {
	writeJSON(w, http.StatusOK, data[[]struct{}]{[]struct{}{}})
	return nil
}

func (s *Server) importRemoteKeys(w http.ResponseWriter, r *http.Request, _ string) error {
	var request struct {
		RemoteKeys []json.RawMessage `json:"remote_keys"`
	}
	if err := s.readList(r, &request); err != nil {
		return err
	}
	writeItems(w, len(request.RemoteKeys), itemError(noRemoteKeys))
	return nil
}

func (s *Server) deleteRemoteKeys(w http.ResponseWriter, r *http.Request, _ string) error {
	var request struct {
		Pubkeys []pubkey `json:"pubkeys"`
	}
	if err := s.readList(r, &request); err != nil {
		return err
	}
	writeItems(w, len(request.Pubkeys), itemStatus{Status: "not_found"})
	return nil
}

func (s *Server) readList(r *http.Request, into any) error {
	if err := checkType(r); err != nil {
		return err
	}
	return readJSON(r, into)
}

func writeItems(w http.ResponseWriter, n int, status itemStatus) {
	list := make([]itemStatus, n)
	for i := range list {
		list[i] = status
	}
	writeJSON(w, http.StatusOK, data[[]itemStatus]{list})
}
