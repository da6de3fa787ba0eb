package node

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// Four empty engines agree, and answer each line with a time that passed.
func TestEmptyEngine(t *testing.T) {
	e := EmptyEngine{Log: slog.New(slog.DiscardHandler)}
	for range 4 {
		e.Addresses = append(e.Addresses, freePort(t))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all errgroup.Group
	idle, end := io.Pipe() // until it closes, the others have nothing to do
	for i := 1; i < 4; i++ {
		other := e
		other.Self, other.Home = i, t.TempDir()
		all.Go(func() error { return other.Run(ctx, idle, io.Discard) })
	}
	e.Home = t.TempDir()
	var answers strings.Builder
	began := time.Now()
	err := e.Run(ctx, strings.NewReader("\n\n\n"), &answers)
	took := time.Since(began)
	end.Close() //nolint:errcheck // a pipe in memory
	if err != nil {
		t.Fatal(err)
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(answers.String())
	if len(lines) != 3 {
		t.Fatalf("three transactions were answered with %q", answers.String())
	}
	for _, line := range lines {
		if ns, err := strconv.ParseInt(line, 10, 64); err != nil || ns <= 0 || time.Duration(ns) > took {
			t.Errorf("a transaction of a run of %v took %s", took, line)
		}
	}
}
