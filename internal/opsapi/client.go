package opsapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/audit"
	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// Client asks a node. Its errors are an *Error where the node answered with
// one, a *Pending where what was asked for waits for others, anything else
// where it did not answer.
type Client struct {
	base  string
	token secret.Bytes
	http  http.Client
}

// defaultPort is where a node's operator API listens unless it is told otherwise.
const defaultPort = "9003"

// NewClient takes the address as host, host:port or http URL, and the token for
// changes; without one its zero value.
func NewClient(address string, token secret.Bytes) *Client {
	if !strings.Contains(address, "://") {
		if _, _, err := net.SplitHostPort(address); err != nil && !strings.ContainsAny(address, ":/") {
			address = net.JoinHostPort(address, defaultPort)
		}
		address = "http://" + address
	}
	return &Client{base: strings.TrimRight(address, "/"), token: token}
}

// Address is where the node is asked.
func (c *Client) Address() string { return c.base }

// maxAnswer bounds an answer: a hundred thousand keys of about 600 bytes.
const maxAnswer = 64 << 20

// Status returns what the node says of itself.
func (c *Client) Status(ctx context.Context) (v Status, err error) {
	return v, c.get(ctx, "/v1/status", &v)
}

// Keys returns the inventory.
func (c *Client) Keys(ctx context.Context) (v []Key, err error) {
	return v, c.get(ctx, "/v1/keys", &v)
}

// Key returns one key of the inventory.
func (c *Client) Key(ctx context.Context, pubkey string) (v Key, err error) {
	return v, c.get(ctx, "/v1/keys/"+url.PathEscape(pubkey), &v)
}

// Ceremonies returns all ceremonies.
func (c *Client) Ceremonies(ctx context.Context) (v []Ceremony, err error) {
	return v, c.get(ctx, "/v1/ceremonies", &v)
}

// Ceremony returns one ceremony.
func (c *Client) Ceremony(ctx context.Context, id string) (v Ceremony, err error) {
	return v, c.get(ctx, "/v1/ceremonies/"+url.PathEscape(id), &v)
}

// Open opens a ceremony.
func (c *Client) Open(ctx context.Context, req OpenCeremony) (v Opened, err error) {
	return v, c.post(ctx, "/v1/ceremonies", req, &v)
}

// ImportKeystore imports a key that was whole and returns once it can sign.
func (c *Client) ImportKeystore(ctx context.Context, keystore []byte, password secret.Bytes) (v Imported, err error) {
	if !json.Valid(keystore) {
		return v, &Error{http.StatusBadRequest, "keystore is no JSON", "an EIP-2335 keystore is a JSON document"}
	}
	// Made by hand: encoding/json keeps buffers that nobody can wipe.
	const begin, middle, end = `{"keystore":`, `,"password":"`, `"}`
	body := make([]byte, 0, len(begin)+len(keystore)+len(middle)+base64.StdEncoding.EncodedLen(password.Len())+len(end))
	body = append(append(append(body, begin...), keystore...), middle...)
	password.Expose(func(p []byte) { body = base64.StdEncoding.AppendEncode(body, p) })
	body = append(body, end...)
	defer secret.Wipe(body)
	return v, c.do(ctx, importTime, http.MethodPost, "/v1/keys/import", body, &v)
}

// ImportSlashing raises watermarks from an EIP-3076 interchange.
func (c *Client) ImportSlashing(ctx context.Context, interchange []byte) (v ImportedSlashing, err error) {
	return v, c.do(ctx, importTime, http.MethodPost, "/v1/slashing", interchange, &v)
}

// ExportSlashing returns the EIP-3076 interchange of the keys, of all when
// none is given; with own only what the node's own holder knows.
func (c *Client) ExportSlashing(ctx context.Context, pubkeys []string, own bool) (interchange []byte, err error) {
	var doc json.RawMessage
	q := url.Values{"pubkey": pubkeys, "node": {strconv.FormatBool(own)}}
	err = c.get(ctx, "/v1/slashing?"+q.Encode(), &doc)
	return doc, err
}

// Exit signs a voluntary exit. It sends it nowhere.
func (c *Client) Exit(ctx context.Context, pubkey string, req Exit) (v SignedVoluntaryExit, err error) {
	return v, c.post(ctx, "/v1/keys/"+url.PathEscape(pubkey)+"/exit", req, &v)
}

// Events returns entries of the audit log from an index on.
func (c *Client) Events(ctx context.Context, from uint64, limit int) (v Events, err error) {
	q := url.Values{"from": {strconv.FormatUint(from, 10)}, "limit": {strconv.Itoa(limit)}}
	return v, c.get(ctx, "/v1/events?"+q.Encode(), &v)
}

// Login gets a session for a member, whose credential signs the challenge.
func (c *Client) Login(ctx context.Context, member string, signer credential.Signer) (v LoggedIn, err error) {
	var challenge LoginChallenge
	if err := c.post(ctx, "/v1/login/challenge", LoginRequest{member}, &challenge); err != nil {
		return v, err
	}
	cluster, err := hex.DecodeString(challenge.Cluster)
	if err != nil || len(cluster) != len(action.ClusterID{}) {
		return v, errors.New("ask node: its cluster's id is none")
	}
	// The message is computed here: a node gets no signature over anything else.
	sig, err := signer.Sign(ctx, wire.TagLogin, LoginParts(action.ClusterID(cluster), challenge.Node, member, challenge.Challenge)...)
	if err != nil {
		return v, err
	}
	return v, c.post(ctx, "/v1/login", Login{member, challenge.Challenge, Signature{Signature: sig}}, &v)
}

// Requests returns a page of requests. The query may hold state (live, all, or
// one of the states), rule, by, object, after and limit.
func (c *Client) Requests(ctx context.Context, query url.Values) (v Requests, err error) {
	return v, c.get(ctx, "/v1/requests?"+query.Encode(), &v)
}

// Request returns a request by its id or the beginning of it.
func (c *Client) Request(ctx context.Context, id string) (v Request, err error) {
	return v, c.get(ctx, "/v1/requests/"+url.PathEscape(id), &v)
}

// ExitGranted signs the exit that a request was granted.
func (c *Client) ExitGranted(ctx context.Context, id string) (v SignedVoluntaryExit, err error) {
	return v, c.post(ctx, "/v1/requests/"+url.PathEscape(id)+"/exit", struct{}{}, &v)
}

// ExitOf signs the exit of a canonical action for which a grant holds.
func (c *Client) ExitOf(ctx context.Context, canonical []byte) (v SignedVoluntaryExit, err error) {
	return v, c.post(ctx, "/v1/exits", Proposal{Action: hex.EncodeToString(canonical)}, &v)
}

// Members returns everybody who takes part in governance.
func (c *Client) Members(ctx context.Context) (v []Member, err error) {
	return v, c.get(ctx, "/v1/members", &v)
}

// Member returns one of them.
func (c *Client) Member(ctx context.Context, id string) (v Member, err error) {
	return v, c.get(ctx, "/v1/members/"+url.PathEscape(id), &v)
}

// Policy returns the policy in force.
func (c *Client) Policy(ctx context.Context) (v Policy, err error) {
	return v, c.get(ctx, "/v1/policy", &v)
}

// Timers returns all timers.
func (c *Client) Timers(ctx context.Context) (v []Timer, err error) {
	return v, c.get(ctx, "/v1/timers", &v)
}

// ProposeExit has the node write out what a request for an exit asks for. The
// caller reads it before anybody signs.
func (c *Client) ProposeExit(ctx context.Context, pubkey string, req Exit) (canonical []byte, err error) {
	q := url.Values{}
	if req.ValidatorIndex != nil {
		q.Set("validator_index", strconv.FormatUint(*req.ValidatorIndex, 10))
	}
	if req.Epoch != nil {
		q.Set("epoch", strconv.FormatUint(*req.Epoch, 10))
	}
	return c.proposal(ctx, "/v1/keys/"+url.PathEscape(pubkey)+"/exit?"+q.Encode())
}

// ProposeCeremony has the node write out what requests for new keys, or for new
// shares of keys, ask for: one for each ceremony that it takes.
func (c *Client) ProposeCeremony(ctx context.Context, req OpenCeremony) (v []Proposal, err error) {
	return v, c.post(ctx, "/v1/ceremonies/proposal", req, &v)
}

func (c *Client) proposal(ctx context.Context, path string) ([]byte, error) {
	var p Proposal
	if err := c.get(ctx, path, &p); err != nil {
		return nil, err
	}
	raw, err := hex.DecodeString(p.Action)
	if err != nil {
		return nil, fmt.Errorf("ask node: read answer: %w", err)
	}
	return raw, nil
}

// Submit has a member's credential sign a transaction for a cluster, and
// returns once a block carries it. The node chooses number and salt, and
// nothing else.
func (c *Client) Submit(ctx context.Context, cluster action.ClusterID, member string, kind action.Kind, body []byte, signer credential.Signer) (v Submitted, err error) {
	var p Prepared
	if err := c.post(ctx, "/v1/transactions/prepare", Prepare{member, kind, hex.EncodeToString(body)}, &p); err != nil {
		return v, err
	}
	unsigned, err := hex.DecodeString(p.Transaction)
	if err != nil {
		return v, fmt.Errorf("ask node: read answer: %w", err)
	}
	e := wire.NewEncoder(unsigned)
	e.Bytes(nil)
	tx, err := action.ParseTx(e.Out())
	if err != nil {
		return v, fmt.Errorf("ask node: read answer: %w", err)
	}
	if tx.Cluster != cluster || tx.Kind != kind || !bytes.Equal(tx.Body, body) || tx.Signer != (action.Signer{Class: action.SignerMember, Name: member}) {
		return v, errors.New("the node prepared another transaction than it was asked for: nothing is signed")
	}
	sig, err := signer.Sign(ctx, wire.TagTx, tx.Unsigned())
	if err != nil {
		return v, err
	}
	return v, c.post(ctx, "/v1/transactions", Submit{p.Transaction, Signature{Signature: sig}}, &v)
}

func (c *Client) post(ctx context.Context, path string, req, v any) error {
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	return c.do(ctx, requestTime, http.MethodPost, path, body, v)
}

// Export writes the audit log in one of the formats; f selects.
func (c *Client) Export(ctx context.Context, w io.Writer, format string, f audit.Filter) error {
	q := url.Values{"format": {format}}
	for name, v := range map[string]string{"key": f.Key, "member": f.Member, "region": f.Region, "kind": f.Kind} {
		if v != "" {
			q.Set(name, v)
		}
	}
	for name, t := range map[string]time.Time{"from": f.From, "to": f.To} {
		if !t.IsZero() {
			q.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	return c.stream(ctx, importTime, http.MethodGet, "/v1/events/export?"+q.Encode(), nil, w)
}

// Receipt writes the receipt of a transaction, which is named in hex.
func (c *Client) Receipt(ctx context.Context, w io.Writer, tx string) error {
	return c.stream(ctx, requestTime, http.MethodGet, "/v1/receipts/"+url.PathEscape(tx), nil, w)
}

// Checkpoint writes the newest checkpoint of the audit log.
func (c *Client) Checkpoint(ctx context.Context, w io.Writer) error {
	return c.stream(ctx, requestTime, http.MethodGet, "/tlog/checkpoint", nil, w)
}

func (c *Client) get(ctx context.Context, path string, v any) error {
	return c.do(ctx, requestTime, http.MethodGet, path, nil, v)
}

func (c *Client) do(ctx context.Context, patience time.Duration, method, path string, body []byte, v any) error {
	var raw bytes.Buffer
	if err := c.stream(ctx, patience, method, path, body, &limited{&raw, maxAnswer}); err != nil {
		return err
	}
	var p Pending // of an answer with status 202, which no other body looks like
	if raw.Len() < maxRequest && json.Unmarshal(raw.Bytes(), &p) == nil && p.Text != "" && p.Request != "" {
		return &p
	}
	if err := json.Unmarshal(raw.Bytes(), v); err != nil {
		return fmt.Errorf("ask node: read answer: %w", err)
	}
	return nil
}

// stream asks and copies the answer.
func (c *Client) stream(ctx context.Context, patience time.Duration, method, path string, body []byte, w io.Writer) error {
	_, err := c.ask(ctx, patience, method, path, body, w)
	return err
}

// ask is stream for who wants to see the answer's header.
func (c *Client) ask(ctx context.Context, patience time.Duration, method, path string, body []byte, w io.Writer) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, patience+5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.base, err)
	}
	c.token.Expose(func(token []byte) { req.Header.Set("Authorization", "Bearer "+string(token)) })
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask node: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 == 2 {
		if _, err := io.Copy(w, resp.Body); err != nil {
			return nil, fmt.Errorf("ask node: read answer: %w", err)
		}
		return resp.Header, nil
	}
	e := Error{Status: resp.StatusCode}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxRequest))
	if err != nil {
		return nil, fmt.Errorf("ask node: read answer: %w", err)
	}
	if json.Unmarshal(raw, &e) != nil || e.Text == "" {
		e.Text, e.Hint = resp.Status, "is "+c.base+" a node's operator API? By default its port is the signer's plus 3"
	}
	return nil, &e
}

// limited refuses what is over a number of bytes.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errors.New("it is too long")
	}
	return l.w.Write(p)
}
