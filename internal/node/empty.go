package node

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/mempool"
	cmtnode "github.com/cometbft/cometbft/node"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/secret"
)

// EmptyEngine is one node's engine, configured as every node's is, around an
// application that does nothing: what agreement alone costs, for comparison.
// It guards nothing, so that its keys follow from its number.
type EmptyEngine struct {
	Home      string
	Addresses []string // of all nodes' consensus
	Self      int      // which of them this is
	Log       *slog.Logger
}

const (
	emptyTx   = 142 // bytes, as a member's tick has
	emptyTime = 30 * time.Second
)

// Run commits a transaction for each line that it reads, and answers with a
// line that says how many nanoseconds passed from the submission until its own
// block was committed here. It ends with what it reads.
func (e EmptyEngine) Run(ctx context.Context, asked io.Reader, answers io.Writer) error {
	if e.Self < 0 || e.Self >= len(e.Addresses) {
		return fmt.Errorf("start empty engine: number %d of %d", e.Self, len(e.Addresses))
	}
	start := engine{home: e.Home, listen: e.Addresses[e.Self], self: emptyName(e.Self), log: e.Log,
		genesis: &action.Genesis{Time: time.Unix(1_700_000_000, 0).UTC()}, doc: []byte("{}")}
	for i, address := range e.Addresses {
		k, err := emptyKeys(i)
		if err != nil {
			return err
		}
		if i == e.Self {
			start.keys = k
		}
		start.genesis.Nodes = append(start.genesis.Nodes, action.NodeRecord{
			Name: emptyName(i), Comet: address, Identity: k.identity.Public(), Vote: action.HexKey(k.exposeVote().PubKey().Bytes()),
		})
	}
	app := &emptyApp{committed: make(chan []byte, 1)}
	engine, err := start.start(ctx, app)
	if err != nil {
		return err
	}
	defer stopEngine(engine, e.Log)
	for lines := bufio.NewScanner(asked); lines.Scan(); {
		took, err := app.commit(ctx, engine)
		if err != nil {
			return fmt.Errorf("commit to empty application: %w", err)
		}
		if _, err := fmt.Fprintln(answers, took.Nanoseconds()); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
	return nil
}

func emptyName(i int) string { return fmt.Sprint("empty", i) }

func emptyKeys(i int) (k keys, err error) {
	identity, vote := sha512.Sum512(fmt.Append(nil, "identity ", i)), sha256.Sum256(fmt.Append(nil, "vote ", i))
	k.identity, err = ident.FromSeed(ident.Ed25519, identity[:])
	k.vote = secret.New(vote[:])
	return k, err
}

// emptyApp accepts everything, and its hash never moves. It tells of each
// block that carried something.
type emptyApp struct {
	abci.BaseApplication
	last      []byte // transaction of the block that is being made
	committed chan []byte
}

func (a *emptyApp) FinalizeBlock(ctx context.Context, req *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	if len(req.Txs) > 0 {
		a.last = req.Txs[len(req.Txs)-1]
	}
	return a.BaseApplication.FinalizeBlock(ctx, req)
}

func (a *emptyApp) Commit(ctx context.Context, req *abci.RequestCommit) (*abci.ResponseCommit, error) {
	if a.last != nil {
		select {
		case a.committed <- a.last:
		default: // nobody asked here
		}
		a.last = nil
	}
	return a.BaseApplication.Commit(ctx, req)
}

// commit is what SubmitRaw does, for one caller.
func (a *emptyApp) commit(ctx context.Context, engine *cmtnode.Node) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, emptyTime)
	defer cancel()
	raw := make([]byte, emptyTx)
	rand.Read(raw)
	began := time.Now()
	if err := engine.Mempool().CheckTx(raw, nil, mempool.TxInfo{}); err != nil {
		return 0, err
	}
	for {
		select {
		case tx := <-a.committed:
			if bytes.Equal(tx, raw) {
				return time.Since(began), nil
			}
		case <-ctx.Done():
			return 0, errors.Join(ErrNoQuorum, ctx.Err())
		}
	}
}
