package dkgtest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// Assembly is what participants have when theirs is done: each a share, all
// the same points Y_0, …, Y_n.
type Assembly struct {
	ID     [32]byte
	T      int
	Key    []byte                    // Y_0
	Root   [32]byte                  // over the points
	Paths  func(i int) []wire.Digest // from Y_i to it
	Shares [][]byte                  // of participant i at i-1; nil where it is lost
}

// NewAssembly deals a key to n participants, t of whom have it.
func NewAssembly(n, t int, name string) *Assembly {
	var g bls.G1
	values := make([]bls.G1Scalar, t)
	for i := range values {
		a, b := sha256.Sum256(fmt.Append(nil, "assembly", name, n, t, i)), sha256.Sum256(fmt.Append(nil, "more", name, n, t, i))
		wide := [64]byte(append(a[:], b[:]...))
		g.SetWide(&values[i], &wide)
	}
	a := &Assembly{ID: sha256.Sum256(fmt.Append(nil, "cid", name, n, t)), T: t}
	points := make([]bls.G1Point, n+1)
	for i, s := range g.Extend(values, n) {
		g.BaseMult(&points[i], &s)
		if i > 0 {
			a.Shares = append(a.Shares, g.AppendScalar(nil, &s))
		}
	}
	encoded := g.AppendPoints(nil, points)
	tree := wire.CutTree(encoded, g.PointSize())
	a.Key, a.Root = encoded[:g.PointSize()], tree.Root()
	a.Paths = func(i int) []wire.Digest { return tree.Path(0, i) }
	return a
}

// HandOver opens a reshare from an assembly to the members of parameters, which
// say nothing else of it.
func HandOver(p dkg.Params, a *Assembly) (*Ceremony, error) {
	p.Mode, p.Suite, p.Keys, p.Epoch, p.Expected = dkg.ModeReshare, dkg.SuiteG1, 1, 1, a.Root
	p.Old = dkg.Old{T: uint16(a.T), N: uint16(len(a.Shares)), Assembly: a.ID}
	c, err := New(p)
	if err == nil {
		c.assembly = a
	}
	return c, err
}

// Dealer returns a participant that deals.
func (c *Ceremony) Dealer(i int) (*dkg.Dealer, error) {
	if q := c.dealers[i]; q != nil && !c.Restart {
		return q, nil
	}
	seed := sha256.Sum256(fmt.Append(nil, "dkgtest dealer", i))
	q, err := dkg.NewDealer(c.params, i, secret.New(seed[:]), secret.New(bytes.Clone(c.assembly.Shares[i-1])), c.assembly.Paths(i))
	c.dealers[i] = q
	return q, err
}

// PostDealer puts a message on the ledger in a participant's name.
func (c *Ceremony) PostDealer(i int, m dkg.Message) error {
	return c.post(m, func(m dkg.Message) (*dkg.Board, []dkg.Event, error) { return c.Board.ApplyDealer(c.now, i, m) })
}

// stepPeople lets every participant act once that has its share.
func (c *Ceremony) stepPeople() (moved bool, err error) {
	if c.assembly == nil {
		return false, nil
	}
	source := func(name [32]byte) ([]byte, error) {
		if !slices.Contains(c.Board.DealerBodies(), name) {
			return nil, fmt.Errorf("body %x is wanted by a dealer, but not announced", name[:8])
		}
		return c.Source(name)
	}
	for i, share := range c.assembly.Shares {
		i++
		if phase := c.Board.Phase(); share == nil || phase < dkg.PhaseDeal || phase > dkg.PhaseAnswer {
			continue
		}
		q, err := c.Dealer(i)
		if err != nil {
			return false, err
		}
		out, err := q.Next(c.Board, source)
		if err != nil { // its share is another, perhaps
			c.Refused[-i] = append(c.Refused[-i], err)
		}
		if act := c.People[i]; act != nil {
			out = act(c, i, out)
		}
		for _, m := range out {
			switch err := c.PostDealer(i, m); {
			case err == nil:
				moved = true
			case !errors.Is(err, dkg.ErrDuplicate):
				c.Refused[-i] = append(c.Refused[-i], err)
			}
		}
	}
	return moved, nil
}

// Force puts a dealing on the ledger that a board made of it took unseen.
func (c *Ceremony) Force(m *dkg.Dealing, take func() (*dkg.Board, []dkg.Event)) error {
	return c.post(m, func(dkg.Message) (*dkg.Board, []dkg.Event, error) {
		b, events := take()
		return b, events, nil
	})
}
