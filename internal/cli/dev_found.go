package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/wire"
)

// devPasskeys lets a browser on this machine use a passkey at any of the nodes.
func devPasskeys(o devOptions) opsapi.RelyingParty {
	rp := opsapi.RelyingParty{ID: "localhost"}
	for i := range min(o.nodes, wire.MaxOrigins) {
		rp.Origins = append(rp.Origins, fmt.Sprintf("http://localhost:%d", o.basePort+portStep*i+portOps))
	}
	slices.Sort(rp.Origins)
	return rp
}

// found makes a cluster: homes, a genesis, and custody bound to it. The
// genesis in DIR comes last, so that a directory that has one is complete.
func (c *devCluster) found(ctx context.Context, o devOptions) ([]byte, error) {
	if _, err := action.DefaultThreshold(o.nodes); err != nil || o.nodes > wire.MaxNodes {
		return nil, fail(exitBadUse, fmt.Sprintf("--nodes takes 4 to %d", wire.MaxNodes), "found cluster of %d nodes: %w", o.nodes, errors.Join(err, errTooMany(o.nodes)))
	}
	if top := o.basePort + portStep*o.nodes; o.basePort < 1 || top > 1<<16 {
		return nil, fail(exitBadUse, "choose another --base-port", "ports from %d to %d do not exist", o.basePort, top)
	}
	// A cluster keeps its ports, so whether they are free is asked before.
	for i := range o.nodes {
		if err := checkPorts(ctx, nodeName(i), listenAt(o.listen, o.basePort+portStep*i)); err != nil {
			return nil, err
		}
	}
	network, err := readNetwork(o.network)
	if err != nil {
		return nil, err
	}
	cast, err := o.cast()
	if err != nil {
		return nil, err
	}
	if err := c.clearUnfinished(); err != nil {
		return nil, err
	}
	c.progress.begin("founding the cluster")
	g := action.Genesis{
		Version: 1, Time: time.Now().UTC().Truncate(time.Second), Namespace: "root", Network: network,
		Nodes: make([]action.NodeRecord, o.nodes), ImportHistory: action.HistoryNone,
	}
	if g.Members, err = c.writePeople(cast); err != nil {
		return nil, err
	}
	rules, err := c.foundPolicy(cast)
	if err != nil {
		return nil, err
	}
	g.Policy = string(rules)
	token := newToken()
	var work errgroup.Group
	for i := range g.Nodes {
		work.Go(func() error {
			conf := config{Listen: listenAt(o.listen, o.basePort+portStep*i), Passkeys: devPasskeys(o), Log: "info"}
			rec, err := initHome(c.home(nodeName(i)), newNode{
				Name: nodeName(i), Operator: cast.site(i).operator, Region: cast.site(i).region,
				Consensus: conf.Listen.Consensus, Peer: conf.Listen.Peer,
				Config: conf, CustodyBinary: c.custody, KeymanagerToken: token,
			})
			g.Nodes[i] = rec
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	doc, _, err := encodeGenesis(g)
	if err != nil {
		return nil, err
	}
	for i := range g.Nodes {
		work.Go(func() error {
			_, err := joinCluster(c.home(nodeName(i)), doc, c.custody)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	if err := durable.WriteOSFile(c.genesisPath(), doc, 0o644); err != nil {
		return nil, err
	}
	c.progress.end(fmt.Sprintf("%d nodes in %s", o.nodes, c.dir))
	return doc, nil
}

func errTooMany(nodes int) error {
	if nodes > wire.MaxNodes {
		return fmt.Errorf("more than %d", wire.MaxNodes)
	}
	return nil
}

// clearUnfinished removes homes of a first start that was interrupted. A home
// that has ever run is not touched.
func (c *devCluster) clearUnfinished() error {
	for i := range wire.MaxNodes {
		h := c.home(nodeName(i))
		if _, err := os.Lstat(h.path("engine")); err == nil {
			return fail(exitFailed, "choose another --dir", "%s holds a node that has run, but %s is missing", h, c.genesisPath())
		}
		if err := os.RemoveAll(string(h)); err != nil {
			return fmt.Errorf("clear unfinished home: %w", err)
		}
	}
	if err := os.RemoveAll(c.peoplePath()); err != nil {
		return fmt.Errorf("clear unfinished people: %w", err)
	}
	return nil
}

// findCustody takes quorate-custody from beside this program, else from
// PATH, else builds it.
func (c *devCluster) findCustody(ctx context.Context) error {
	if path, ok := findCustody(); ok {
		c.custody = path
		return nil
	}
	c.custody = filepath.Join(c.dir, "bin", custodyName)
	c.progress.begin("building " + custodyName)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", c.custody, custodyPackage)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fail(exitFailed, "run it in the module's directory, or put "+custodyName+" beside quorate: go build ./cmd/...",
			"build %s: %w: %s", custodyName, err, bytes.TrimSpace(out))
	}
	c.progress.end(c.custody)
	return nil
}

const custodyPackage = "github.com/quorate/quorate/cmd/" + custodyName
