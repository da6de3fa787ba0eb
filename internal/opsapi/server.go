package opsapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/hall"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/slashing"
	"github.com/quorate/quorate/internal/wire"
)

// Ledger is the node's replica.
type Ledger interface {
	// View returns the committed state, to be read and forgotten.
	View() (*ledger.State, error)
	// OpenCeremony asks the ledger for new keys and returns the ceremony's id
	// once a block carries it. A refusal is a *ledger.Error. Phase is how long
	// each phase may take at most, 0 for the node's own choice.
	OpenCeremony(ctx context.Context, keys int, use action.Use, hybrid bool, purpose string, phase time.Duration) ([32]byte, error)
	// KeygenAction is what OpenCeremony asks for, to be asked for by a member.
	KeygenAction(keys int, use action.Use, hybrid bool, purpose string, phase time.Duration) (*action.Action, error)
	// Ask asks for an action as the node. The error is a *ledger.Waiting where it
	// was not carried out at once.
	Ask(ctx context.Context, ask ledger.Ask) error
	// SubmitSigned hands over a transaction that somebody else signed. It
	// returns the height of the block that carries it and the id of the request
	// that waits for others, zero where none does. A refusal is a *ledger.Error.
	SubmitSigned(ctx context.Context, raw []byte) (height uint64, request [32]byte, err error)
	// Height returns the last block's height and time.
	Height() (uint64, time.Time)
	// Renew does so for new shares of keys; it may take several ceremonies.
	Renew(ctx context.Context, r ledger.Renewal, hybrid bool, phase time.Duration) ([][32]byte, error)
	// PlanRenewal is what Renew asks for, to be asked for by a member.
	PlanRenewal(r ledger.Renewal, hybrid bool, phase time.Duration) ([]ledger.CeremonyOpen, error)
}

// Keys is what the node does with single keys. A refusal carries an rpc.Code.
type Keys interface {
	// ImportKeystore returns once the key can sign; created is false when it
	// could before. The caller wipes password afterwards; nobody keeps it.
	ImportKeystore(ctx context.Context, keystore, password []byte) (created bool, key [48]byte, err error)
	// ImportSlashing returns once the watermarks are durable at n - f holders.
	ImportSlashing(ctx context.Context, interchange []byte) error
	// ExportSlashing joins what n - f holders know, ExportOwnSlashing returns
	// what this node's holder does.
	ExportSlashing(ctx context.Context, keys [][48]byte) (slashing.Interchange, error)
	ExportOwnSlashing(ctx context.Context, keys [][48]byte) (slashing.Interchange, error)
	// Exit signs a voluntary exit. A nil index is the one that the key's
	// duties named, a nil epoch the present one.
	Exit(ctx context.Context, key [48]byte, index, epoch *uint64) (eth.VoluntaryExit, [96]byte, error)
	// ExitAction is what Exit asks for, to be asked for by a member; ExitGranted
	// signs the very exit that a request was granted, ExitOf that of a canonical
	// action for which a grant holds.
	ExitAction(key [48]byte, index, epoch *uint64) (*action.Action, error)
	ExitGranted(ctx context.Context, request [32]byte) (eth.VoluntaryExit, [96]byte, error)
	ExitOf(ctx context.Context, canonical []byte) (eth.VoluntaryExit, [96]byte, error)
}

// Self reports on the node. It returns soon and does not probe.
type Self interface {
	Status(ctx context.Context) Status
}

// Config says what to serve and to whom. Ledger, Keys, Evidence, Hall, Beacon,
// Self and Token are needed.
type Config struct {
	Ledger   Ledger
	Keys     Keys
	Evidence Evidence
	Hall     *hall.Hall // ceremonies among participants
	Beacon   Beacon
	Self     Self
	Token    secret.Bytes // bearer token of requests that change something; of all, where Listen is not loopback

	Cluster action.ClusterID
	Node    string // this node's name

	// Passkeys names the relying party of members' passkeys; of its zero value
	// there are none.
	Passkeys RelyingParty

	Listen string   // host:port of Run
	Hosts  []string // names by which the server may be addressed; nil: localhost and the loopback addresses

	Log *slog.Logger     // nil: discarded
	Now func() time.Time // nil: time.Now
}

// Server serves the operator API. Make it with New.
type Server struct {
	config Config
	public bool // reading needs no token
	mux    *http.ServeMux

	challenges challenges
	sessions   sessions
	sameOrigin http.CrossOriginProtection
}

const (
	maxRequest  = 64 << 10
	maxOpen     = wire.MaxKeysPerBatch*128 + 1<<10 // a ceremony that names its keys
	maxImport   = wire.MaxKeystore + 2*wire.MaxPassword + 1<<10
	requestTime = 30 * time.Second // opening a ceremony takes a few blocks
	importTime  = 10 * time.Minute // a ceremony that waits for a node that is down
	readTime    = 10 * time.Second
	graceTime   = 2 * time.Second
	maxEvents   = 1000 // of one answer
	maxConns    = 512  // whoever reaches the port must not use up the node's descriptors
)

// bounds are what one route allows a request.
type bounds struct {
	body  int64
	time  time.Duration
	token bool // to read needs the token, too
	open  bool // needs none: what the request carries is signed, or gives nothing away

	granted bool // it does what was agreed on, or nothing: who may read may have it done
}

// route is what answers one pattern.
type route struct {
	bounds
	handle func(*http.Request) (any, error)
}

var (
	ordinary = bounds{body: maxRequest, time: requestTime}
	personal = bounds{body: maxRequest, time: requestTime, open: true}
	everyone = bounds{time: requestTime, open: true}
)

// New checks the configuration.
func New(c Config) (*Server, error) {
	if c.Ledger == nil || c.Keys == nil || c.Evidence == nil || c.Hall == nil || c.Beacon == nil || c.Self == nil || c.Token.Len() == 0 {
		return nil, errors.New("configure operator API: ledger, keys, evidence, hall, beacon, self and token are needed")
	}
	if c.Hosts == nil {
		c.Hosts = []string{"localhost", "127.0.0.1", "::1"}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Passkeys.ID != "" {
		if err := ident.CheckRelyingParty(c.Passkeys.ID, c.Passkeys.Origins); err != nil {
			return nil, fmt.Errorf("configure operator API: passkeys: %w", err)
		}
	}
	key, err := secret.Random(rand.Reader, 32)
	if err != nil {
		return nil, fmt.Errorf("configure operator API: %w", err)
	}
	s := &Server{config: c, public: loopback(c.Listen), mux: http.NewServeMux(), challenges: challenges{key},
		sessions: sessions{byToken: map[[32]byte]session{}, used: map[[32]byte]time.Time{}}}
	routes := map[string]route{
		"GET /v1/status":                {ordinary, s.status},
		"GET /v1/keys":                  {ordinary, s.keys},
		"GET /v1/keys/{pubkey}":         {ordinary, s.key},
		"POST /v1/keys/import":          {bounds{body: maxImport, time: importTime}, s.importKeystore},
		"POST /v1/keys/{pubkey}/exit":   {ordinary, s.exit},
		"GET /v1/slashing":              {bounds{time: requestTime, token: true}, s.exportSlashing},
		"POST /v1/slashing":             {bounds{body: wire.MaxImportBody, time: importTime}, s.importSlashing},
		"GET /v1/ceremonies":            {ordinary, s.ceremonies},
		"GET /v1/ceremonies/{id}":       {ordinary, s.ceremony},
		"POST /v1/ceremonies":           {bounds{body: maxOpen, time: requestTime}, s.open},
		"GET /v1/beacon":                {everyone, s.beaconRound},
		"GET /v1/beacon/{height}":       {everyone, s.beaconRound},
		"GET /v1/beacon/key":            {everyone, s.beaconKey},
		"GET /v1/events":                {ordinary, s.events},
		"GET /v1/events/export":         {bounds{time: importTime}, s.export},
		"GET /v1/receipts/{tx}":         {ordinary, s.receipt},
		"GET /tlog/checkpoint":          {ordinary, s.checkpoint},
		"GET /tlog/tile/{path...}":      {ordinary, s.tile},
		"POST /v1/login/challenge":      {personal, s.loginChallenge},
		"POST /v1/login":                {personal, s.login},
		"GET /v1/login":                 {personal, s.whoami},
		"DELETE /v1/login":              {personal, s.logout},
		"POST /v1/passkeys/options":     {personal, s.passkeyOptions},
		"POST /v1/passkeys":             {personal, s.registerPasskey},
		"POST /v1/ceremonies/proposal":  {bounds{body: maxOpen, time: requestTime, granted: true}, s.proposeCeremony},
		"GET /v1/keys/{pubkey}/exit":    {ordinary, s.proposeExit},
		"GET /v1/requests":              {ordinary, s.requests},
		"GET /v1/requests/{id}":         {ordinary, s.request},
		"POST /v1/requests/{id}/exit":   {bounds{body: maxRequest, time: requestTime, granted: true}, s.carryOut},
		"POST /v1/exits":                {bounds{body: maxRequest, time: requestTime, granted: true}, s.exitOf},
		"GET /v1/members":               {ordinary, s.members},
		"GET /v1/members/{id}":          {ordinary, s.member},
		"GET /v1/policy":                {ordinary, s.policy},
		"GET /v1/timers":                {ordinary, s.timers},
		"POST /v1/transactions/prepare": {bounds{body: maxTransaction, time: requestTime, open: true}, s.prepare},
		"POST /v1/transactions":         {bounds{body: maxTransaction, time: requestTime, open: true}, s.submit},
		"/":                             {ordinary, noRoute},

		"GET /v1/ceremonies/{id}/transcripts": {ordinary, s.transcripts},
	}
	maps.Copy(routes, s.assemblyRoutes())
	maps.Copy(routes, s.handoverRoutes())
	for pattern, route := range routes {
		s.mux.HandleFunc(pattern, s.answer(route.bounds, route.handle))
	}
	return s, nil
}

func noRoute(r *http.Request) (any, error) {
	return nil, &Error{http.StatusNotFound, fmt.Sprintf("no route %s %s", r.Method, r.URL.Path), "the routes begin with /v1/status"}
}

// loopback reports whether only this machine reaches an address.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// Run listens and serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.config.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.config.Listen, err)
	}
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       readTime,
		WriteTimeout:      requestTime + readTime,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.config.Log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(netutil.LimitListener(listener, maxConns)) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceTime)
	defer cancel()
	if server.Shutdown(grace) != nil {
		server.Close() //nolint:errcheck // the process ends
	}
	<-ended
	return nil
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.addressed(r.Host) {
		write(w, http.StatusForbidden, &Error{Text: "this server has another name", Hint: "ask for it by its address"})
		return
	}
	// A browser's cookie comes along with what any page sends.
	if err := s.sameOrigin.Check(r); err != nil {
		write(w, http.StatusForbidden, &Error{Text: "a page of another origin sent this"})
		return
	}
	s.mux.ServeHTTP(w, r)
}

var errNoToken = &Error{http.StatusUnauthorized, "this needs the node's token", "send Authorization: Bearer with the content of ops.token in the node's home"}

func (s *Server) addressed(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	return slices.Contains(s.config.Hosts, host)
}

func (s *Server) authorised(r *http.Request) bool {
	header, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return false
	}
	given := secret.New([]byte(header))
	defer given.Destroy()
	return given.Equal(s.config.Token)
}

// admits says whether a request may reach a route. A member's session is good
// for reading what a node on loopback shows to anybody.
func (s *Server) admits(b bounds, r *http.Request) bool {
	if b.open || s.authorised(r) {
		return true
	}
	if reads := b.granted || r.Method == http.MethodGet || r.Method == http.MethodHead; !reads || b.token {
		return false
	}
	if s.public {
		return true
	}
	_, ok := s.session(r)
	return ok
}

// answer maps what a handler returns to HTTP, once for all routes.
func (s *Server) answer(b bounds, handle func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.admits(b, r) {
			write(w, http.StatusUnauthorized, errNoToken)
			return
		}
		if b.time > requestTime {
			control := http.NewResponseController(w)
			control.SetReadDeadline(time.Now().Add(b.time))             //nolint:errcheck // of a connection that is open
			control.SetWriteDeadline(time.Now().Add(b.time + readTime)) //nolint:errcheck // of a connection that is open
		}
		r.Body = http.MaxBytesReader(w, r.Body, b.body)
		ctx, cancel := context.WithTimeout(r.Context(), b.time)
		defer cancel()
		v, err := handle(r.WithContext(ctx))
		if f, ok := v.(file); ok && err == nil {
			s.send(w, r, f)
		} else if err == nil {
			if l, ok := v.(LoggedIn); ok {
				http.SetCookie(w, l.cookie())
			}
			status := http.StatusOK
			if done, ok := v.(Submitted); ok && done.Request != "" {
				status = http.StatusAccepted
			}
			write(w, status, v)
		} else {
			s.refuse(w, r, err)
		}
	}
}

// refuse answers with an error.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var waits *ledger.Waiting
	if errors.As(err, &waits) {
		id := hex.EncodeToString(waits.Request[:])
		text := "it waits for approval"
		if view, err := s.config.Ledger.View(); err == nil {
			if r, ok := view.Request(waits.Request); ok && r.State == ledger.RequestLocked {
				text = "it is agreed, and waits for its time lock"
			}
		}
		write(w, http.StatusAccepted, &Pending{id, text, "quorate request show " + id[:shortID]})
		return
	}
	var e *Error
	if !errors.As(err, &e) {
		status := statusOf(err)
		e = &Error{Status: status, Text: err.Error()}
		if status == http.StatusInternalServerError {
			s.config.Log.Error("request failed", "path", r.URL.Path, "cause", err)
			e.Text = "internal error"
		}
		if r.Method == http.MethodPost && status == http.StatusServiceUnavailable && errors.Is(err, context.DeadlineExceeded) {
			e.Hint = "what the ledger was handed may still happen: quorate doctor says what is missing, quorate audit list what came of it"
		}
	}
	write(w, e.Status, e)
}

// statusOf is the one map from refusals of the ledger and of holders to HTTP.
func statusOf(err error) int {
	var refused *ledger.Error
	if errors.As(err, &refused) {
		switch refused.Code {
		case ledger.CodeDenied, ledger.CodeSigner:
			return http.StatusForbidden
		case ledger.CodeNotFound:
			return http.StatusNotFound
		case ledger.CodeMalformed, ledger.CodeCluster:
			return http.StatusBadRequest
		case ledger.CodeBusy:
			return http.StatusServiceUnavailable
		default:
			return http.StatusConflict
		}
	}
	switch rpc.CodeOf(err) {
	case rpc.CodeMalformed:
		return http.StatusBadRequest
	case rpc.CodeUnknownKey:
		return http.StatusNotFound
	case rpc.CodeNotGranted:
		return http.StatusForbidden
	case rpc.CodeSlashable, rpc.CodeFenced, rpc.CodeOutOfRange:
		return http.StatusConflict
	case rpc.CodeWaiting:
		return http.StatusAccepted
	case rpc.CodeUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// shortID is how much of a request's id hints show.
const shortID = 16

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(v) //nolint:errcheck // the client has gone
}

// number reads a query parameter.
func number(r *http.Request, name string, otherwise uint64) (uint64, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return otherwise, nil
	}
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, &Error{Status: http.StatusBadRequest, Text: name + " is not a number"}
	}
	return v, nil
}
