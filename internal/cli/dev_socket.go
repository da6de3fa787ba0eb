package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/durable"
)

// devRequest asks a running supervisor to start a node again; one per
// connection.
type devRequest struct {
	Start string `json:"start"`
}

type devAnswer struct {
	PID   int      `json:"pid,omitempty"`
	Code  exitCode `json:"code,omitempty"`
	Error string   `json:"error,omitempty"`
	Hint  string   `json:"hint,omitempty"`
}

// maxDevMessage bounds a request and an answer.
const maxDevMessage = 64 << 10

// listen opens DIR/dev.sock and returns what serves it until ctx ends.
func (c *devCluster) listen() (func(context.Context), error) {
	path, err := socketPath(c.socketPath())
	if err != nil {
		return nil, err
	}
	// The lock on DIR says that nobody else uses it.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close() //nolint:errcheck // it is given up
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return func(ctx context.Context) {
		stop := context.AfterFunc(ctx, func() { l.Close() })
		defer stop()
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			c.serve(ctx, conn)
		}
	}, nil
}

// serve answers one request after another: two starts of one node at a time
// would be one too many.
func (c *devCluster) serve(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(startTime + stopTime)) //nolint:errcheck // of a connection that is open
	var req devRequest
	if json.NewDecoder(io.LimitReader(conn, maxDevMessage)).Decode(&req) != nil {
		return
	}
	pid, err := c.startAgain(ctx, req.Start)
	answer := devAnswer{PID: pid}
	if err != nil {
		answer.Code, answer.Hint = explain(err)
		answer.Error = err.Error()
	}
	json.NewEncoder(conn).Encode(answer) //nolint:errcheck // the asker has gone
}

// startAgain starts a node that has ended and returns when it is healthy.
func (c *devCluster) startAgain(ctx context.Context, name string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	n, err := c.relaunch(ctx, name)
	if err != nil {
		return 0, err
	}
	reached, err := c.height(ctx, n)
	if err != nil {
		return 0, err
	}
	if err := c.await(ctx, n); err != nil {
		return 0, err
	}
	// It has a ledger; what was decided meanwhile it still has to catch up with.
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for n.status.Height < reached {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, fail(exitUnavailable, "its log is "+n.logPath(), "%s is at height %d, the others at %d", name, n.status.Height, reached)
		}
		if n.status, err = n.ops.Status(ctx); err != nil {
			return 0, err
		}
	}
	c.progress.say("%s runs again", name)
	return n.child.pid, c.writeState()
}

// deathTime is how long a process that was just killed may take to go.
const deathTime = 2 * time.Second

func (c *devCluster) relaunch(ctx context.Context, name string) (*devNode, error) {
	n, ok := c.find(name)
	if !ok {
		return nil, fail(exitNotFound, "nodes are called "+c.nodes[0].name+" to "+c.nodes[len(c.nodes)-1].name, "no node %q", name)
	}
	timer := time.NewTimer(deathTime)
	defer timer.Stop()
	select {
	case <-n.child.done:
	case <-timer.C:
		return nil, fail(exitFailed, "", "%s runs (pid %d)", name, n.child.pid)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := n.awaitReleased(ctx); err != nil {
		return nil, err
	}
	if err := checkPorts(ctx, n.name, n.config.Listen); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return n, c.launch(n)
}

func (c *devCluster) find(name string) (*devNode, bool) {
	for _, n := range c.nodes {
		if n.name == name {
			return n, true
		}
	}
	return nil, false
}

// awaitReleased returns when no process holds the node's directories. The
// kernel kills custody together with its node, but not in the same instant.
func (n *devNode) awaitReleased(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for _, dir := range []string{string(n.home), n.home.custody(action.DomainValidator)} {
		for {
			lock, err := durable.Lock(dir)
			if err == nil {
				lock.Close() //nolint:errcheck // it was only a question
				break
			}
			if !errors.Is(err, durable.ErrLocked) {
				return err
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fail(exitFailed, "", "%s is still in use: %w", n.name, err)
			}
		}
	}
	return nil
}

// height returns how far the other nodes have come, 0 when none runs.
func (c *devCluster) height(ctx context.Context, except *devNode) (top uint64, err error) {
	for _, n := range c.nodes {
		if n == except || !n.child.running() {
			continue
		}
		st, err := n.ops.Status(ctx)
		if err != nil {
			continue // it is on its way down
		}
		top = max(top, st.Height)
	}
	return top, ctx.Err()
}

// devStartNode asks the supervisor of a directory.
func (a *app) devStartNode(ctx context.Context, dir, name string) error {
	hint := "quorate dev --dir " + dir
	path, err := filepath.Abs(filepath.Join(dir, "dev.sock"))
	if err != nil {
		return fmt.Errorf("find directory: %w", err)
	}
	if path, err = socketPath(path); err != nil {
		return err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fail(exitUnavailable, hint, "no quorate dev runs in %s", dir)
	}
	if err != nil {
		return fmt.Errorf("ask quorate dev: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := json.NewEncoder(conn).Encode(devRequest{Start: name}); err != nil {
		return fmt.Errorf("ask quorate dev: %w", err)
	}
	var answer devAnswer
	if err := json.NewDecoder(io.LimitReader(conn, maxDevMessage)).Decode(&answer); err != nil {
		return fail(exitUnavailable, hint, "quorate dev went away: %w", err)
	}
	if answer.Error != "" {
		return &failure{answer.Code, errors.New(answer.Error), answer.Hint}
	}
	return a.print(map[string]any{"name": name, "pid": answer.PID}, func(t *table) { t.row(name, "runs, pid", answer.PID) })
}
