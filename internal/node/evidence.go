package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/audit"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/wire"
)

// checkpoints are what this node has had signed of the audit log.
type checkpoints struct {
	mu   sync.Mutex
	last audit.Note
	kept uint64 // size of the last one in dirCheckpoints
}

const (
	// dirCheckpoints holds, in the node's home, checkpoints that witnesses
	// cosigned: they date the log, and cannot be had again.
	dirCheckpoints = "checkpoints"
	// keepEvery is how many events lie between two that are kept.
	keepEvery = 1024
	// checkpointPause is how long a checkpoint stands at least while the log
	// grows: signing one takes every node about a millisecond.
	checkpointPause = time.Second
	// checkpointRetry is how long to wait when too few nodes signed.
	checkpointRetry = 5 * time.Second
	// checkpointTime bounds what one node waits for another's signature.
	checkpointTime = 3 * time.Second
)

// followLog has each new state of the audit log signed, and rests while
// nothing is added to it.
func (n *Node) followLog(ctx context.Context) error {
	for {
		h, moved := n.app.wait()
		var pause <-chan time.Time
		if h.state.LogSize > n.lastCheckpoint().Size {
			wait := checkpointPause
			if _, err := n.newCheckpoint(ctx, h.state.LogSize); err != nil {
				n.log.Debug("no checkpoint", "size", h.state.LogSize, "reason", err)
				wait = checkpointRetry
			}
			pause, moved = time.After(wait), nil
		}
		select {
		case <-pause:
		case <-moved:
		case <-ctx.Done():
			return nil
		}
	}
}

func (n *Node) lastCheckpoint() audit.Note {
	n.checkpoints.mu.Lock()
	defer n.checkpoints.mu.Unlock()
	return n.checkpoints.last
}

// Checkpoint returns the newest checkpoint of the audit log, making the first
// one if there is none yet.
func (n *Node) Checkpoint(ctx context.Context) ([]byte, error) {
	if last := n.lastCheckpoint(); last.Raw != nil {
		return last.Raw, nil
	}
	h, _ := n.app.wait()
	note, err := n.newCheckpoint(ctx, h.state.LogSize)
	if err != nil {
		return nil, rpc.Errorf(rpc.CodeUnavailable, "%v", err)
	}
	return note.Raw, nil
}

// newCheckpoint has the log at a size signed by the nodes and by whichever
// witnesses answer.
func (n *Node) newCheckpoint(ctx context.Context, size uint64) (audit.Note, error) {
	log, err := n.View()
	if err != nil {
		return audit.Note{}, err
	}
	at := audit.Checkpoint{Size: size}
	if at.Root, err = audit.Root(log, size); err != nil {
		return audit.Note{}, err
	}
	raw, err := n.signatories.Assemble(at, n.cfg.Name, n.askSignatures(ctx, at))
	if err != nil {
		return audit.Note{}, err
	}
	note := audit.Note{Checkpoint: at, Raw: n.signatories.Cosign(raw, n.cosign(ctx, log, at, raw)...)}
	n.checkpoints.mu.Lock()
	defer n.checkpoints.mu.Unlock()
	if size >= n.checkpoints.last.Size {
		n.checkpoints.last = note
	}
	if _, signed, err := n.signatories.Parse(note.Raw); err == nil && len(signed.Cosignatures) > 0 && size/keepEvery > n.checkpoints.kept/keepEvery {
		if err := n.keepCheckpoint(note); err != nil {
			return audit.Note{}, err
		}
		n.checkpoints.kept = size
	}
	return note, nil
}

func (n *Node) keepCheckpoint(note audit.Note) error {
	dir := filepath.Join(n.cfg.Home, dirCheckpoints)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep checkpoint: %w", err)
	}
	return durable.WriteOSFile(filepath.Join(dir, fmt.Sprintf("%020d", note.Size)), note.Raw, 0o600)
}

// keptCheckpoints reads those that were kept, of at most so many events.
func (n *Node) keptCheckpoints(below uint64) (notes []audit.Note, err error) {
	dir := filepath.Join(n.cfg.Home, dirCheckpoints)
	entries, err := os.ReadDir(dir) // in order of names, hence of sizes
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	for _, e := range entries {
		raw, err := durable.ReadFile(durable.OS{}, filepath.Join(dir, e.Name()), wire.MaxCheckpoint)
		if err != nil {
			return nil, fmt.Errorf("read checkpoints: %w", err)
		}
		at, _, err := n.signatories.Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("read checkpoint %s: %w", e.Name(), err)
		}
		if at.Size < below {
			notes = append(notes, audit.Note{Checkpoint: at, Raw: raw})
		}
	}
	return notes, nil
}

// askSignatures returns what each node that answers wrote under a checkpoint.
func (n *Node) askSignatures(ctx context.Context, at audit.Checkpoint) map[string][]byte {
	ctx, cancel := context.WithTimeout(ctx, checkpointTime)
	defer cancel()
	var e wire.Encoder
	e.U64(at.Size)
	e.Fixed(at.Root[:])
	body := e.Out()
	var mu sync.Mutex
	var all sync.WaitGroup
	lines := map[string][]byte{}
	for _, r := range n.genesis.Nodes {
		all.Go(func() {
			answer, err := n.call(ctx, r.Name, methodCheckpoint, body)
			if err != nil {
				n.log.Debug("no signature under the checkpoint", "peer", r.Name, "reason", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			lines[r.Name] = answer
		})
	}
	all.Wait()
	return lines
}

// signCheckpoint signs the log at a size, if this node's replica has come so
// far and has the same root there. It can sign any size at any time: what is
// below the replica's head does not change.
func (n *Node) signCheckpoint(ctx context.Context, body []byte) ([]byte, error) {
	var at audit.Checkpoint
	d := wire.NewDecoder(body)
	at.Size = d.U64()
	d.Fixed(at.Root[:])
	if err := d.Finish(); err != nil {
		return nil, rpc.Errorf(rpc.CodeMalformed, "%v", err)
	}
	for {
		h, moved := n.app.wait()
		if at.Size <= h.state.LogSize {
			break
		}
		select { // the block is on its way
		case <-moved:
		case <-ctx.Done():
			return nil, rpc.Errorf(rpc.CodeUnavailable, "the log has %d events here", h.state.LogSize)
		}
	}
	log, err := n.View()
	if err != nil {
		return nil, err
	}
	root, err := audit.Root(log, at.Size)
	if err != nil {
		return nil, err
	}
	if root != at.Root {
		n.log.Error("a node asked to sign another log", "size", at.Size)
		return nil, rpc.Errorf(rpc.CodeNotGranted, "the log of %d events has another root here", at.Size)
	}
	return n.signatories.Sign(n.cfg.Name, n.keys.identity, at)
}

// Tile returns what stands at a C2SP path below tile/.
func (n *Node) Tile(path string) ([]byte, error) {
	log, err := n.View()
	if err != nil {
		return nil, err
	}
	size, _ := log.LogRoot()
	return audit.Tile(log, size, path)
}

// EventReceipt proves what a transaction did.
func (n *Node) EventReceipt(ctx context.Context, tx [32]byte) ([]byte, error) {
	log, err := n.View()
	if err != nil {
		return nil, err
	}
	first, ok := log.FirstEvent(tx)
	if !ok {
		return nil, audit.ErrNoReceipt
	}
	ev := log.Event(first)
	if ev == nil {
		return nil, fmt.Errorf("%w: it was erased", audit.ErrNoReceipt)
	}
	cert, err := n.Certify(ctx, ev.Height)
	if err != nil {
		return nil, err
	}
	receipt, err := audit.NewReceipt(log, n.cluster, tx, cert)
	if err != nil {
		return nil, err
	}
	receipt.Raw = n.transaction(ev.Height, tx)
	return receipt.Encode(), nil
}

// ExportLog writes the audit log file: every event that the filter selects,
// the commitment to each other, checkpoints, and what the ledger proves.
func (n *Node) ExportLog(ctx context.Context, w io.Writer, f audit.Filter) error {
	cert, err := n.certifyNewest(ctx)
	if err != nil {
		return err
	}
	size := cert.State.LogSize
	notes, err := n.keptCheckpoints(size)
	if err != nil {
		return err
	}
	last, err := n.newCheckpoint(ctx, size)
	if err != nil { // the certificate alone proves the log
		n.log.Warn("audit log exported without a new checkpoint", "reason", err)
		last = n.lastCheckpoint()
	}
	if last.Raw != nil && last.Size <= size && (len(notes) == 0 || notes[len(notes)-1].Size < last.Size) {
		notes = append(notes, last)
	}
	log, err := n.View()
	if err != nil {
		return err
	}
	return audit.WriteLog(w, log, audit.LogFile{Cluster: n.cluster, Certificate: cert, Notes: notes, Discloses: f.Match, Transaction: n.transaction})
}

// certifyNewest proves the ledger as it is; one that has halted, as it was
// before its last block.
func (n *Node) certifyNewest(ctx context.Context) (*proof.Certificate, error) {
	h, _ := n.app.wait()
	soon, cancel := context.WithTimeout(ctx, checkpointTime)
	defer cancel()
	if cert, err := n.Certify(soon, h.height); err == nil {
		return cert, nil
	}
	return n.Certify(ctx, 0)
}

// transaction returns a transaction as the ledger keeps it or from its block,
// nil when that is gone.
func (n *Node) transaction(height uint64, hash [32]byte) []byte {
	if view, err := n.View(); err == nil {
		if raw := view.Tx(hash); raw != nil {
			return raw
		}
	}
	engine := n.engine.Load()
	if engine == nil {
		return nil
	}
	block := engine.BlockStore().LoadBlock(int64(height))
	if block == nil {
		return nil
	}
	for _, raw := range block.Txs {
		if action.HashTx(raw) == hash {
			return raw
		}
	}
	return nil
}
