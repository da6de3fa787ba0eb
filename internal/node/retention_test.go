package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/audit"
	"github.com/quorate/quorate/internal/ledger"
)

// An event whose time is over is nowhere on any node's disk: not in the store,
// not in its block, not in the engine's log. What proves the log still does.
func TestErasedEverywhere(t *testing.T) {
	const later = 9 * 24 * time.Hour
	var passed atomic.Bool // those days: the engine takes no block from the future
	clock := func() time.Time {
		if passed.Load() {
			return time.Now()
		}
		return time.Now().Add(-later)
	}
	var homes []string
	nodes := startClusterWith(t, 4, func(_ int, c *Config) {
		c.Clock = clock
		if c.Home != "" {
			homes = append(homes, c.Home)
		}
	}, func(g *action.Genesis) {
		g.Time, g.Policy = g.Time.Add(-later), g.Policy+"\nretention:\n  - {of: events, keep: 8d}\n"
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	say := func(i int, kind action.Kind, body []byte) (err error) {
		t.Helper()
		eventually(t, ctx, nodes[i].Name()+" has started", func() bool {
			_, err = nodes[i].Submit(ctx, kind, body)
			return !errors.Is(err, errStarting) && (err == nil || !strings.Contains(err.Error(), "no first block"))
		})
		return err
	}
	const secret = "erase-me-7f3a9c51d2"
	var denied *ledger.Error
	if err := say(0, action.KindUsage, ledger.UsageReport{Domain: secret, Sequence: 1}.Encode()); !errors.As(err, &denied) || denied.Code != ledger.CodeDenied {
		t.Fatalf("usage of another's custody: %v", err)
	}
	index := slices.IndexFunc(events(t, nodes[0]), func(ev *ledger.Event) bool { return strings.Contains(ev.Detail, secret) })
	if index < 0 {
		t.Fatal("the denial is not in the log")
	}
	waitAll(t, ctx, nodes)
	for _, home := range homes {
		if len(holding(t, home, secret)) < 2 {
			t.Fatalf("%s: the event and its block are not found where they must be: %v", home, holding(t, home, secret))
		}
	}
	// The engine begins a new file of its log after 10 MiB.
	filler := ledger.UsageReport{Domain: action.DomainValidator, Sequence: 1}
	for range 7000 {
		filler.Keys = append(filler.Keys, make([]byte, 60))
	}
	rotated := func() bool {
		return !slices.ContainsFunc(homes, func(home string) bool {
			_, err := os.Stat(filepath.Join(home, "engine", "data", "cs.wal", "wal.000"))
			return err != nil
		})
	}
	for i := 0; i < 60 && !rotated(); i++ {
		if err := say(i%4, action.KindUsage, filler.Encode()); !errors.As(err, &denied) || denied.Code != ledger.CodeNotFound {
			t.Fatalf("usage of unknown keys: %v", err)
		}
	}
	for _, home := range homes {
		if err := os.Chtimes(filepath.Join(home, "engine", "data", "cs.wal", "wal.000"), clock(), clock()); err != nil {
			t.Fatal(err)
		}
	}
	passed.Store(true)
	for i := range 3 * keepLast {
		if err := say(i%4, action.KindTick, nil); err != nil {
			t.Fatal(err)
		}
	}
	waitAll(t, ctx, nodes)
	for i, n := range nodes {
		if view, err := n.View(); err != nil || view.Event(uint64(index)) != nil {
			t.Errorf("%s has the event still: %v", n.Name(), err)
		}
		eventually(t, ctx, "nothing is left of the event at "+n.Name(), func() bool { // it prunes after the commit
			if err := n.reclaim(new(reclaimed)); err != nil {
				t.Fatal(err)
			}
			return len(holding(t, homes[i], secret)) == 0
		})
		if base := n.engine.Load().BlockStore().Base(); base < 3 {
			t.Errorf("%s keeps blocks from %d on", n.Name(), base)
		}
	}
	// The log is exported and verified as before.
	var file bytes.Buffer
	if err := nodes[1].ExportLog(ctx, &file, audit.Filter{}); err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(&file, nodes[1].genesisDoc)
	if err != nil || report.Erased == 0 {
		t.Errorf("the log does not verify: %+v, %v", report, err)
	}
}

func events(t *testing.T, n *Node) (out []*ledger.Event) {
	t.Helper()
	view, err := n.View()
	if err != nil {
		t.Fatal(err)
	}
	size, _ := view.LogRoot()
	for i := range size {
		out = append(out, view.Event(i))
	}
	return out
}

// waitAll waits until all nodes have the last block that any has now.
func waitAll(t *testing.T, ctx context.Context, nodes []*Node) {
	t.Helper()
	var last uint64
	for _, n := range nodes {
		h, _ := n.Height()
		last = max(last, h)
	}
	for _, n := range nodes {
		if err := n.app.await(ctx, last); err != nil {
			t.Fatal(err)
		}
	}
}

// holding returns the files below a directory that hold a text.
func holding(t *testing.T, dir, text string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !d.Type().IsRegular() {
			return nil // a database has dropped it meanwhile
		}
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer f.Close()
		raw, err := io.ReadAll(f)
		if bytes.Contains(raw, []byte(text)) {
			files = append(files, fmt.Sprint(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
