package signerapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Server serves both APIs. Make it with New.
type Server struct {
	config  Config
	routes  routes
	log     *slog.Logger
	known   knownClients // nil without TLS client authentication
	origin  *http.CrossOriginProtection
	buffers buffers

	signing gate // sign requests at work
	large   gate // large bodies in memory
	admin   gate // imports, deletions and changes of settings: one at a time

	reloads *reloads
}

// New checks the configuration and reads the files of TLS.
func New(config Config) (*Server, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		config:  config,
		log:     config.Log,
		origin:  http.NewCrossOriginProtection(),
		signing: newGate(config.InFlight, config.QueueWait),
		large:   newGate(largeBodies, config.QueueWait),
		admin:   newGate(1, ledgerTime/2),
		reloads: newReloads(config.Reloader),
	}
	if config.TLS != nil && config.TLS.KnownClientsFile != "" {
		if s.known, err = readKnownClients(config.TLS.KnownClientsFile); err != nil {
			return nil, err
		}
	}
	s.routes = s.table()
	if err := config.Metrics.countSigners(func() int { return len(config.Signer.Keys()) }); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return s, nil
}

// Run listens on the configured address and serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", s.config.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.config.Listen, err)
	}
	return s.Serve(ctx, listener)
}

// Serve takes over listener and serves until ctx ends, then waits a short
// while for requests under way. It returns nil after that.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	listener, err := s.secure(listener)
	if err != nil {
		return err
	}
	server := s.httpServer()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.reloads.run(ctx) })
	group.Go(func() error { return serve(ctx, server, listener) })
	return group.Wait()
}

func (s *Server) httpServer() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // as Web3Signer; a second protocol is a second set of limits
	return &http.Server{
		Handler:           s,
		Protocols:         protocols,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       requestTime,
		WriteTimeout:      writeTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnState:         limitConns(s.config.MaxConns),

		DisableGeneralOptionsHandler: true,
	}
}

// limitConns closes connections over the limit as they arrive, so that the
// node's descriptors are not used up by the port that anyone may reach.
func limitConns(limit int) func(net.Conn, http.ConnState) {
	var open atomic.Int64
	return func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			if open.Add(1) > int64(limit) {
				c.Close() //nolint:errcheck // its goroutine sees the same error and ends
			}
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		}
	}
}

// serve runs server on listener until ctx ends. Requests under way keep their
// own context until the grace time is over.
func serve(ctx context.Context, server *http.Server, listener net.Listener) error {
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server.BaseContext = func(net.Listener) context.Context { return requests }

	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	grace, stop := context.WithTimeout(requests, graceTime)
	defer stop()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		cancel()
		err = server.Close()
	}
	<-ended
	return err
}

// extend gives a request of the Keymanager API more time than a duty gets:
// read for the rest of its body, then work for the answer.
func extend(w http.ResponseWriter, read, work time.Duration) {
	control, now := http.NewResponseController(w), time.Now()
	// Writers without deadlines, as in tests, have no time-outs to extend.
	if read > 0 {
		_ = control.SetReadDeadline(now.Add(read))
	}
	_ = control.SetWriteDeadline(now.Add(read + work + writeTime))
}
