package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/internal/rpc"
)

// link is the connection on which this node calls one peer.
type link struct {
	mesh   *Mesh
	peer   Peer
	key    publicKey
	client atomic.Pointer[rpc.Client] // nil while not connected

	mu  sync.Mutex
	rtt time.Duration
	err error // why it is not connected
}

// run connects, and again whenever the connection ends, until ctx does.
func (l *link) run(ctx context.Context) {
	t := l.mesh.timing
	log := l.mesh.config.Logger.With("peer", l.peer.Name, "address", l.peer.Address)
	backoff := t.backoffMin
	for logged := ""; ctx.Err() == nil; {
		client, err := l.dial(ctx)
		if err == nil {
			log.Info("peer connected")
			logged = ""
			start := time.Now()
			err = l.keep(ctx, client)
			// A peer that hangs up on us each time must not be dialled
			// in a tight loop.
			if time.Since(start) > t.backoffMax {
				backoff = t.backoffMin
			}
		}
		if ctx.Err() != nil {
			err = errors.New("stopped")
		}
		l.mu.Lock()
		l.err = err
		l.mu.Unlock()
		if text := err.Error(); text != logged && ctx.Err() == nil {
			log.Warn("peer not connected", "cause", text)
			logged = text
		}
		// Half to all of the backoff, so that nodes which lost each other
		// together do not return together.
		select {
		case <-time.After(backoff/2 + rand.N(backoff/2+1)):
		case <-ctx.Done():
		}
		backoff = min(2*backoff, t.backoffMax)
	}
}

// dial returns a client of the peer that has answered a first ping: in TLS
// 1.3 the handshake succeeds here before the server has judged our key.
func (l *link) dial(ctx context.Context) (*rpc.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, l.mesh.timing.handshake)
	defer cancel()
	dialer := net.Dialer{KeepAliveConfig: keepAlive}
	raw, err := dialer.DialContext(ctx, "tcp", l.peer.Address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, tlsConfig(l.mesh.own, func(key publicKey) error {
		if key != l.key {
			return fmt.Errorf("%w: %s presents key %s, pinned is %s", errUntrusted, l.peer.Name, key, l.key)
		}
		return nil
	}))
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close() //nolint:errcheck // given up
		return nil, fmt.Errorf("shake hands: %w", err)
	}
	client := rpc.NewClient(channel{conn}, l.mesh.config.Options)
	if err := l.ping(ctx, client); err != nil {
		client.Close() //nolint:errcheck // given up
		return nil, err
	}
	return client, nil
}

// keep offers client to callers while it answers pings.
func (l *link) keep(ctx context.Context, client *rpc.Client) error {
	defer client.Close() //nolint:errcheck // given up
	l.client.Store(client)
	defer l.client.Store(nil)
	tick := time.NewTicker(l.mesh.timing.pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := l.ping(ctx, client); err != nil {
				return err
			}
		case <-client.Done():
			return client.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *link) ping(ctx context.Context, client *rpc.Client) error {
	ctx, cancel := context.WithTimeout(ctx, l.mesh.timing.pingWithin)
	defer cancel()
	start := time.Now()
	if err := client.Ping(ctx); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	l.mu.Lock()
	l.rtt = time.Since(start)
	l.mu.Unlock()
	return nil
}

func (l *link) status() Status {
	connected := l.client.Load() != nil
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Status{Name: l.peer.Name, Address: l.peer.Address, Connected: connected}
	if connected {
		s.RTT = l.rtt
	} else {
		s.Err = l.err
	}
	return s
}
