package node

import (
	"context"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/wire"
)

// cable is what consensus between the nodes goes through. Cut, nobody reaches
// anybody; what custody processes sign goes another way.
type cable struct {
	t     *testing.T
	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool // whether it carries anything
}

// lead listens for one node and hands its connections on.
func (c *cable) lead(to string) (listens string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil || !c.join(in, out) {
				in.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
				go func() {
					io.Copy(end{way[0], c}, way[1]) //nolint:errcheck // it is cut
					if c.carries(in) {
						in.Close()
						out.Close()
					}
				}()
			}
		}
	}()
	return l.Addr().String()
}

func (c *cable) join(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		if c.cut {
			conn.Close()
		} else {
			c.conns[conn] = true
		}
	}
	return !c.cut
}

func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	for conn := range c.conns {
		conn.Close()
	}
	clear(c.conns)
}

// swallow makes the connections of now dead: they stay open, and nothing comes
// through. New ones do better.
func (c *cable) swallow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		c.conns[conn] = false
	}
}

func (c *cable) carries(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conns[conn]
}

// end is where a connection's bytes leave the cable.
type end struct {
	net.Conn
	c *cable
}

func (e end) Write(p []byte) (int, error) {
	if !e.c.carries(e.Conn) {
		return len(p), nil
	}
	return e.Conn.Write(p)
}

// Without the ledger signing goes on for as long as the lease, of which the
// nodes know how long it is; then the refusal says what is missing, and with
// the ledger signing is back.
func TestSigningOutlivesTheLedgerByTheLease(t *testing.T) {
	if os.Getenv("QUORATE_CHECK") == "" {
		t.Skip("half a minute of one-second slots, under ./check or with QUORATE_CHECK=1")
	}
	network, err := eth.LookupNetwork("mainnet")
	if err != nil {
		t.Fatal(err)
	}
	if network.Preset, err = eth.LookupPreset("minimal"); err != nil { // epochs of eight slots
		t.Fatal(err)
	}
	network.SlotDuration, network.GenesisTime = time.Second, uint64(time.Now().Add(-time.Hour).Unix())
	c := &cable{t: t, conns: map[net.Conn]bool{}}
	t.Cleanup(func() { c.set(true) })
	nodes := startClusterOn(t, 4, network, c.lead, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	key := makeKeys(t, ctx, nodes, 1)[0]
	only(t, ctx, nodes[0])

	// lefts are the leases of all holders, the longest first.
	lefts := func() (all []time.Duration) {
		for _, n := range nodes {
			s, err := n.custody.Status(ctx)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, n.LeaseLeft(s))
		}
		slices.Sort(all)
		slices.Reverse(all)
		return all
	}
	const needed = 3
	eventually(t, ctx, "there are leases of more than an epoch", func() bool { return lefts()[needed-1] >= 9*time.Second })

	c.set(true)
	began := time.Now()
	var last, lastSigned uint64 // slots
	signed := 0
	sign := func() error {
		select {
		case <-time.After(time.Until(slotBegins(network, last+1))):
		case <-ctx.Done():
			return ctx.Err()
		}
		slot, _ := network.SlotAt(time.Now())
		last = slot
		duty := eth.Duty{Fork: eth.ForkInfo{GenesisValidatorsRoot: *network.GenesisValidatorsRoot}, Message: &eth.BeaconBlockHeader{Slot: slot}}
		_, err := nodes[signed%4].Signer().Sign(ctx, "", key, duty)
		for rpc.CodeOf(err) == rpc.CodeUnavailable && ctx.Err() == nil { // too few in time, on a busy machine
			_, err = nodes[signed%4].Signer().Sign(ctx, "", key, duty)
		}
		if err == nil {
			signed, lastSigned = signed+1, slot
		}
		return err
	}
	for err == nil {
		err = sign()
	}
	var ends []uint64
	for _, n := range nodes {
		s, err := n.custody.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, s.Ceiling.Slot)
	}
	slices.Sort(ends)
	if end := ends[len(ends)-needed]; lastSigned > end || last <= end {
		t.Errorf("slot %d is signed and slot %d is not; the lease ends with slot %d", lastSigned, last, end)
	}
	if signed < 3 {
		t.Errorf("%d blocks without the ledger", signed)
	}
	t.Logf("%d blocks signed in %v without the ledger, then: %v", signed, time.Since(began).Round(time.Second), err)
	if rpc.CodeOf(err) != rpc.CodeFenced || !strings.Contains(err.Error(), "the lease ends at slot") || !strings.Contains(err.Error(), "the ledger does not move") {
		t.Errorf("refused with %v", err)
	}
	if now := lefts(); now[needed-1] != 0 {
		t.Errorf("leases after their end: %v", now)
	}

	c.set(false)
	healed := time.Now()
	for before := signed; signed == before && ctx.Err() == nil; {
		err = sign()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("signing is back %v after the ledger's connections", time.Since(healed).Round(time.Millisecond))
}

func slotBegins(n *eth.Network, slot uint64) time.Time {
	return time.Unix(int64(n.GenesisTime), 0).Add(time.Duration(slot) * n.SlotDuration)
}

// only lets no node but a seat's own use up what is remembered of its end.
func only(t *testing.T, ctx context.Context, n *Node) {
	t.Helper()
	own, _ := action.NewRoster(n.genesis.Nodes, action.DomainValidator).Of("node1")
	var e wire.Encoder
	e.U16(own.Index)
	e.Fixed(make([]byte, 32))
	for from, want := range map[string]rpc.Code{"node2": rpc.CodeNotGranted, "nobody": rpc.CodeNotGranted, "node1": rpc.CodeNotGranted} {
		_, err := n.answerPeer(ctx, from, methodTestify, e.Out())
		if rpc.CodeOf(err) != want || strings.Contains(err.Error(), "may not ask") == (from == "node1") {
			t.Errorf("%s asks about node1: %v", from, err)
		}
	}
}
