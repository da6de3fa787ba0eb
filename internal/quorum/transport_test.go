package quorum

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/peer"
	"github.com/quorate/quorate/internal/rpc"
)

const methodSign uint16 = 1

// signHandler is as much of custody as costs nothing but the signature.
func signHandler(share bls.Share) rpc.Handler {
	return func(_ context.Context, _ uint16, duty []byte) ([]byte, error) {
		partial := share.SignPartial(root(uint64(duty[0]))).Bytes()
		return partial[:], nil
	}
}

// remote is a holder behind a call.
type remote struct {
	name  string
	index uint16
	call  rpc.Handler
}

func (r remote) Name() string  { return r.name }
func (r remote) Index() uint16 { return r.index }
func (r remote) SignPartial(ctx context.Context, req Request) (bls.Partial, error) {
	b, err := r.call(ctx, methodSign, req.Duty)
	if err != nil {
		return bls.Partial{}, err
	}
	return bls.ParsePartial(b)
}

// network runs n nodes in this process, joined by TLS on loopback, each with
// its holder behind a unix socket, and returns node0's signer.
func network(t testing.TB, shares []bls.Share) *Signer {
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	dir := t.TempDir()
	peers := make([]peer.Peer, len(shares))
	keys := make([]ed25519.PrivateKey, len(shares))
	listeners := make([]net.Listener, len(shares))
	var err error
	for i := range shares {
		peers[i].Name = fmt.Sprintf("node%d", i)
		if peers[i].Key, keys[i], err = ed25519.GenerateKey(rand.Reader); err != nil {
			t.Fatal(err)
		}
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		peers[i].Address = listeners[i].Addr().String()
	}
	config := Config{Timeout: time.Minute}
	var mesh *peer.Mesh
	for i, share := range shares {
		custody, err := net.Listen("unix", fmt.Sprintf("%s/%d", dir, i))
		if err != nil {
			t.Fatal(err)
		}
		ended.Go(func() {
			conn, err := custody.Accept()
			custody.Close()
			if err == nil {
				rpc.Serve(ctx, conn, signHandler(share), rpc.Options{})
			}
		})
		conn, err := net.Dial("unix", custody.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		client := rpc.NewClient(conn, rpc.Options{})
		t.Cleanup(func() { client.Close() })
		m, err := peer.New(peer.Config{
			Self: peers[i].Name, Key: keys[i], Listener: listeners[i],
			Peers: append(append([]peer.Peer(nil), peers[:i]...), peers[i+1:]...),
			Handler: func(ctx context.Context, _ string, method uint16, body []byte) ([]byte, error) {
				return client.Call(ctx, method, body)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ended.Go(func() { m.Run(ctx) })
		r := remote{peers[i].Name, share.Index(), client.Call}
		if i == 0 {
			mesh, config.Local = m, r
			continue
		}
		r.call = func(ctx context.Context, method uint16, body []byte) ([]byte, error) {
			return mesh.Call(ctx, r.name, method, body)
		}
		config.Peers = append(config.Peers, r)
	}
	s, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		cancel()
		ended.Wait()
	})
	for tick, deadline := time.NewTicker(time.Millisecond), time.Now().Add(time.Minute); ; <-tick.C {
		connected := 0
		for _, p := range mesh.Status() {
			if p.Connected {
				connected++
			}
		}
		if connected == len(shares)-1 {
			tick.Stop()
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("not connected: %v", mesh.Status())
		}
	}
}

func duty(n uint64) ([]byte, eth.SigningRoot) {
	b := make([]byte, 300)
	b[0] = byte(n)
	return b, root(uint64(b[0]))
}

// The whole path of a signature but for HTTP and the slashing record.
func TestOverTheWire(t *testing.T) {
	key, shares := deal(t, 4, 3)
	s := network(t, shares)
	for n := range uint64(8) {
		body, r := duty(n)
		sig, report, err := s.Sign(t.Context(), key, body, r)
		if err != nil || !bls.Verify(key.PublicKey, r, sig) {
			t.Fatalf("%+v, %v", report, err)
		}
	}
}

// BenchmarkOverTheWire shows what the transport adds to BenchmarkSign.
func BenchmarkOverTheWire(b *testing.B) {
	key, shares := deal(b, 4, 3)
	s := network(b, shares)
	for _, concurrency := range []int{1, 64} {
		b.Run(fmt.Sprintf("c=%d", concurrency), func(b *testing.B) {
			load(b, concurrency, func(n uint64) error {
				body, r := duty(n)
				_, _, err := s.Sign(b.Context(), key, body, r)
				return err
			})
		})
	}
}
