package rpc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/quorate/quorate/internal/wire"
)

// readBuffer holds several requests of the usual size, so that one read
// brings them all.
const readBuffer = 16 << 10

// Handler answers one request. It owns body. ctx ends when the client
// withdraws the request or the connection ends. An *Error reaches the client
// as it is, any other error as CodeInternal with its text.
type Handler func(ctx context.Context, method uint16, body []byte) ([]byte, error)

// Serve answers requests on conn, each in a goroutine of its own, until ctx
// ends or the connection does, and then closes it. It returns when every
// handler has: nil when the peer hung up between frames or ctx ended.
func Serve(ctx context.Context, conn io.ReadWriteCloser, handler Handler, options Options) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &server{
		options: options.withDefaults(),
		handler: handler,
		sender:  newSender(conn),
		active:  make(map[uint64]context.CancelFunc),
	}
	var ended sync.WaitGroup
	ended.Go(func() {
		s.sender.run() //nolint:errcheck // the reader reports the broken connection
		cancel()
	})
	ended.Go(func() {
		<-ctx.Done()
		s.sender.stop(ctx.Err())
		conn.Close() //nolint:errcheck // the connection is given up either way
	})
	err := s.receive(ctx, conn)
	stopped := ctx.Err() != nil
	cancel()
	s.handlers.Wait()
	ended.Wait()
	if stopped || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

type server struct {
	options  Options
	handler  Handler
	sender   *sender
	handlers sync.WaitGroup

	mu     sync.Mutex
	active map[uint64]context.CancelFunc // requests being handled
}

// receive reads requests until the connection ends.
func (s *server) receive(ctx context.Context, conn io.Reader) error {
	r := bufio.NewReaderSize(conn, readBuffer)
	for {
		h, err := readHeader(r)
		if err != nil {
			return err
		}
		limit := 0
		if h.kind == kindRequest {
			limit = s.options.limit(h.word)
		}
		body, err := readBody(r, h.size, limit)
		if err != nil {
			return err
		}
		switch h.kind {
		case kindCancel:
			s.mu.Lock()
			stop := s.active[h.id]
			s.mu.Unlock()
			if stop != nil {
				stop()
			}
		case kindRequest:
			if err := s.accept(ctx, h, body); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: frame of kind %d from a client", wire.ErrMalformed, h.kind)
		}
	}
}

// accept starts the handler of one request, or refuses it.
func (s *server) accept(ctx context.Context, h header, body []byte) error {
	if h.word == MethodPing {
		return s.sender.send(ctx, kindReply, h.id, uint16(CodeOK), nil)
	}
	s.mu.Lock()
	if s.active[h.id] != nil {
		s.mu.Unlock()
		return fmt.Errorf("%w: request id %d is in use", wire.ErrMalformed, h.id)
	}
	if len(s.active) >= s.options.Concurrent {
		s.mu.Unlock()
		return s.sender.send(ctx, kindReply, h.id, uint16(CodeUnavailable), []byte("busy"))
	}
	ctx, stop := context.WithCancel(ctx)
	s.active[h.id] = stop
	s.mu.Unlock()
	s.handlers.Go(func() {
		defer stop()
		code, reply := s.answer(ctx, h.word, body)
		s.sender.send(ctx, kindReply, h.id, uint16(code), reply) //nolint:errcheck // nobody is left to tell
		// Only now: replies that wait for room count as requests, or a peer
		// that never reads would collect them without bound.
		s.mu.Lock()
		delete(s.active, h.id)
		s.mu.Unlock()
	})
	return nil
}

func (s *server) answer(ctx context.Context, method uint16, body []byte) (Code, []byte) {
	reply, err := s.handler(ctx, method, body)
	if limit := s.options.limit(method); err == nil && len(reply) > limit {
		err = fmt.Errorf("reply of %d bytes over the limit of %d", len(reply), limit)
	}
	if err != nil {
		refusal := refusalOf(err)
		return refusal.Code, []byte(clip(refusal.Text))
	}
	return CodeOK, reply
}
