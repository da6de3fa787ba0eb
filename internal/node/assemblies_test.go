package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/dkg/assembly/assemblytest"
	"github.com/quorate/quorate/internal/hall"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/signer"
)

// assemble opens a crowd's ceremony on a cluster, on all of its nodes.
func assemble(ctx context.Context, t testing.TB, nodes []*Node, c *assemblytest.Crowd) [32]byte {
	t.Helper()
	if err := nodes[0].Ask(ctx, ledger.Ask{Action: c.Action("treasury"), Seats: c.List.Encode()}); err != nil {
		t.Fatal(err)
	}
	height, _ := nodes[0].Height()
	for _, n := range nodes {
		if err := n.app.await(ctx, height); err != nil {
			t.Fatal(err)
		}
	}
	return c.Params.ID()
}

// carry has all people say what there is to say, each through a node of its
// own, until the phase is over. It returns how many messages the ledger took, and
// how long that took.
func carry(ctx context.Context, t testing.TB, nodes []*Node, c *assemblytest.Crowd, id [32]byte) (took int, in time.Duration, phase assembly.Phase) {
	t.Helper()
	var posts []assemblytest.Post
	if err := nodes[0].Hall().Read(id, func(r *hall.Room) error {
		phase = r.Follower.Board().Phase()
		for seat := 1; seat <= int(c.Params.N); seat++ {
			posts = append(posts, c.Next(r.Follower, seat)...)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	of := map[int][]assemblytest.Post{} // a header before its chunks
	for _, p := range posts {
		of[p.Seat] = append(of[p.Seat], p)
	}
	began := time.Now()
	var mu sync.Mutex
	var g errgroup.Group
	for seat, posts := range of {
		g.Go(func() error {
			for _, p := range posts {
				_, err := nodes[seat%len(nodes)].Hall().Say(ctx, ledger.AssemblyMessage{Ceremony: id, Seat: uint16(seat), Message: p.Message, Signature: p.Signature})
				var refused *ledger.Error
				if errors.As(err, &refused) && refused.Code == ledger.CodePhase || errors.Is(err, hall.ErrBusy) {
					continue // others are enough
				}
				if err != nil {
					return fmt.Errorf("seat %d in %s: %w", seat, phase, err)
				}
				mu.Lock()
				c.Took(p)
				took++
				mu.Unlock()
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	return took, time.Since(began), phase
}

// play carries a ceremony to its end.
func play(ctx context.Context, t testing.TB, nodes []*Node, c *assemblytest.Crowd, id [32]byte) {
	t.Helper()
	for {
		took, in, phase := carry(ctx, t, nodes, c, id)
		if phase.Ended() {
			return
		}
		if took > 0 {
			t.Logf("%s: %d messages in %v, %.0f/s", phase, took, in.Round(time.Millisecond), float64(took)/in.Seconds())
			continue
		}
		_, moved := nodes[0].app.wait() // randomness, or a block that is on its way
		select {
		case <-moved:
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
}

// A ceremony among participants on a real cluster: the record is proven to
// whoever knows the genesis, and names the log that every node shows.
func TestAssemblyOnCluster(t *testing.T) {
	nodes := startCluster(t, 4)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := assemblytest.New(t, 10, 2, 3, nil)
	id := assemble(ctx, t, nodes, c)
	play(ctx, t, nodes, c, id)

	var link [32]byte
	if err := nodes[0].Hall().Read(id, func(r *hall.Room) error {
		link = r.Follower.Link()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for seat := 1; seat <= 7; seat++ {
		g.Go(func() error {
			return nodes[seat%4].Hall().Seal(ctx, ledger.AssemblySeal{Ceremony: id, Seat: uint16(seat), Signature: assembly.SignSeal(c.Keys[seat-1], link)})
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	var last uint64 // a seal is acknowledged by the node that carried it
	for _, n := range nodes {
		h, _ := n.Height()
		last = max(last, h)
	}
	for _, n := range nodes {
		if err := n.app.await(ctx, last); err != nil {
			t.Fatal(err)
		}
		if proven := provenRecord(ctx, t, n, id); proven.Link != link {
			t.Errorf("%s proves another link: %+v", n.Name(), proven)
		}
		view, err := n.View()
		if err != nil {
			t.Fatal(err)
		}
		r, _ := view.Assembly(id)
		if r.Link != link || !r.Sealed || assembly.Phase(r.Phase) != assembly.PhaseDone {
			t.Errorf("%s: %+v", n.Name(), r)
		}
		var archive writer
		write, err := n.Hall().Archive(id)
		if err == nil {
			err = write(&archive)
		}
		if err != nil {
			t.Fatal(err)
		}
		if o, err := assembly.Verify(archive); err != nil || o.Confirmed != 10 {
			t.Errorf("%s: %+v, %v", n.Name(), o, err)
		}
	}
	if len(nodes[0].Signer().Keys()) != 0 {
		t.Error("nodes sign with a key that they have no share of")
	}
	key := signer.Key(provenRecord(ctx, t, nodes[0], id).PublicKey)
	if _, _, err := nodes[0].DeleteKey(ctx, key); rpc.CodeOf(err) != rpc.CodeUnknownKey {
		t.Errorf("delete a key that participants hold: %v", err)
	}
	if _, err := nodes[0].ExportSlashing(ctx, []signer.Key{key}); rpc.CodeOf(err) != rpc.CodeUnknownKey {
		t.Errorf("history of a key that participants hold: %v", err)
	}
	if r, _ := nodes[0].Signer().Record(key); r.State != action.KeyHeld {
		t.Errorf("the key is %s", r.State)
	}
}

// provenRecord is what somebody with the genesis alone learns from a node.
func provenRecord(ctx context.Context, t *testing.T, n *Node, id [32]byte) *action.AssemblyRecord {
	t.Helper()
	raw, err := n.Prove(ctx, func(ns proof.Namespace) []proof.Path { return []proof.Path{ns.Assembly(id[:])} })
	if err != nil {
		t.Fatal(err)
	}
	cert, err := proof.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	client, err := proof.NewClient(proof.Trust{Cluster: n.cluster, ChainID: n.cluster.ChainID(), Validators: n.validators, TrustingPeriod: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	_, verified, err := client.Verify(cert)
	if err != nil {
		t.Fatal(err)
	}
	value, ok := verified.Get(proof.Root.Assembly(id[:]))
	if !ok {
		t.Fatal("the record is not in the certificate")
	}
	r, err := action.ParseAssemblyRecord(value)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type writer []byte

func (w *writer) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

// BenchmarkAssembly plays ceremonies whose people all are in this process on
// four nodes that are, too. Say in QUORATE_PARTICIPANTS how many people.
func BenchmarkAssembly(b *testing.B) {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("QUORATE_PARTICIPANTS"), "256"))
	if err != nil {
		b.Fatal(err)
	}
	nodes := startCluster(b, 4)
	for i := range b.N {
		cohorts := max(n/64, 2)
		c := assemblytest.New(b, n, cohorts, 128/cohorts, func(p *assembly.Params) {
			p.Nonce[0] = byte(i)
			for _, d := range []*uint32{&p.Deadlines.Join, &p.Deadlines.Deal, &p.Deadlines.Verify, &p.Deadlines.Answer, &p.Deadlines.Replay, &p.Deadlines.Confirm} {
				*d = 3_600_000
			}
		})
		play(b.Context(), b, nodes, c, assemble(b.Context(), b, nodes, c))
	}
}
