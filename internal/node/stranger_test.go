package node

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/libs/protoio"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/p2p/conn"
	tmp2p "github.com/cometbft/cometbft/proto/tendermint/p2p"

	"github.com/quorate/quorate/internal/action"
)

// doorkeeper is an application that does nothing but say who comes in.
type doorkeeper struct {
	abci.BaseApplication
	door *app
}

func (d *doorkeeper) Query(ctx context.Context, r *abci.RequestQuery) (*abci.ResponseQuery, error) {
	return d.door.Query(ctx, r)
}

// The engine talks with nodes of the genesis, and hangs up on whoever else
// completes its handshake.
func TestStrangersAreHungUpOn(t *testing.T) {
	e := engine{home: t.TempDir(), listen: freePort(t), self: emptyName(0), log: slog.New(slog.DiscardHandler), doc: []byte("{}"),
		genesis: &action.Genesis{Time: time.Unix(1_700_000_000, 0).UTC()}}
	var own []keys
	for i := range 3 { // the third is none of the nodes
		k, err := emptyKeys(i)
		if err != nil {
			t.Fatal(err)
		}
		if own = append(own, k); i < 2 {
			e.genesis.Nodes = append(e.genesis.Nodes, action.NodeRecord{
				Name: emptyName(i), Comet: e.listen, Identity: k.identity.Public(), Vote: action.HexKey(k.exposeVote().PubKey().Bytes()),
			})
		}
	}
	e.keys = own[0]
	running, err := e.start(t.Context(), &doorkeeper{door: &app{genesis: e.genesis}})
	if err != nil {
		t.Fatal(err)
	}
	defer stopEngine(running, e.log)

	// greet shakes hands as somebody and returns what comes then.
	greet := func(k keys) error {
		tcp, err := net.Dial("tcp", e.listen)
		if err != nil {
			t.Fatal(err)
		}
		defer tcp.Close()
		if err := tcp.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		key := cmted25519.PrivKey(k.identity.ExposeEd25519())
		c, err := conn.MakeSecretConnection(tcp, key)
		if err != nil {
			t.Fatal(err)
		}
		us := running.NodeInfo().(p2p.DefaultNodeInfo)
		us.DefaultNodeID = p2p.PubKeyToID(key.PubKey())
		if _, err := protoio.NewDelimitedWriter(c).WriteMsg(us.ToProto()); err != nil {
			t.Fatal(err)
		}
		if _, err := protoio.NewDelimitedReader(c, p2p.MaxNodeInfoSize()).ReadMsg(new(tmp2p.DefaultNodeInfo)); err != nil {
			t.Fatal(err)
		}
		_, err = c.Read(make([]byte, 1))
		return err
	}
	if err := greet(own[1]); err != nil {
		t.Errorf("a node of the genesis is told nothing: %v", err)
	}
	if err := greet(own[2]); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a stranger is talked to: %v", err)
	}
}
