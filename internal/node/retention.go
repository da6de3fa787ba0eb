package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	cmttypes "github.com/cometbft/cometbft/types"
)

// What the ledger has erased lives on in blocks, in the engine's log, and in
// what databases have not yet thrown away. This file has it go there as well.

const (
	// keepLast is how many blocks are kept, however old, for those who are a
	// little behind.
	keepLast = 20
	// prunedPerBlock bounds how many blocks go at a time.
	prunedPerBlock = 1000
	// reclaimEvery is how often a node looks whether there is less to hold.
	reclaimEvery = time.Hour
	// engineLogAge is how long a file of the engine's log is kept that it writes
	// to no more: it goes back to the last block only.
	engineLogAge = 24 * time.Hour
)

// blockStore is the engine's. What it needs to judge evidence it keeps of a
// block that it prunes: header and commit.
type blockStore interface {
	Base() int64
	LoadBlockMeta(height int64) *cmttypes.BlockMeta
}

// keepsBlocks is how long blocks are kept, in milliseconds: no longer than any
// body of an event, or else an erased one would stand in its block, and no
// longer than this node was told. 0: for good.
func (a *app) keepsBlocks() (uint64, error) {
	view, err := a.view()
	if err != nil {
		return 0, err
	}
	keep := uint64(a.keep.Milliseconds())
	if least, ok := view.ShortestRetention(); ok && (keep == 0 || least < keep) {
		keep = least
	}
	return keep, nil
}

// retainHeight returns the first block that the engine is to keep, 0 for all.
// Nobody has to agree on it. Callers hold mu.
func (a *app) retainHeight() (int64, error) {
	keep, err := a.keepsBlocks()
	if err != nil || keep == 0 || a.blocks == nil {
		return 0, err
	}
	blocks := a.blocks()
	if blocks == nil || a.head.height <= keepLast || a.head.time <= keep {
		return 0, nil
	}
	first, last := blocks.Base(), int64(a.head.height)-keepLast
	last = min(last, first+prunedPerBlock)
	for ; first < last; first++ {
		meta := blocks.LoadBlockMeta(first)
		if meta == nil || uint64(meta.Header.Time.UnixMilli()) >= a.head.time-keep {
			break
		}
	}
	return first, nil
}

// engineBlocks is the engine's block store, nil before it has started.
func (n *Node) engineBlocks() blockStore {
	if engine := n.engine.Load(); engine != nil {
		return engine.BlockStore()
	}
	return nil
}

// reclaimSpace gives back, now and then, what was erased and pruned: databases
// mark it as deleted and keep it until they are compacted.
func (n *Node) reclaimSpace(ctx context.Context) error {
	tick := time.NewTicker(reclaimEvery)
	defer tick.Stop()
	var had reclaimed
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := n.reclaim(&had); err != nil {
			n.log.Warn("give back what was erased", "err", err)
		}
	}
}

// reclaimed is up to where it was done.
type reclaimed struct {
	erased uint64
	base   int64
}

func (n *Node) reclaim(had *reclaimed) error {
	n.app.mu.Lock()
	keep, err := n.app.keepsBlocks()
	n.app.mu.Unlock()
	if err != nil {
		return err
	}
	view, err := n.View()
	if err != nil {
		return err
	}
	if erased := view.Erased(); erased > had.erased {
		if err := n.store.Compact(); err != nil {
			return err
		}
		had.erased = erased
	}
	if blocks := n.engineBlocks(); blocks != nil && blocks.Base() > max(had.base, 1) {
		base := blocks.Base()
		if err := n.blocks.Compact(nil, nil); err != nil {
			return fmt.Errorf("compact blocks: %w", err)
		}
		had.base = base
	}
	if keep == 0 {
		return nil
	}
	return dropEngineLogs(filepath.Join(n.cfg.Home, "engine", "data", "cs.wal"), n.now().Add(-engineLogAge))
}

// engineLogFile is one that the engine writes to no more; it goes on in "wal".
var engineLogFile = regexp.MustCompile(`^wal\.[0-9]{3,}$`)

func dropEngineLogs(dir string, before time.Time) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("drop old logs of the engine: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && (!engineLogFile.MatchString(e.Name()) || info.ModTime().After(before)) {
			continue
		}
		if err == nil {
			err = os.Remove(filepath.Join(dir, e.Name()))
		}
		if err != nil {
			return fmt.Errorf("drop old logs of the engine: %w", err)
		}
	}
	return nil
}
