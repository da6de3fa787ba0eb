package opsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/secret"
)

// Ledger is the node's replica.
type Ledger interface {
	// View returns the committed state, to be read and forgotten.
	View() (*ledger.State, error)
	// OpenCeremony asks the ledger for new keys and returns the ceremony's id
	// once a block carries it. A refusal is a *ledger.Error.
	OpenCeremony(ctx context.Context, keys int, hybrid bool, purpose string) ([32]byte, error)
}

// Self reports on the node. It returns soon and does not probe.
type Self interface {
	Status(ctx context.Context) Status
}

// Config says what to serve and to whom. Ledger, Self and Token are needed.
type Config struct {
	Ledger Ledger
	Self   Self
	Token  secret.Bytes // bearer token of requests that change something; of all, where Listen is not loopback

	Listen string   // host:port of Run
	Hosts  []string // names by which the server may be addressed; nil: localhost and the loopback addresses

	Log *slog.Logger // nil: discarded
}

// Server serves the operator API. Make it with New.
type Server struct {
	config Config
	public bool // reading needs no token
	mux    *http.ServeMux
}

const (
	maxRequest  = 64 << 10
	requestTime = 30 * time.Second // opening a ceremony takes a few blocks
	graceTime   = 2 * time.Second
	maxEvents   = 1000 // of one answer
)

// New checks the configuration.
func New(c Config) (*Server, error) {
	if c.Ledger == nil || c.Self == nil || c.Token.Len() == 0 {
		return nil, errors.New("configure operator API: ledger, self and token are needed")
	}
	if c.Hosts == nil {
		c.Hosts = []string{"localhost", "127.0.0.1", "::1"}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{config: c, public: loopback(c.Listen), mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /v1/status", s.answer(s.status))
	s.mux.HandleFunc("GET /v1/keys", s.answer(s.keys))
	s.mux.HandleFunc("GET /v1/keys/{pubkey}", s.answer(s.key))
	s.mux.HandleFunc("GET /v1/ceremonies", s.answer(s.ceremonies))
	s.mux.HandleFunc("GET /v1/ceremonies/{id}", s.answer(s.ceremony))
	s.mux.HandleFunc("POST /v1/ceremonies", s.answer(s.open))
	s.mux.HandleFunc("GET /v1/events", s.answer(s.events))
	s.mux.HandleFunc("/", s.answer(func(r *http.Request) (any, error) {
		return nil, &Error{http.StatusNotFound, fmt.Sprintf("no route %s %s", r.Method, r.URL.Path), "the routes begin with /v1/status"}
	}))
	return s, nil
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
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      requestTime + 10*time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.config.Log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
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
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if !(reads && s.public) && !s.authorised(r) {
		write(w, http.StatusUnauthorized, &Error{Text: "this needs the node's token", Hint: "send Authorization: Bearer with the content of ops.token in the node's home"})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	s.mux.ServeHTTP(w, r)
}

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

// answer maps what a handler returns to HTTP, once for all routes.
func (s *Server) answer(handle func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTime)
		defer cancel()
		v, err := handle(r.WithContext(ctx))
		if err == nil {
			write(w, http.StatusOK, v)
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
		}
		write(w, e.Status, e)
	}
}

// statusOf is the one map from refusals of the ledger to HTTP.
func statusOf(err error) int {
	var refused *ledger.Error
	if errors.As(err, &refused) {
		switch refused.Code {
		case ledger.CodeDenied:
			return http.StatusForbidden
		case ledger.CodeNotFound:
			return http.StatusNotFound
		case ledger.CodeMalformed:
			return http.StatusBadRequest
		case ledger.CodeBusy:
			return http.StatusServiceUnavailable
		default:
			return http.StatusConflict
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

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
