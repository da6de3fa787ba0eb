package cli

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/wire"
)

// speaker is a member who signs: with which credential, and for which cluster.
type speaker struct {
	client  *opsapi.Client
	signer  credential.Signer
	member  opsapi.Member
	cluster action.ClusterID
}

// isMember reports whether --identity names a member's credential, and not a
// node's token.
func (a *app) isMember() bool {
	if strings.HasPrefix(a.identity, "ssh:") || strings.HasPrefix(a.identity, "file:") {
		return true
	}
	file, err := durable.ReadFile(durable.OS{}, a.identity, credential.MaxFile)
	return a.identity != "" && err == nil && credential.IsFile(file)
}

// speaker finds out who --identity is, on a cluster that it may sign for.
func (a *app) speaker(ctx context.Context) (*speaker, error) {
	if !a.isMember() {
		return nil, fail(exitBadUse, identityHint, "a member signs this, and --identity names no member's key")
	}
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	cluster, err := a.cluster(ctx, c)
	if err != nil {
		return nil, err
	}
	signer, err := a.signer(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.pin(cluster); err != nil {
		return nil, err
	}
	members, err := c.Members(ctx)
	if err != nil {
		return nil, err
	}
	own := signer.Public().Bytes()
	for _, m := range members {
		if slices.ContainsFunc(m.Credentials, func(k ident.PublicKey) bool { return bytes.Equal(k.Bytes(), own) }) {
			return &speaker{client: c, signer: signer, member: m, cluster: cluster}, nil
		}
	}
	return nil, fail(exitDenied, "have a custodian run: quorate member enrol, with the credential that quorate member keygen printed", "no member of the cluster has the credential of --identity")
}

// submit signs a transaction and hands it to the node. What was handed over may
// happen even if nobody waits for it any more.
func (s *speaker) submit(ctx context.Context, kind action.Kind, body []byte) (opsapi.Submitted, error) {
	sent, err := s.client.Submit(ctx, s.cluster, s.member.ID, kind, body, s.signer)
	if err != nil && ctx.Err() != nil {
		return sent, fail(exitInterrupted, "what was signed may still happen: quorate request list --all, quorate audit list", "interrupted")
	}
	return sent, err
}

// cluster returns the id of the node's cluster, which has to be that of
// --genesis where it is given.
func (a *app) cluster(ctx context.Context, c *opsapi.Client) (id action.ClusterID, err error) {
	st, err := c.Status(ctx)
	if err != nil {
		return id, err
	}
	raw, err := hex.DecodeString(st.Cluster)
	if err != nil || len(raw) != len(id) {
		return id, errors.New("ask node: its cluster's id is none")
	}
	id = action.ClusterID(raw)
	if a.genesis == "" {
		return id, nil
	}
	doc, err := durable.ReadFile(durable.OS{}, a.genesis, wire.MaxGenesis)
	if err != nil {
		return id, fail(exitBadUse, "give --genesis the document that the operators compared", "read genesis: %w", err)
	}
	_, known, err := action.ParseGenesis(doc)
	if err != nil {
		return id, fail(exitBadUse, "", "read genesis %s: %w", a.genesis, err)
	}
	if known != id {
		return id, wrongCluster(id, known, "the genesis "+a.genesis)
	}
	return id, nil
}

func wrongCluster(node, known action.ClusterID, where string) error {
	return fail(exitDenied, "is --address a node of the right cluster? A new cluster wants a credential of its own",
		"the node is of cluster %s, but %s says %s: nothing is signed", node, where, known)
}

// pin holds an identity to the cluster that it first signed for, unless
// --genesis says which it is.
func (a *app) pin(cluster action.ClusterID) error {
	if a.genesis != "" {
		return nil
	}
	path, err := a.pinPath()
	if err != nil {
		return err
	}
	raw, err := durable.ReadFile(durable.OS{}, path, 1<<10)
	if errors.Is(err, fs.ErrNotExist) {
		if err := writePin(path, cluster); err != nil {
			return hinted(err, "name the cluster with --genesis FILE instead")
		}
		fmt.Fprintf(a.stderr, "note: first use of this identity. From now on it signs for cluster\n  %s\nonly, as %s says. Compare that id with the other operators.\n", cluster, path)
		return nil
	}
	if err != nil {
		return err
	}
	known, err := hex.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil || len(known) != len(cluster) {
		return fail(exitFailed, "write the cluster's id into it, or name the cluster with --genesis FILE", "read %s: it holds no cluster's id", path)
	}
	if action.ClusterID(known) != cluster {
		return wrongCluster(cluster, action.ClusterID(known), path)
	}
	return nil
}

// pinPath is beside a key file; for a key in an agent, in the user's
// configuration directory.
func (a *app) pinPath() (string, error) {
	fingerprint, agent := strings.CutPrefix(a.identity, "ssh:")
	if !agent {
		return strings.TrimPrefix(a.identity, "file:") + pinSuffix, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fail(exitBadUse, "name the cluster with --genesis FILE", "find a place to remember the cluster: %w", err)
	}
	dir = filepath.Join(dir, "quorate")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make %s: %w", dir, err)
	}
	return filepath.Join(dir, "ssh-"+strings.NewReplacer("/", "_", ":", "_").Replace(fingerprint)+pinSuffix), nil
}

const pinSuffix = ".cluster"

func writePin(path string, cluster action.ClusterID) error {
	return writeNew(path, []byte(cluster.String()+"\n"), 0o644)
}
