package node

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/p2p/conn"
	"github.com/cosmos/gogoproto/types"
)

// links keeps the engine's connections to the other nodes.
//
// CometBFT leaves a connection on which nothing arrives to TCP, whose
// retransmissions come ever more rarely: a network that was away for a minute
// is back for most of another before they notice. And a node that could not be
// reached for two minutes is dialled at ever longer intervals, in the end once
// in sixteen hours. So each says every second that it is there, who is not
// heard for a while is hung up on, and who is not connected is dialled, always.
type links struct {
	p2p.BaseReactor
	peers   []string      // addresses; names in them are looked up at each dial
	pulse   time.Duration // how often to say that we are there
	silence time.Duration // how long to wait for others to do so
}

const linkChannel = 0x70

var errSilent = errors.New("nothing was heard of it")

func newLinks(peers []string) *links {
	l := &links{peers: peers, pulse: time.Second, silence: 10 * time.Second}
	l.BaseReactor = *p2p.NewBaseReactor("Links", l)
	return l
}

func (l *links) GetChannels() []*conn.ChannelDescriptor {
	return []*conn.ChannelDescriptor{{ID: linkChannel, Priority: 1, SendQueueCapacity: 1, RecvMessageCapacity: 16, MessageType: &types.BoolValue{}}}
}

func (l *links) OnStart() error {
	for _, p := range l.peers {
		go l.keep(p)
	}
	return nil
}

// heard is where a peer's connection remembers when it last brought a pulse.
const heard = "quorate.heard"

// InitPeer counts a connection as heard when it begins.
func (l *links) InitPeer(peer p2p.Peer) p2p.Peer {
	at := new(atomic.Pointer[time.Time])
	at.Store(new(time.Now()))
	peer.Set(heard, at)
	return peer
}

// Receive takes a pulse.
func (l *links) Receive(e p2p.Envelope) {
	e.Src.Get(heard).(*atomic.Pointer[time.Time]).Store(new(time.Now()))
}

// keep keeps one node connected until the engine stops.
func (l *links) keep(address string) {
	for {
		// Two that dial each other at once refuse each other as duplicates, so
		// they must not keep step.
		select {
		case <-time.After(l.pulse + rand.N(l.pulse/2)):
		case <-l.Quit():
			return
		}
		addr, err := p2p.NewNetAddressString(address)
		if err != nil {
			l.Switch.Log().Info("Look up peer", "address", address, "err", err)
			continue
		}
		peer := l.Switch.Peers().Get(addr.ID)
		if peer == nil {
			if err := l.Switch.DialPeerWithAddress(addr); err != nil {
				l.Switch.Log().Info("Dial peer", "address", address, "err", err)
			}
			continue
		}
		peer.TrySend(p2p.Envelope{ChannelID: linkChannel, Message: &types.BoolValue{Value: true}})
		if at := peer.Get(heard).(*atomic.Pointer[time.Time]).Load(); time.Since(*at) > l.silence {
			l.Switch.StopPeerForError(peer, errSilent)
		}
	}
}
