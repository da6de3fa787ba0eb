package peer

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/rpc"
)

// accept serves inbound connections until ctx ends or the listener fails,
// and returns when all of them have ended.
func (m *Mesh) accept(ctx context.Context) error {
	var ended sync.WaitGroup
	defer ended.Wait()
	serving, cancel := context.WithCancel(ctx)
	defer cancel()
	config := tlsConfig(m.own, func(key publicKey) error {
		if m.roster[key] == "" {
			return fmt.Errorf("%w: key %s is not on the roster", errUntrusted, key)
		}
		return nil
	})
	strangers := make(chan struct{}, maxHandshakes)
	for pause := time.Millisecond; ; {
		raw, err := m.config.Listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				raw.Close() //nolint:errcheck // given up
			}
			return nil
		case err != nil && !isTemporary(err):
			return fmt.Errorf("accept peers: %w", err)
		case err != nil: // out of file descriptors: wait for some
			m.refuse("accept peers", err)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			pause = min(2*pause, time.Second)
			continue
		}
		pause = time.Millisecond
		select {
		case strangers <- struct{}{}:
		default:
			raw.Close() //nolint:errcheck // given up
			m.refuse("refuse connection", fmt.Errorf("%d handshakes in progress", maxHandshakes), "from", raw.RemoteAddr())
			continue
		}
		ended.Go(func() {
			conn, name, err := m.shakeHands(serving, raw, config)
			<-strangers
			if err != nil {
				m.refuse("refuse connection", err, "from", raw.RemoteAddr())
				return
			}
			m.serve(serving, conn, name)
		})
	}
}

// isTemporary is the one use of net.Error.Temporary that net/http keeps, too:
// errors of accept that pass, such as EMFILE and ECONNABORTED.
func isTemporary(err error) bool {
	e, ok := err.(interface{ Temporary() bool })
	return ok && e.Temporary()
}

// shakeHands returns the channel and the name of the peer behind it.
func (m *Mesh) shakeHands(ctx context.Context, raw net.Conn, config *tls.Config) (channel, string, error) {
	if tcp, ok := raw.(*net.TCPConn); ok {
		tcp.SetKeepAliveConfig(keepAlive) //nolint:errcheck // a dead connection is also replaced by the next
	}
	ctx, cancel := context.WithTimeout(ctx, m.timing.handshake)
	defer cancel()
	conn := tls.Server(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close() //nolint:errcheck // given up
		return channel{}, "", err
	}
	key, err := keyOf(conn.ConnectionState())
	if err != nil {
		raw.Close() //nolint:errcheck // given up
		return channel{}, "", err
	}
	return channel{conn}, m.roster[key], nil
}

// serve answers one peer. It has one connection to call us on: a new one
// ends the one before, which a peer that restarted has forgotten.
func (m *Mesh) serve(ctx context.Context, conn channel, name string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.mu.Lock()
	if replaced := m.inbound[name]; replaced != nil {
		replaced()
	}
	m.inbound[name] = cancel
	m.mu.Unlock()
	handler := func(ctx context.Context, method uint16, body []byte) ([]byte, error) {
		return m.config.Handler(ctx, name, method, body)
	}
	if err := rpc.Serve(ctx, conn, handler, m.config.Options); err != nil {
		m.config.Logger.Debug("peer hung up", "peer", name, "cause", err)
	}
}

// refuse logs what a stranger can cause, at a bounded rate.
func (m *Mesh) refuse(what string, cause error, attrs ...any) {
	if dropped, ok := m.refusal.allow(time.Now()); ok {
		m.config.Logger.Warn(what, append([]any{"cause", cause, "unlogged", dropped}, attrs...)...)
	}
}

// throttle lets through burst lines a second.
type throttle struct {
	mu      sync.Mutex
	second  time.Time
	lines   int
	dropped int
}

const burst = 10

// allow reports whether to log now, and how many lines were dropped before.
func (t *throttle) allow(now time.Time) (dropped int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.second) >= time.Second {
		t.second, t.lines = now, 0
	}
	if t.lines == burst {
		t.dropped++
		return 0, false
	}
	t.lines++
	dropped, t.dropped = t.dropped, 0
	return dropped, true
}
