package peer

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quorate/quorate/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	methodWho  uint16 = 1 // answers with the caller's name and the body
	methodWait uint16 = 2 // until withdrawn
)

// quick is timing for loopback.
var quick = timing{
	handshake:  20 * time.Second,
	pingEvery:  20 * time.Millisecond,
	pingWithin: 20 * time.Second,
	backoffMin: time.Millisecond,
	backoffMax: 20 * time.Millisecond,
}

// fixture is what a test knows of one node.
type fixture struct {
	Peer
	key      ed25519.PrivateKey
	listener net.Listener
	timing   timing
}

func newFixture(t testing.TB, name string) fixture {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return fixture{Peer{name, l.Addr().String(), public}, private, l, quick}
}

// running is a mesh whose Run is under way.
type running struct {
	*Mesh
	log  *syncBuffer
	stop func() // and wait
}

func start(t testing.TB, self fixture, peers ...Peer) *running {
	log := new(syncBuffer)
	m, err := New(Config{
		Self: self.Name, Key: self.key, Listener: self.listener, Peers: peers,
		Handler: func(ctx context.Context, caller string, method uint16, body []byte) ([]byte, error) {
			if method == methodWait {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return append([]byte(caller+":"), body...), nil
		},
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	m.timing = self.timing
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run %s: %v", self.Name, err)
		}
	})
	t.Cleanup(stop)
	return &running{m, log, stop}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// until polls for what another goroutine brings about.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still not: %s", what)
		}
	}
}

func (r *running) ask(t testing.TB, name, want string) {
	t.Helper()
	var got []byte
	until(t, name+" answers", func() (up bool) {
		var err error
		if got, err = r.Call(t.Context(), name, methodWho, []byte("hi")); err != nil && rpc.CodeOf(err) != rpc.CodeUnavailable {
			t.Fatalf("call %s: %v", name, err)
		}
		return err == nil
	})
	if string(got) != want {
		t.Fatalf("call %s: got %q", name, got)
	}
}

func TestMesh(t *testing.T) {
	a, b, c := newFixture(t, "a"), newFixture(t, "b"), newFixture(t, "c")
	ma := start(t, a, b.Peer, c.Peer)
	mb := start(t, b, a.Peer, c.Peer)
	mc := start(t, c, b.Peer, a.Peer)
	ma.ask(t, "b", "a:hi")
	ma.ask(t, "c", "a:hi")
	mb.ask(t, "a", "b:hi")
	mb.ask(t, "c", "b:hi")
	mc.ask(t, "a", "c:hi")
	mc.ask(t, "b", "c:hi")

	all := ma.Status()
	if len(all) != 2 || all[0].Name != "b" || all[1].Name != "c" {
		t.Fatalf("status %v", all)
	}
	for _, s := range all {
		if !s.Connected || s.RTT <= 0 || s.Err != nil || s.Address == "" {
			t.Errorf("status %+v", s)
		}
	}
	if _, err := ma.Call(t.Context(), "d", methodWho, nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("call to nobody: %v", err)
	}
}

func TestUnavailableAtOnce(t *testing.T) {
	a, b := newFixture(t, "a"), newFixture(t, "b")
	b.Address = "127.0.0.1:1" // where nobody listens
	ma := start(t, a, b.Peer)
	// No deadline: a call that queued would hang.
	_, err := ma.Call(t.Context(), "b", methodWho, nil)
	if !errors.Is(err, ErrUnavailable) || rpc.CodeOf(err) != rpc.CodeUnavailable {
		t.Fatalf("got %v", err)
	}
	until(t, "refused", func() bool {
		s := ma.Status()[0]
		return !s.Connected && s.Err != nil && strings.Contains(s.Err.Error(), "refused")
	})
}

func TestReconnect(t *testing.T) {
	a, b := newFixture(t, "a"), newFixture(t, "b")
	cable := newCable(t, b.Address) // the address stays, wherever b listens: a port that is left may be taken
	plugged := b.Peer
	plugged.Address = cable.Addr().String()
	ma := start(t, a, plugged)
	mb := start(t, b, a.Peer)
	for range 3 {
		ma.ask(t, "b", "a:hi")
		pending := make(chan error, 1)
		go func() {
			_, err := ma.Call(t.Context(), "b", methodWait, nil)
			pending <- err
		}()
		mb.stop()
		if err := <-pending; rpc.CodeOf(err) != rpc.CodeUnavailable {
			t.Fatalf("call in flight: %v", err)
		}
		until(t, "loss noticed", func() bool { return !ma.Connected("b") })
		b.listener = newFixture(t, "").listener
		cable.lead(b.listener.Addr().String())
		mb = start(t, b, a.Peer)
	}
	ma.ask(t, "b", "a:hi")
	mb.ask(t, "a", "b:hi")
}

// A peer that stops without closing, as under SIGSTOP or behind a cable that
// was pulled, is noticed by its silence.
func TestSilentPeer(t *testing.T) {
	a, b := newFixture(t, "a"), newFixture(t, "b")
	a.timing.pingWithin = 300 * time.Millisecond
	start(t, b, a.Peer)
	cable := newCable(t, b.Address)
	b.Address = cable.Addr().String()
	ma := start(t, a, b.Peer)
	ma.ask(t, "b", "a:hi")
	cable.pull()
	_, err := ma.Call(t.Context(), "b", methodWho, nil)
	if !errors.Is(err, rpc.ErrConn) && !errors.Is(err, ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	until(t, "silence noticed", func() bool { return !ma.Connected("b") })
	cable.plug()
	ma.ask(t, "b", "a:hi")
}

// cable forwards connections to an address until it is pulled.
type cable struct {
	net.Listener
	mu     sync.Mutex
	cond   *sync.Cond
	to     string
	pulled bool
	ended  bool
}

func newCable(t *testing.T, to string) *cable {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{Listener: l, to: to}
	c.cond = sync.NewCond(&c.mu)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := c.dial()
			if err != nil {
				near.Close()
				continue
			}
			wg.Go(func() { c.forward(far, near) })
			wg.Go(func() { c.forward(near, far) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.mu.Lock()
		c.ended = true
		c.mu.Unlock()
		c.cond.Broadcast()
		wg.Wait()
	})
	return c
}

func (c *cable) lead(to string) { c.mu.Lock(); c.to = to; c.mu.Unlock() }

func (c *cable) dial() (net.Conn, error) {
	c.mu.Lock()
	to := c.to
	c.mu.Unlock()
	return net.Dial("tcp", to)
}

func (c *cable) forward(dst, src net.Conn) {
	defer dst.Close()
	defer src.Close()
	buf := make([]byte, 4096)
	for {
		n, err := src.Read(buf)
		c.mu.Lock()
		for c.pulled && !c.ended {
			c.cond.Wait()
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (c *cable) pull() { c.mu.Lock(); c.pulled = true; c.mu.Unlock() }
func (c *cable) plug() { c.mu.Lock(); c.pulled = false; c.mu.Unlock(); c.cond.Broadcast() }

// Somebody else listens at the peer's address.
func TestImpostorIsNotCalled(t *testing.T) {
	a, b, impostor := newFixture(t, "a"), newFixture(t, "b"), newFixture(t, "b")
	mi := start(t, impostor, a.Peer) // would serve a
	pinned := b.Peer
	pinned.Address = impostor.Address
	ma := start(t, a, pinned)
	until(t, "impostor refused", func() bool { return errors.Is(ma.Status()[0].Err, errUntrusted) })
	if ma.Connected("b") {
		t.Fatal("connected to the impostor")
	}
	text := ma.Status()[0].Err.Error()
	if !strings.Contains(text, fmt.Sprintf("%x", b.Key)) || !strings.Contains(text, fmt.Sprintf("%x", impostor.Key)) {
		t.Errorf("error without the keys: %s", text)
	}
	until(t, "log line", func() bool { return strings.Contains(ma.log.String(), "pinned is") })
	_ = mi
}

// Each of these clients is refused, and one that does everything right is
// not: otherwise the test would prove nothing.
func TestServerRefuses(t *testing.T) {
	a, b, stranger := newFixture(t, "a"), newFixture(t, "b"), newFixture(t, "x")
	ma := start(t, a, b.Peer)
	base := func(key ed25519.PrivateKey) *tls.Config {
		own, err := certificate(key)
		if err != nil {
			t.Fatal(err)
		}
		return tlsConfig(own, func(publicKey) error { return nil })
	}
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecdsaCert, err := certificate(ecdsaKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		key    ed25519.PrivateKey
		change func(*tls.Config)
		logged string // "" for accepted
	}{
		{"right", b.key, func(*tls.Config) {}, ""},
		{"unknown key", stranger.key, func(*tls.Config) {}, "not on the roster"},
		{"own key reflected", a.key, func(*tls.Config) {}, "not on the roster"},
		{"TLS 1.2", b.key, func(c *tls.Config) {
			c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
			c.CurvePreferences = nil
			c.VerifyConnection = nil
		}, "unsupported versions"},
		{"X25519 alone", b.key, func(c *tls.Config) {
			c.CurvePreferences = []tls.CurveID{tls.X25519}
			c.VerifyConnection = nil
		}, "no key exchanges supported"},
		{"no ALPN", b.key, func(c *tls.Config) { c.NextProtos = nil; c.VerifyConnection = nil }, "protocol"},
		{"other ALPN", b.key, func(c *tls.Config) { c.NextProtos = []string{"h2"} }, "unsupported application protocols"},
		{"no certificate", b.key, func(c *tls.Config) { c.Certificates = nil }, "didn't provide a certificate"},
		{"ECDSA", b.key, func(c *tls.Config) { c.Certificates = []tls.Certificate{ecdsaCert} }, "without an Ed25519 key"},
		{"two certificates", b.key, func(c *tls.Config) {
			chain := &c.Certificates[0].Certificate
			*chain = append(*chain, (*chain)[0])
		}, "2 certificates"},
	} {
		before := strings.Count(ma.log.String(), "\n")
		config := base(tc.key)
		tc.change(config)
		err := pingOnce(t, a.Address, config)
		if tc.logged == "" {
			if err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: accepted", tc.name)
		}
		until(t, tc.name+" logged", func() bool {
			log := strings.Split(ma.log.String(), "\n")
			return strings.Contains(strings.Join(log[min(before, len(log)):], "\n"), tc.logged)
		})
	}
}

// pingOnce returns nil when the server at address talks to such a client.
func pingOnce(t *testing.T, address string, config *tls.Config) error {
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		return err
	}
	c := rpc.NewClient(conn, rpc.Options{})
	defer c.Close()
	return c.Ping(t.Context())
}

func TestNoResumption(t *testing.T) {
	a, b := newFixture(t, "a"), newFixture(t, "b")
	start(t, a, b.Peer)
	own, err := certificate(b.key)
	if err != nil {
		t.Fatal(err)
	}
	config := tlsConfig(own, func(publicKey) error { return nil })
	config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	config.SessionTicketsDisabled = false
	for range 2 {
		if err := pingOnce(t, a.Address, config); err != nil { // checkChannel refuses a resumed one
			t.Fatal(err)
		}
	}
	if session, ok := config.ClientSessionCache.Get("127.0.0.1"); ok || session != nil {
		t.Error("server hands out tickets")
	}
}

// A peer that restarted is served although its former connection never ended.
func TestNewConnectionReplacesOld(t *testing.T) {
	a, b := newFixture(t, "a"), newFixture(t, "b")
	start(t, a, b.Peer)
	own, err := certificate(b.key)
	if err != nil {
		t.Fatal(err)
	}
	var clients []*rpc.Client
	for range 2 {
		conn, err := tls.Dial("tcp", a.Address, tlsConfig(own, func(publicKey) error { return nil }))
		if err != nil {
			t.Fatal(err)
		}
		c := rpc.NewClient(conn, rpc.Options{})
		defer c.Close()
		if err := c.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	<-clients[0].Done()
	if err := clients[1].Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Connections that never speak neither stay nor keep Run from ending.
func TestMuteStranger(t *testing.T) {
	a, b := newFixture(t, "a"), newFixture(t, "b")
	ma := start(t, a, b.Peer)
	conn, err := net.Dial("tcp", a.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ma.stop()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
		t.Fatalf("got %v", err)
	}
}

func TestRoster(t *testing.T) {
	a, b := newFixture(t, "a"), newFixture(t, "b")
	for name, peers := range map[string][]Peer{
		"own name":  {{"a", "x:1", b.Key}},
		"own key":   {{"b", "x:1", a.Key}},
		"name":      {{"b", "x:1", b.Key}, {"b", "x:1", newFixture(t, "").Key}},
		"key":       {{"b", "x:1", b.Key}, {"c", "x:1", b.Key}},
		"no name":   {{"", "x:1", b.Key}},
		"short key": {{"b", "x:1", b.Key[:5]}},
		"no key":    {{"b", "x:1", nil}},
	} {
		if _, err := New(Config{Self: "a", Key: a.key, Peers: peers}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Self: "a", Key: ecdsaKey}); err == nil {
		t.Error("ECDSA node key accepted")
	}
}

func TestThrottle(t *testing.T) {
	var th throttle
	now := time.Unix(1000, 0)
	for range burst {
		if _, ok := th.allow(now); !ok {
			t.Fatal("dropped within the burst")
		}
	}
	for range 5 {
		if _, ok := th.allow(now.Add(900 * time.Millisecond)); ok {
			t.Fatal("let through beyond the burst")
		}
	}
	if dropped, ok := th.allow(now.Add(time.Second)); !ok || dropped != 5 {
		t.Fatalf("got %d, %v", dropped, ok)
	}
}

// BenchmarkCall measures a call of the size of a partial signature over
// loopback, both ends in this process.
func BenchmarkCall(b *testing.B) {
	for _, concurrency := range []int{1, 64} {
		b.Run(fmt.Sprintf("c=%d", concurrency), func(b *testing.B) {
			fa, fb := newFixture(b, "a"), newFixture(b, "b")
			start(b, fb, fa.Peer)
			m := start(b, fa, fb.Peer)
			m.ask(b, "b", "a:hi")
			body := make([]byte, 300)
			tokens := make(chan struct{})
			var wg sync.WaitGroup
			for range concurrency {
				wg.Go(func() {
					for range tokens {
						if _, err := m.Call(b.Context(), "b", methodWho, body); err != nil {
							b.Error(err)
						}
					}
				})
			}
			b.ResetTimer()
			for range b.N {
				tokens <- struct{}{}
			}
			close(tokens)
			wg.Wait()
		})
	}
}
