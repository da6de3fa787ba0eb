package rpc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/quorate/quorate/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	methodEcho uint16 = iota + 1
	methodRefuse
	methodFault
	methodWait // until withdrawn
	methodLong // a reply over the limit
)

// socketPair is two ends of a unix stream socket, as custody has them.
func socketPair(t testing.TB) (client, server net.Conn) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conns := make([]net.Conn, 2)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "")
		if conns[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return conns[0], conns[1]
}

// connect serves handler and returns a client of it.
func connect(t testing.TB, handler Handler, options Options) *Client {
	near, far := socketPair(t)
	ended := make(chan error, 1)
	go func() { ended <- Serve(t.Context(), far, handler, options) }()
	c := NewClient(near, options)
	t.Cleanup(func() {
		c.Close()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return c
}

// service is the handler of most tests. It tells waiting when a methodWait
// began and withdrawn when it was withdrawn.
type service struct{ waiting, withdrawn chan struct{} }

func newService() *service {
	return &service{make(chan struct{}, 1000), make(chan struct{}, 1000)}
}

func (s *service) handle(ctx context.Context, method uint16, body []byte) ([]byte, error) {
	switch method {
	case methodEcho:
		return body, nil
	case methodRefuse:
		return nil, fmt.Errorf("sign: %w", Errorf(CodeSlashable, "%s", body))
	case methodFault:
		return nil, errors.New("disk on fire")
	case methodWait:
		s.waiting <- struct{}{}
		<-ctx.Done()
		s.withdrawn <- struct{}{}
		return nil, ctx.Err()
	case methodLong:
		return make([]byte, 2000), nil
	}
	return nil, Errorf(CodeMalformed, "method %d", method)
}

func TestCalls(t *testing.T) {
	c := connect(t, newService().handle, Options{})
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := range 20 {
				body := bytes.Repeat([]byte{byte(i), byte(j)}, i*j)
				got, err := c.Call(t.Context(), methodEcho, body)
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("%d/%d: got %d bytes, %v", i, j, len(got), err)
				}
			}
		})
	}
	wg.Wait()
}

func TestLargestFrame(t *testing.T) {
	c := connect(t, newService().handle, Options{})
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			body := bytes.Repeat([]byte{byte(i)}, wire.MaxFrame)
			got, err := c.Call(t.Context(), methodEcho, body)
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
}

func TestErrorsCross(t *testing.T) {
	c := connect(t, newService().handle, Options{})
	long := strings.Repeat("ö", 400)
	for _, tc := range []struct {
		method uint16
		body   string
		want   Error
	}{
		{methodRefuse, "slot 7", Error{CodeSlashable, "slot 7"}},
		{methodRefuse, "", Error{CodeSlashable, ""}},
		{methodRefuse, long, Error{CodeSlashable, clip(long)}},
		{methodFault, "", Error{CodeInternal, "disk on fire"}},
		{99, "", Error{CodeMalformed, "method 99"}},
	} {
		_, err := c.Call(t.Context(), tc.method, []byte(tc.body))
		var got *Error
		if !errors.As(err, &got) || *got != tc.want || CodeOf(err) != tc.want.Code {
			t.Errorf("method %d: got %v, want %v", tc.method, err, &tc.want)
		}
	}
	if s := clip(long); len(s) > maxErrorText || !utf8.ValidString(s) {
		t.Errorf("clipped to %d bytes", len(s))
	}
}

func TestCodeOf(t *testing.T) {
	for want, err := range map[Code]error{
		CodeOK:          nil,
		CodeFenced:      fmt.Errorf("x: %w", Errorf(CodeFenced, "y")),
		CodeUnavailable: fmt.Errorf("x: %w", ErrConn),
		CodeInternal:    io.EOF,
	} {
		if got := CodeOf(err); got != want {
			t.Errorf("%v: got %v want %v", err, got, want)
		}
	}
	if CodeOf(context.Canceled) != CodeUnavailable || CodeOf(context.DeadlineExceeded) != CodeUnavailable {
		t.Error("an ended context is not unavailable")
	}
}

func TestWithdraw(t *testing.T) {
	s := newService()
	c := connect(t, s.handle, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-s.waiting; cancel() }()
	if _, err := c.Call(ctx, methodWait, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	<-s.withdrawn // the server was told
	if _, err := c.Call(ctx, methodEcho, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("call under an ended context: %v", err)
	}
	if _, err := c.Call(t.Context(), methodEcho, nil); err != nil {
		t.Fatalf("after a withdrawn call: %v", err)
	}
}

// A late reply is dropped, and does not end up with another call.
func TestLateReply(t *testing.T) {
	near, far := net.Pipe()
	c := NewClient(near, Options{})
	defer c.Close()
	defer far.Close()
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := c.Call(ctx, methodEcho, []byte("one"))
		first <- err
	}()
	skip(t, far, headerSize+3) // the request
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	go func() {
		skip(t, far, headerSize+headerSize+3) // the cancel frame and the next request
		far.Write(appendFrame(nil, kindReply, 0, 0, []byte("late")))
		far.Write(appendFrame(nil, kindReply, 0, 7, []byte("again")))
		far.Write(appendFrame(nil, kindReply, 1, 0, []byte("two")))
	}()
	if got, err := c.Call(t.Context(), methodEcho, []byte("two")); err != nil || string(got) != "two" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func skip(t testing.TB, r io.Reader, n int64) {
	if _, err := io.CopyN(io.Discard, r, n); err != nil {
		t.Error(err)
	}
}

func TestConnectionLossFailsEveryCall(t *testing.T) {
	s := newService()
	near, far := socketPair(t)
	ended := make(chan error, 1)
	go func() { ended <- Serve(t.Context(), far, s.handle, Options{}) }()
	c := NewClient(near, Options{})
	defer c.Close()
	errs := make(chan error, 10)
	for range 10 {
		go func() {
			_, err := c.Call(t.Context(), methodWait, nil)
			errs <- err
		}()
		<-s.waiting
	}
	far.Close()
	for range 10 {
		if err := <-errs; !errors.Is(err, ErrConn) || CodeOf(err) != CodeUnavailable {
			t.Fatalf("got %v", err)
		}
	}
	<-c.Done()
	if _, err := c.Call(t.Context(), methodEcho, nil); !errors.Is(err, ErrConn) {
		t.Fatalf("after the loss: %v", err)
	}
	if !errors.Is(c.Err(), ErrConn) {
		t.Fatalf("cause %v", c.Err())
	}
	<-ended
}

func TestServeEndsWithContext(t *testing.T) {
	s := newService()
	near, far := socketPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, far, s.handle, Options{}) }()
	c := NewClient(near, Options{})
	defer c.Close()
	go func() { <-s.waiting; cancel() }()
	if _, err := c.Call(t.Context(), methodWait, nil); CodeOf(err) != CodeUnavailable {
		t.Fatalf("got %v", err)
	}
	if err := <-ended; err != nil {
		t.Fatalf("serve: %v", err)
	}
}

func TestBusy(t *testing.T) {
	s := newService()
	c := connect(t, s.handle, Options{Concurrent: 2})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { c.Call(ctx, methodWait, nil) })
		<-s.waiting
	}
	if _, err := c.Call(t.Context(), methodEcho, nil); CodeOf(err) != CodeUnavailable {
		t.Fatalf("third request: %v", err)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Fatalf("ping while busy: %v", err)
	}
	cancel()
	wg.Wait()
	// The slots come back once the handlers are through.
	for {
		_, err := c.Call(t.Context(), methodEcho, nil)
		if err == nil {
			break
		}
		if CodeOf(err) != CodeUnavailable {
			t.Fatal(err)
		}
	}
}

func TestLimits(t *testing.T) {
	options := Options{Limit: func(method uint16) int {
		if method == methodEcho {
			return 1000
		}
		return 1500
	}}
	c := connect(t, newService().handle, options)
	if _, err := c.Call(t.Context(), methodEcho, make([]byte, 1001)); CodeOf(err) != CodeMalformed {
		t.Errorf("long request: %v", err)
	}
	if _, err := c.Call(t.Context(), methodEcho, make([]byte, 1000)); err != nil {
		t.Errorf("longest request: %v", err)
	}
	if _, err := c.Call(t.Context(), methodLong, nil); CodeOf(err) != CodeInternal {
		t.Errorf("long reply: %v", err)
	}
}

// Each of these frames costs its sender the connection.
func TestProtocolViolations(t *testing.T) {
	small := Options{Limit: func(uint16) int { return 10 }}
	big := appendFrame(nil, kindRequest, 1, methodEcho, make([]byte, 11))
	for name, in := range map[string][]byte{
		"long request":         big[:headerSize],
		"reply from a client":  appendFrame(nil, kindReply, 1, 0, nil),
		"unknown kind":         appendFrame(nil, 9, 1, 0, nil),
		"cancel with a body":   appendFrame(nil, kindCancel, 1, 0, []byte{1}),
		"ping with a body":     appendFrame(nil, kindRequest, 1, MethodPing, []byte{1}),
		"id in use":            append(appendFrame(nil, kindRequest, 1, methodWait, nil), appendFrame(nil, kindRequest, 1, methodWait, nil)...),
		"truncated header":     big[:5],
		"truncated body":       appendFrame(nil, kindRequest, 1, methodEcho, make([]byte, 9))[:headerSize+4],
		"body that never came": appendFrame(nil, kindRequest, 1, methodEcho, make([]byte, 9))[:headerSize],
	} {
		conn := &scripted{in: bytes.NewReader(in)}
		err := Serve(t.Context(), conn, newService().handle, small)
		if err == nil || !conn.closed.Load() {
			t.Errorf("server, %s: %v, closed %v", name, err, conn.closed.Load())
		}
	}
	for name, reply := range map[string][]byte{
		"long reply":              appendFrame(nil, kindReply, 0, 0, make([]byte, 11))[:headerSize],
		"long error":              appendFrame(nil, kindReply, 0, 1, make([]byte, maxErrorText+1))[:headerSize],
		"request from a server":   appendFrame(nil, kindRequest, 0, methodEcho, nil),
		"long reply nobody wants": appendFrame(nil, kindReply, 7, 0, make([]byte, wire.MaxFrame+1))[:headerSize],
	} {
		near, far := net.Pipe()
		c := NewClient(near, small)
		go func() {
			skip(t, far, headerSize)
			far.Write(reply)
		}()
		if _, err := c.Call(t.Context(), methodEcho, nil); !errors.Is(err, ErrConn) || !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("client, %s: %v", name, err)
		}
		far.Close()
		c.Close()
	}
}

// scripted is a peer that says in and then hangs up; it hears everything.
type scripted struct {
	in     *bytes.Reader
	closed atomic.Bool
}

func (s *scripted) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s *scripted) Write(p []byte) (int, error) { return len(p), nil }
func (s *scripted) Close() error                { s.closed.Store(true); return nil }

// A peer that asks and asks but never reads is not listened to any more
// once its replies fill the bounds.
func TestPeerThatNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &deaf{closed: make(chan struct{}), frame: appendFrame(nil, kindRequest, 0, methodEcho, make([]byte, 64<<10))}
		var handled atomic.Int64
		handler := func(_ context.Context, _ uint16, body []byte) ([]byte, error) {
			handled.Add(1)
			return body, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- Serve(ctx, conn, handler, Options{Concurrent: 8}) }()
		synctest.Wait() // returns only when the server reads no more
		// What the write in progress took, at most all that was queued, as much
		// behind it, and 8 replies waiting for room.
		if n, most := handled.Load(), int64(2*(maxQueued/(64<<10)+1)+8); n > most {
			t.Errorf("%d requests handled, at most %d expected", n, most)
		}
		cancel()
		<-ended
	})
}

// deaf sends the same request with new ids for ever; writes to it block.
type deaf struct {
	frame  []byte
	at     int
	frames atomic.Int64
	closed chan struct{}
	once   sync.Once
}

func (d *deaf) Read(p []byte) (int, error) {
	select {
	case <-d.closed:
		return 0, net.ErrClosed
	default:
	}
	n := copy(p, d.frame[d.at:])
	if d.at += n; d.at == len(d.frame) {
		d.at = 0
		id := d.frames.Add(1)
		copy(d.frame, appendFrame(nil, kindRequest, uint64(id), methodEcho, nil)[:9])
	}
	return n, nil
}
func (d *deaf) Write([]byte) (int, error) { <-d.closed; return 0, net.ErrClosed }
func (d *deaf) Close() error              { d.once.Do(func() { close(d.closed) }); return nil }

// Call honours its context also while the connection takes nothing.
func TestCallToPeerThatNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := NewClient(near, Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				if _, err := c.Call(ctx, methodEcho, make([]byte, maxQueued/10)); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
		c.sender.mu.Lock()
		queued := len(c.sender.queued)
		c.sender.mu.Unlock()
		if queued > maxQueued+maxQueued/5 {
			t.Errorf("%d bytes queued", queued)
		}
		far.Close()
		c.Close()
	})
}

// Memory follows what arrives, not what is announced.
func TestAnnouncedBodyIsNotAllocated(t *testing.T) {
	r := bufio.NewReader(bytes.NewReader(nil))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := readBody(r, wire.MaxFrame, wire.MaxFrame)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	if asked := after.TotalAlloc - before.TotalAlloc; asked > 2*readStep {
		t.Fatalf("%d bytes allocated for nothing", asked)
	}
	if _, err := readBody(nil, 11, 10); !errors.Is(err, wire.ErrMalformed) {
		t.Fatal(err)
	}
}
