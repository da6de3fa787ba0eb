package opsapi

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/slashing"
)

// importKeystore deals a whole key to the holders. Nothing of its body is
// ever repeated, and all of it is wiped.
func (s *Server) importKeystore(r *http.Request) (any, error) {
	body := make([]byte, maxImport+1) // one piece: a buffer that grows leaves copies
	defer secret.Wipe(body)
	n, err := io.ReadFull(r.Body, body)
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, &Error{Status: http.StatusBadRequest, Text: fmt.Sprintf("body does not arrive or is over %d bytes", maxImport)}
	}
	var req ImportKeystore
	err = json.Unmarshal(body[:n], &req)
	defer secret.Wipe(req.Password)
	if err != nil {
		return nil, &Error{http.StatusBadRequest, "body does not parse", `it is {"keystore":{…},"password":"…"}, the password in base64`}
	}
	created, key, err := s.config.Keys.ImportKeystore(r.Context(), req.Keystore, req.Password)
	if err != nil {
		return nil, err
	}
	return Imported{PublicKey: "0x" + hex.EncodeToString(key[:]), Created: created}, nil
}

func (s *Server) importSlashing(r *http.Request) (any, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Text: "read request: " + err.Error()}
	}
	ic, err := slashing.ParseInterchange(body)
	if err != nil {
		return nil, &Error{http.StatusBadRequest, err.Error(), "the body is an EIP-3076 interchange"}
	}
	if err := s.config.Keys.ImportSlashing(r.Context(), body); err != nil {
		return nil, err
	}
	return ImportedSlashing{Keys: len(ic.Keys)}, nil
}

// exportSlashing answers with an EIP-3076 document: a history of which a key
// is missing is an error.
func (s *Server) exportSlashing(r *http.Request) (any, error) {
	query := r.URL.Query()
	keys, err := s.keysOf(query["pubkey"])
	if err != nil {
		return nil, err
	}
	export := s.config.Keys.ExportSlashing
	switch node := query.Get("node"); node {
	case "", "false":
	case "true":
		export = s.config.Keys.ExportOwnSlashing
	default:
		return nil, &Error{Status: http.StatusBadRequest, Text: "node is neither true nor false"}
	}
	ic, err := export(r.Context(), keys)
	if err != nil {
		return nil, err
	}
	doc, err := ic.Encode()
	return json.RawMessage(doc), err
}

// keysOf reads public keys; none stand for the whole inventory.
func (s *Server) keysOf(texts []string) (keys [][48]byte, err error) {
	for _, text := range texts {
		raw, err := parseHex(text, 48)
		if err != nil {
			return nil, err
		}
		keys = append(keys, [48]byte(raw))
	}
	if len(texts) > 0 {
		return keys, nil
	}
	view, err := s.config.Ledger.View()
	if err != nil {
		return nil, err
	}
	view.Keys(action.DomainValidator, func(k *action.KeyRecord) bool {
		if k.Use == action.UseDuties && len(k.PublicKey) == 48 {
			keys = append(keys, [48]byte(k.PublicKey))
		}
		return true
	})
	return keys, nil
}

func (s *Server) exit(r *http.Request) (any, error) {
	raw, err := parseHex(r.PathValue("pubkey"), 48)
	if err != nil {
		return nil, err
	}
	var req Exit
	if err := decode(r, &req, `{"validator_index":"7","epoch":"5"}, or {}`); err != nil {
		return nil, err
	}
	x, signature, err := s.config.Keys.Exit(r.Context(), [48]byte(raw), req.ValidatorIndex, req.Epoch)
	if err != nil {
		return nil, err
	}
	return signedExit(x, signature), nil
}

func signedExit(x eth.VoluntaryExit, signature [96]byte) SignedVoluntaryExit {
	return SignedVoluntaryExit{
		Message:   VoluntaryExit{Epoch: x.Epoch, ValidatorIndex: x.ValidatorIndex},
		Signature: "0x" + hex.EncodeToString(signature[:]),
	}
}
