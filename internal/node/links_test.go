package node

import (
	"net"
	"testing"
	"time"

	cmtcfg "github.com/cometbft/cometbft/config"
	cmtlog "github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/p2p"
)

// A connection whose wire goes dead, and says so to nobody, is given up on both
// sides and another takes its place.
func TestDeadConnectionsAreReplaced(t *testing.T) {
	at := func(i int) (*p2p.Switch, *links) {
		l := newLinks(nil)
		l.pulse, l.silence = 20*time.Millisecond, 2*time.Second
		cfg := cmtcfg.DefaultP2PConfig()
		cfg.AllowDuplicateIP = true
		sw := p2p.MakeSwitch(cfg, i, func(_ int, sw *p2p.Switch) *p2p.Switch {
			sw.AddReactor("LINKS", l)
			return sw
		})
		sw.SetLogger(cmtlog.NewNopLogger())
		return sw, l
	}
	a, la := at(0)
	b, lb := at(1)
	addr, err := b.NodeInfo().NetAddress()
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{t: t, conns: map[net.Conn]bool{}}
	t.Cleanup(func() { c.set(true) })
	la.peers = []string{string(b.NodeInfo().ID()) + "@" + c.lead(addr.DialString())}
	lb.peers = []string{string(a.NodeInfo().ID()) + "@127.0.0.1:1"} // knows it, and cannot dial it
	for _, sw := range []*p2p.Switch{a, b} {
		if err := sw.Start(); err != nil {
			t.Fatal(err)
		}
		defer sw.Stop() //nolint:errcheck // the test is over
	}
	other := func(sw, than *p2p.Switch, old p2p.Peer) (now p2p.Peer) {
		eventually(t, t.Context(), "another connection", func() bool {
			now = sw.Peers().Get(than.NodeInfo().ID())
			return now != nil && now != old
		})
		return now
	}
	atA, atB := other(a, b, nil), other(b, a, nil)
	c.swallow()
	other(a, b, atA)
	other(b, a, atB)
}
