package custody

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/slashing"
	"github.com/quorate/quorate/internal/wire"
)

// Client is the node's side of the socket. It connects again by itself when
// custody restarts; in between calls fail at once with rpc.ErrConn.
type Client struct {
	socket string

	mu   sync.Mutex
	conn *rpc.Client // nil while there is no connection
}

// NewClient names the socket; Run connects.
func NewClient(socket string) *Client { return &Client{socket: socket} }

// reconnect is how long to wait before trying a socket again that refused.
const reconnect = 100 * time.Millisecond

// Run keeps a connection until ctx ends.
func (c *Client) Run(ctx context.Context) error {
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.socket)
		if err == nil {
			client := rpc.NewClient(conn, Options())
			c.set(client)
			select {
			case <-client.Done():
			case <-ctx.Done():
			}
			c.set(nil)
			client.Close()
		}
		select {
		case <-time.After(reconnect):
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *Client) set(conn *rpc.Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = conn
}

// Options are the limits of the socket, the same on both sides. It has room for
// all that the nodes of a cluster ask of each other at once.
func Options() rpc.Options { return rpc.Options{Concurrent: wire.MaxNodes * 512} }

var errDown = fmt.Errorf("custody process is not running: %w", rpc.ErrConn)

// Relay hands an encoded request to custody unopened: what a peer's node asks.
func (c *Client) Relay(ctx context.Context, method uint16, body []byte) ([]byte, error) {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	if conn == nil {
		return nil, errDown
	}
	return conn.Call(ctx, method, body)
}

// Up reports whether there is a connection.
func (c *Client) Up() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn != nil
}

// Status asks custody who it is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return call(ctx, c, MethodStatus, nil, parseStatus)
}

// Challenge draws a nonce that the ledger has to prove before custody
// believes that it sees the present.
func (c *Client) Challenge(ctx context.Context) (nonce [32]byte, err error) {
	return call(ctx, c, MethodChallenge, nil, func(b []byte) ([32]byte, error) {
		if len(b) != 32 {
			return [32]byte{}, errors.New("not a nonce")
		}
		return [32]byte(b), nil
	})
}

// Anchor shows custody that the ledger it sees is the present one: a
// certificate that proves the nonce of the last challenge.
func (c *Client) Anchor(ctx context.Context, certificate []byte) error {
	_, err := c.Relay(ctx, MethodAnchor, certificate)
	return err
}

// Lease shows custody what the ledger holds of its incarnation: that it is
// registered, and how far it may sign.
func (c *Client) Lease(ctx context.Context, certificate []byte) error {
	_, err := c.Relay(ctx, MethodLease, certificate)
	return err
}

// Close has custody end all signing and say how far its record has come. The
// answer goes to the other nodes' custody, with MethodWitness.
func (c *Client) Close(ctx context.Context) ([]byte, error) {
	return c.Relay(ctx, MethodClose, nil)
}

// Prove shows custody what the others remember of its last end, and a
// certificate of the incarnations under which they say so.
func (c *Client) Prove(ctx context.Context, certificate []byte, testimonies [][]byte) error {
	var e wire.Encoder
	e.Bytes(certificate)
	e.Count(len(testimonies))
	for _, t := range testimonies {
		e.Bytes(t)
	}
	_, err := c.Relay(ctx, MethodProve, e.Out())
	return err
}

// Ceremony shows custody a proven state of a ceremony and returns what it has
// to say to it. While seats are being taken the evidence proves the grant, too.
// Imports are the keys of an import, in order.
func (c *Client) Ceremony(ctx context.Context, id [32]byte, ev Evidence, imports [][]byte) (StepResult, error) {
	var e wire.Encoder
	e.Fixed(id[:])
	ev.encode(&e)
	e.Count(len(imports))
	for _, k := range imports {
		e.Bytes(k)
	}
	return call(ctx, c, MethodCeremony, e.Out(), parseStepResult)
}

// Blob hands custody a body that it said it needs: a header or a chunk, as
// its seat posted it.
func (c *Client) Blob(ctx context.Context, id, name [32]byte, body []byte) error {
	var e wire.Encoder
	e.Fixed(id[:])
	e.Fixed(name[:])
	e.Bytes(body)
	_, err := c.Relay(ctx, MethodBlob, e.Out())
	return err
}

// Keystore hands custody an EIP-2335 keystore to decrypt and, once the ledger
// has opened the ceremony for it, to deal. It returns the public key.
func (c *Client) Keystore(ctx context.Context, keystore, password []byte) (key [bls.PublicKeySize]byte, err error) {
	e := wire.NewEncoder(make([]byte, 0, 8+len(keystore)+len(password))) // it does not grow and leave copies
	e.Bytes(keystore)
	e.Bytes(password)
	defer secret.Wipe(e.Out())
	return call(ctx, c, MethodKeystore, e.Out(), func(b []byte) (key [bls.PublicKeySize]byte, err error) {
		if len(b) != len(key) {
			return key, errors.New("not a public key")
		}
		return [bls.PublicKeySize]byte(b), nil
	})
}

// Forget destroys whole keys that wait to be dealt and will not be.
func (c *Client) Forget(ctx context.Context, keys [][bls.PublicKeySize]byte) error {
	_, err := c.Relay(ctx, MethodForget, EncodeKeys(keys))
	return err
}

// ExportSlashing returns the history of keys, of all of them or none. It asks
// for as many at a time as an answer holds.
func (c *Client) ExportSlashing(ctx context.Context, keys [][bls.PublicKeySize]byte) (slashing.Interchange, error) {
	var pages []slashing.Interchange
	for page := range slices.Chunk(keys, MaxHistoryKeys) {
		ic, err := call(ctx, c, MethodExportSlashing, EncodeKeys(page), slashing.ParseInterchange)
		if err != nil {
			return slashing.Interchange{}, err
		}
		pages = append(pages, ic)
	}
	return slashing.MergeMax(pages...)
}

// ImportSlashing raises watermarks from an EIP-3076 interchange that the ledger
// granted.
func (c *Client) ImportSlashing(ctx context.Context, ev Evidence, interchange []byte) error {
	var e wire.Encoder
	ev.encode(&e)
	e.Bytes(interchange)
	_, err := c.Relay(ctx, MethodImportSlashing, e.Out())
	return err
}

// Stop makes custody refuse the keys, durably on return.
func (c *Client) Stop(ctx context.Context, keys [][bls.PublicKeySize]byte) error {
	_, err := c.Relay(ctx, MethodStop, EncodeKeys(keys))
	return err
}

// Usage returns how far custody's log has come and which keys were used
// after the given sequence.
func (c *Client) Usage(ctx context.Context, after uint64) (Usage, error) {
	var e wire.Encoder
	e.U64(after)
	return call(ctx, c, MethodUsage, e.Out(), parseUsage)
}

func call[T any](ctx context.Context, c *Client, method uint16, body []byte, parse func([]byte) (T, error)) (T, error) {
	var zero T
	raw, err := c.Relay(ctx, method, body)
	if err != nil {
		return zero, err
	}
	v, err := parse(raw)
	if err != nil {
		return zero, fmt.Errorf("read custody's answer: %w", err)
	}
	return v, nil
}
