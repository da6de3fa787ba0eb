package opsapi

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/wire"
)

// A member's transaction is prepared here, signed by the member, and handed
// to the ledger here or at any other node. The node keeps nothing in between,
// and nothing but the signature counts: whoever signs compares the message
// with wire.Hash of the transaction that it was shown.

const maxTransaction = 2*wire.MaxTx + 16<<10 // in hex, and an assertion

func (s *Server) prepare(r *http.Request) (any, error) {
	var req Prepare
	if err := decode(r, &req, `{"member":"alice","kind":5,"body":"…"}`); err != nil {
		return nil, err
	}
	if err := action.CheckName("member", req.Member); err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Text: err.Error()}
	}
	body, err := hex.DecodeString(req.Body)
	if err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Text: "body is not hex"}
	}
	view, err := s.config.Ledger.View()
	if err != nil {
		return nil, err
	}
	signer := action.Signer{Class: action.SignerMember, Name: req.Member}
	if _, ok := view.Member(req.Member); !ok {
		return nil, &Error{Status: http.StatusNotFound, Text: "no such member on the ledger"}
	}
	tx := action.Tx{Cluster: s.config.Cluster, Kind: req.Kind, Signer: signer, Nonce: view.NextNonce(signer), Body: body}
	rand.Read(tx.Salt[:])
	if _, err := ledger.Parse(tx.Signed(nil)); err != nil {
		return nil, err
	}
	message := wire.Hash(wire.TagTx, tx.Unsigned())
	return Prepared{hex.EncodeToString(tx.Unsigned()), message[:], s.requestOptions(message)}, nil
}

func (s *Server) submit(r *http.Request) (any, error) {
	var req Submit
	if err := decode(r, &req, `{"transaction":"…","signature":"…"}`); err != nil {
		return nil, err
	}
	unsigned, err := hex.DecodeString(req.Transaction)
	if err != nil || len(unsigned) > wire.MaxTx {
		return nil, &Error{Status: http.StatusBadRequest, Text: "transaction is not hex of a transaction"}
	}
	signature, err := req.signature()
	if err != nil {
		return nil, err
	}
	e := wire.NewEncoder(unsigned)
	e.Bytes(signature)
	raw := e.Out()
	tx, err := ledger.Parse(raw)
	if err != nil {
		return nil, err
	}
	if tx.Envelope().Signer.Class != action.SignerMember {
		return nil, &Error{Status: http.StatusForbidden, Text: "only members submit transactions here"}
	}
	// The ledger checks the same; here it costs nobody else anything.
	view, err := s.config.Ledger.View()
	if err != nil {
		return nil, err
	}
	if _, err := view.Verify(tx, nil); err != nil {
		return nil, err
	}
	height, request, err := s.config.Ledger.SubmitSigned(r.Context(), raw)
	if err != nil {
		return nil, err
	}
	hash := tx.Hash()
	out := Submitted{Hash: hex.EncodeToString(hash[:]), Height: height}
	if request != [32]byte{} {
		out.Request = hex.EncodeToString(request[:])
	}
	return out, nil
}

// Prepare asks for a transaction to sign.
type Prepare struct {
	Member string      `json:"member"`
	Kind   action.Kind `json:"kind"`
	Body   string      `json:"body"` // canonical, in hex
}

// Prepared is what to sign: Message is wire.Hash of TagTx and Transaction. A
// browser hands PublicKey to navigator.credentials.get.
type Prepared struct {
	Transaction string               `json:"transaction"` // without its signature, in hex
	Message     credential.Base64URL `json:"message"`
	PublicKey   *RequestOptions      `json:"publicKey,omitempty"`
}

// Submit hands a signed transaction over.
type Submit struct {
	Transaction string `json:"transaction"`
	Signature
}

// Submitted answers Submit once a block carries the transaction.
type Submitted struct {
	Hash   string `json:"hash"`
	Height uint64 `json:"height"`
	// Request is the id of what now waits for others, with status 202.
	Request string `json:"request,omitempty"`
}

// Signature is one of package ident's, or what a browser has instead.
type Signature struct {
	Signature credential.Base64URL `json:"signature,omitempty"`
	// Credential is what navigator.credentials.get returned, as toJSON writes it.
	Credential json.RawMessage `json:"credential,omitempty"`
}

func (s Signature) signature() ([]byte, error) {
	if (len(s.Signature) == 0) == (len(s.Credential) == 0) {
		return nil, &Error{http.StatusBadRequest, "want either a signature or a credential", "credential is what navigator.credentials.get returned"}
	}
	if len(s.Signature) > 0 {
		return s.Signature, nil
	}
	var a credential.Assertion
	if err := json.Unmarshal(s.Credential, &a); err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Text: "read credential: " + err.Error()}
	}
	raw, err := a.Encode()
	if err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Text: err.Error()}
	}
	return raw, nil
}
