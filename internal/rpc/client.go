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

// Client makes calls over one connection. Its methods may be used
// concurrently. It owns two goroutines, which end with Close or the
// connection.
type Client struct {
	conn    io.ReadWriteCloser
	options Options
	sender  *sender
	ended   sync.WaitGroup
	down    chan struct{} // closed once cause is set

	mu      sync.Mutex
	nextID  uint64
	pending map[uint64]*call
	cause   error // why the connection ended; wraps ErrConn
}

// call is one request in flight. Whoever removes it from pending sends the
// outcome, which has room for one.
type call struct {
	limit   int
	outcome chan outcome
}

type outcome struct {
	body []byte
	err  error
}

// NewClient takes over conn.
func NewClient(conn io.ReadWriteCloser, options Options) *Client {
	c := &Client{
		conn:    conn,
		options: options.withDefaults(),
		sender:  newSender(conn),
		down:    make(chan struct{}),
		pending: make(map[uint64]*call),
	}
	c.ended.Add(2)
	go func() {
		defer c.ended.Done()
		c.fail(c.sender.run())
	}()
	go func() {
		defer c.ended.Done()
		c.fail(c.receive())
	}()
	return c
}

// Call sends a request, of which it keeps no reference, and waits for the
// reply. It returns early when ctx ends: the server is then told to stop, and
// a late reply is dropped. The error is an *Error when the peer refused,
// wraps ErrConn when the connection is gone, and is ctx's own otherwise.
func (c *Client) Call(ctx context.Context, method uint16, body []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	limit := c.options.limit(method)
	if len(body) > limit {
		return nil, Errorf(CodeMalformed, "request of %d bytes over the limit of %d", len(body), limit)
	}
	pending := &call{limit, make(chan outcome, 1)}
	c.mu.Lock()
	if c.cause != nil {
		defer c.mu.Unlock()
		return nil, c.cause
	}
	id := c.nextID
	c.nextID++
	c.pending[id] = pending
	c.mu.Unlock()

	if err := c.sender.send(ctx, kindRequest, id, method, body); err != nil {
		c.take(id)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, connError(err)
	}
	select {
	case o := <-pending.outcome:
		return o.body, o.err
	case <-ctx.Done():
		if c.take(id) != nil {
			// Without room the request runs on: it costs the server work,
			// and nobody memory.
			c.sender.offer(kindCancel, id, 0, nil) //nolint:errcheck // advice only
		}
		return nil, ctx.Err()
	}
}

// Ping returns nil when the peer's reader runs and answers.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.Call(ctx, MethodPing, nil)
	return err
}

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.down }

// Err says why the connection has ended, nil before.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// Close ends the connection and every call, and waits for the goroutines.
func (c *Client) Close() error {
	c.fail(errors.New("closed here"))
	c.ended.Wait()
	return nil
}

// take removes a pending call; nil when another took it first.
func (c *Client) take(id uint64) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pending[id]
	delete(c.pending, id)
	return p
}

// fail ends the connection; the first reason stays.
func (c *Client) fail(reason error) {
	c.mu.Lock()
	if c.cause != nil {
		c.mu.Unlock()
		return
	}
	c.cause = connError(reason)
	orphans := c.pending
	c.pending = make(map[uint64]*call)
	c.mu.Unlock()

	// Callers first: they have other peers to ask, and closing may take time.
	for _, p := range orphans {
		p.outcome <- outcome{nil, c.cause}
	}
	close(c.down)
	c.sender.stop(c.cause)
	c.conn.Close() //nolint:errcheck // the connection is given up either way
}

// receive hands replies to their calls until the connection ends.
func (c *Client) receive() error {
	r := bufio.NewReaderSize(c.conn, readBuffer)
	for {
		h, err := readHeader(r)
		if err != nil {
			return err
		}
		if h.kind != kindReply {
			return fmt.Errorf("%w: frame of kind %d from a server", wire.ErrMalformed, h.kind)
		}
		p := c.take(h.id)
		if p == nil { // given up by its caller
			if err := skipBody(r, h.size); err != nil {
				return err
			}
			continue
		}
		limit := p.limit
		if Code(h.word) != CodeOK {
			limit = maxErrorText
		}
		body, err := readBody(r, h.size, limit)
		if err != nil {
			p.outcome <- outcome{nil, connError(err)}
			return err
		}
		if Code(h.word) != CodeOK {
			p.outcome <- outcome{nil, &Error{Code(h.word), string(body)}}
			continue
		}
		p.outcome <- outcome{body, nil}
	}
}

func connError(err error) error {
	if errors.Is(err, ErrConn) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrConn, err)
}
