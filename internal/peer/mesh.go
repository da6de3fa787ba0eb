package peer

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/wire"
)

// ErrUnavailable is wrapped by a call to a peer that is not connected; its
// code is rpc.CodeUnavailable.
var ErrUnavailable error = &rpc.Error{Code: rpc.CodeUnavailable, Text: "not connected"}

// Peer is another node as the roster names it.
type Peer struct {
	Name    string
	Address string // host:port of its Listener
	Key     ed25519.PublicKey
}

// Config is what a Mesh needs.
type Config struct {
	Self     string        // this node's name
	Key      crypto.Signer // its Ed25519 key
	Listener net.Listener  // for peers; the Mesh closes it
	Peers    []Peer        // the other nodes
	// Handler answers a peer's call; caller is the name that the roster gives
	// the key it proved. Otherwise as rpc.Handler.
	Handler func(ctx context.Context, caller string, method uint16, body []byte) ([]byte, error)
	// Options bound each connection, alike on every node.
	Options rpc.Options
	Logger  *slog.Logger
}

// timing is apart from Config because every node of a cluster must notice a
// silent peer in about the same time.
type timing struct {
	handshake  time.Duration // longest dial and longest handshake
	pingEvery  time.Duration
	pingWithin time.Duration // a peer silent for this long is gone
	backoffMin time.Duration
	backoffMax time.Duration
}

var defaultTiming = timing{
	handshake:  3 * time.Second,
	pingEvery:  500 * time.Millisecond,
	pingWithin: 1200 * time.Millisecond,
	backoffMin: 50 * time.Millisecond,
	backoffMax: 2 * time.Second,
}

// maxHandshakes is how many strangers may be in a handshake at once.
const maxHandshakes = 2 * wire.MaxNodes

// Mesh is this node's side of its connections with all peers.
type Mesh struct {
	config  Config
	timing  timing
	own     tls.Certificate
	links   map[string]*link
	roster  map[publicKey]string
	refusal throttle

	mu      sync.Mutex
	inbound map[string]context.CancelFunc // ends the connection a peer calls us on
}

// New checks the roster. Nothing connects before Run.
func New(config Config) (*Mesh, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	self, ok := config.Key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("open mesh of %s: node key is %T, not Ed25519", config.Self, config.Key.Public())
	}
	own, err := certificate(config.Key)
	if err != nil {
		return nil, err
	}
	m := &Mesh{
		config:  config,
		timing:  defaultTiming,
		own:     own,
		links:   make(map[string]*link),
		roster:  make(map[publicKey]string),
		inbound: make(map[string]context.CancelFunc),
	}
	for _, p := range config.Peers {
		if err := m.enrol(p, self); err != nil {
			return nil, fmt.Errorf("enrol peer %q: %w", p.Name, err)
		}
	}
	return m, nil
}

func (m *Mesh) enrol(p Peer, self ed25519.PublicKey) error {
	if len(p.Key) != ed25519.PublicKeySize {
		return fmt.Errorf("key of %d bytes", len(p.Key))
	}
	key := publicKey(p.Key)
	switch {
	case p.Name == "" || len(p.Name) > wire.MaxName:
		return fmt.Errorf("name of %d bytes", len(p.Name))
	case p.Name == m.config.Self || self.Equal(p.Key):
		return errors.New("that is this node")
	case m.links[p.Name] != nil:
		return errors.New("name is taken")
	case m.roster[key] != "":
		return fmt.Errorf("key is %s's", m.roster[key])
	case len(m.links)+1 >= wire.MaxNodes:
		return fmt.Errorf("more than %d nodes", wire.MaxNodes)
	}
	m.roster[key] = p.Name
	m.links[p.Name] = &link{mesh: m, peer: p, key: key, err: errors.New("not tried yet")}
	return nil
}

// Run keeps a connection to every peer and serves theirs until ctx ends, or
// returns why it cannot accept connections. All connections end with it.
func (m *Mesh) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var ended sync.WaitGroup
	for _, l := range m.links {
		ended.Go(func() { l.run(ctx) })
	}
	ended.Go(func() {
		<-ctx.Done()
		m.config.Listener.Close() //nolint:errcheck // only to end accept
	})
	err := m.accept(ctx)
	cancel()
	ended.Wait()
	return err
}

// Call asks one peer. It never waits for a connection: without one the error
// wraps ErrUnavailable at once. Otherwise as rpc.Client.Call.
func (m *Mesh) Call(ctx context.Context, name string, method uint16, body []byte) ([]byte, error) {
	l := m.links[name]
	if l == nil {
		return nil, fmt.Errorf("call %s: %w: no such peer", name, ErrUnavailable)
	}
	client := l.client.Load()
	if client == nil {
		return nil, fmt.Errorf("call %s: %w", name, ErrUnavailable)
	}
	reply, err := client.Call(ctx, method, body)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", name, err)
	}
	return reply, nil
}

// Connected reports whether a call to the peer would leave.
func (m *Mesh) Connected(name string) bool {
	l := m.links[name]
	return l != nil && l.client.Load() != nil
}

// Status is what is known about one peer.
type Status struct {
	Name      string
	Address   string
	Connected bool
	RTT       time.Duration // of the last ping
	Err       error         // why it is not connected
}

// Status reports on every peer, by name.
func (m *Mesh) Status() []Status {
	var all []Status
	for _, l := range m.links {
		all = append(all, l.status())
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
