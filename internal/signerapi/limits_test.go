package signerapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/wire"
)

// listen serves f on loopback until the test ends; adjust may shorten
// time-outs.
func (f *fixture) listen(adjust func(*http.Server)) string {
	f.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	server := f.httpServer()
	if adjust != nil {
		adjust(server)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, server, listener) }()
	f.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			f.t.Errorf("serve: %v", err)
		}
	})
	return listener.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func client(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

func post(c *http.Client, url, body string) (status int, err error) {
	resp, err := c.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// 500 clients that send a byte and wait neither keep others from signing nor
// stay connected.
func TestSlowClients(t *testing.T) {
	f := newFixture(t)
	addr := f.listen(func(s *http.Server) { s.ReadHeaderTimeout, s.ReadTimeout = 3*time.Second, 3*time.Second })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	slow := make([]net.Conn, 500)
	for i := range slow {
		slow[i] = dial(t, addr)
		head := "P"
		if i%2 == 0 { // the body's turn to be slow
			head = "POST " + f.sign + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n{"
		}
		if _, err := io.WriteString(slow[i], head); err != nil {
			t.Fatal(err)
		}
	}
	c := client(t)
	for range 10 {
		if status, err := post(c, "http://"+addr+f.sign, randao); status != 200 || err != nil {
			t.Fatalf("beside slow clients: status %d, %v", status, err)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	for i, conn := range slow {
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Fatalf("slow client %d is still connected: %v", i, err)
		}
		if i%2 == 0 && !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
			t.Fatalf("slow body: %q", answer)
		}
	}
}

// A body announced as too large is refused before any of it is read.
func TestLargeBodies(t *testing.T) {
	f := newFixture(t)
	addr := f.listen(nil)
	conn := dial(t, addr)
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", f.sign, 1<<30); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	runtime.ReadMemStats(&after)
	if resp.StatusCode != 413 || !resp.Close {
		t.Errorf("status %d, close %v", resp.StatusCode, resp.Close)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("%d bytes were allocated", grown)
	}

	// Unannounced, exactly at the limit, and one byte over it.
	for size, status := range map[int]int{wire.MaxHTTPBody: 400, wire.MaxHTTPBody + 1: 413} {
		chunked := struct{ io.Reader }{io.LimitReader(spaces{}, int64(size))}
		resp, err := client(t).Post("http://"+addr+f.sign, "application/json", chunked)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("chunked body of %d bytes: status %d, want %d", size, resp.StatusCode, status)
		}
	}
	if len(f.large.places) != 0 {
		t.Error("a place for large bodies stays taken")
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// Large bodies wait for one of a few places; small ones pass by.
func TestLargeBodiesAreFew(t *testing.T) {
	f := newFixture(t)
	f.large.wait = time.Millisecond
	for range largeBodies {
		if err := f.large.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	large := randao[:len(randao)-1] + strings.Repeat(" ", smallBody) + "}"
	want(t, f.do("POST", f.sign, large), 503)
	want(t, f.do("POST", f.sign, randao), 200)
	f.large.leave()
	want(t, f.do("POST", f.sign, large), 200)
}

// When every place is taken others are told to come again, soon.
func TestSaturation(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.InFlight, c.QueueWait = 2, 20*time.Millisecond })
	entered, release := make(chan struct{}), make(chan struct{})
	f.signer.before = func(context.Context, string, eth.Duty) error {
		entered <- struct{}{}
		<-release
		return nil
	}
	answers := make(chan int, 2)
	for range 2 {
		go func() { answers <- f.do("POST", f.sign, randao).Code }()
		<-entered
	}
	w := f.do("POST", f.sign, randao)
	want(t, w, 503)
	if w.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	close(release)
	for range 2 {
		if status := <-answers; status != 200 {
			t.Errorf("status %d", status)
		}
	}
}

// With too few holders the answer comes at the deadline, as 503.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(c *Config) { c.Deadline = 50 * time.Millisecond })
		f.signer.before = func(ctx context.Context, _ string, _ eth.Duty) error {
			<-ctx.Done()
			return fmt.Errorf("ask holders: %w", ctx.Err())
		}
		start := time.Now()
		want(t, f.do("POST", f.sign, randao), 503)
		if took := time.Since(start); took != f.config.Deadline {
			t.Errorf("it took %s", took)
		}
	})
}

func TestConnectionLimit(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.MaxConns = 3 })
	addr := f.listen(nil)
	var open []net.Conn
	for range 3 {
		conn := dial(t, addr)
		if _, err := io.WriteString(conn, "GET /upcheck HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	excess := dial(t, addr)
	if err := excess.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if n, err := excess.Read(make([]byte, 1)); err == nil || n != 0 || isTimeout(err) {
		t.Fatalf("a fourth connection stays open: %d, %v", n, err)
	}
	open[0].Close()
	deadline := time.Now().Add(time.Minute)
	for { // the server notices in its own time
		conn := dial(t, addr)
		_ = conn.SetDeadline(deadline)
		_, _ = io.WriteString(conn, "GET /upcheck HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			return
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("a closed connection stays counted")
		}
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// Requests under way are answered when the server is told to end.
func TestGracefulEnd(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Listen = "127.0.0.1:0" })
	listener, err := net.Listen("tcp", f.config.Listen)
	if err != nil {
		t.Fatal(err)
	}
	entered, release := make(chan struct{}), make(chan struct{})
	f.signer.before = func(ctx context.Context, _ string, _ eth.Duty) error {
		close(entered)
		<-release
		return ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended, answered := make(chan error, 1), make(chan int, 1)
	go func() { ended <- f.Serve(ctx, listener) }()
	c := client(t)
	go func() {
		status, _ := post(c, "http://"+listener.Addr().String()+f.sign, randao)
		answered <- status
	}()
	<-entered
	cancel()
	close(release)
	if status := <-answered; status != 200 {
		t.Errorf("status %d", status)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestRunReportsListen(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Listen = "127.0.0.1:none" })
	if err := f.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "listen on 127.0.0.1:none") {
		t.Errorf("Run: %v", err)
	}
}

func BenchmarkSign(b *testing.B) {
	f := newFixture(b)
	f.Server.config.Signer = instant{f.signer}
	for b.Loop() {
		if w := f.do("POST", f.sign, randao, "Accept", "application/json"); w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}

// instant is a signer of which only this package's share of the work is left.
type instant struct{ *keySigner }

func (instant) Holds([48]byte) bool { return true }

func (instant) Sign(context.Context, string, [48]byte, eth.Duty) ([96]byte, error) {
	return [96]byte{}, nil
}
