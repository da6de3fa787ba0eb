package proof

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/quorate/quorate/internal/wire"
)

// ErrInclusion is wrapped by every reason to refuse a proof about a key.
var ErrInclusion = errors.New("inclusion proof refused")

// Node is what an inner node of the IAVL tree hashes besides its children.
type Node struct {
	Height  uint8
	Size    uint64
	Version uint64
}

// Step leads from a child to its parent: the parent, and the other child.
type Step struct {
	Node
	Left    bool // the other child stands to the left
	Sibling [32]byte
}

// Leaf is a key of the tree with all that its hash covers.
type Leaf struct {
	Key       []byte
	ValueHash [32]byte // SHA-256 of the value
	Version   uint64   // block that last wrote the key
}

// Inclusion leads from a leaf to the root. Key and value are the claim's.
type Inclusion struct {
	Version uint64
	Path    []Step
}

// Absence proves that no leaf stands between two neighbours. Left and Right
// meet in Join, from which Path leads to the root: everything on the way from
// Left to Join hangs off to the left and everything on the way from Right to
// the right, so there is no room between them. Where the key would come before
// the first or after the last leaf, the one neighbour leads to the root by
// itself, and Join and Path are unused.
//
// ICS-23 proves the same with two whole inclusion proofs; sharing what they
// share halves the size, and makes "neighbours" a matter of shape.
type Absence struct {
	Left, Right *Edge
	Join        Node
	Path        []Step
}

// Edge is a leaf and the way up along one side of a subtree.
type Edge struct {
	Leaf
	Path []Step
}

// climb is a hash on its way to the root.
type climb struct {
	hash   [32]byte
	height uint8
	err    error
}

func startAt(l Leaf) climb {
	if len(l.Key) == 0 || len(l.Key) > wire.MaxPath || l.Version > math.MaxInt64 {
		return climb{err: fmt.Errorf("%w: leaf out of range", ErrInclusion)}
	}
	b := binary.AppendVarint(nil, 0) // height: what tells a leaf from an inner node
	b = binary.AppendVarint(b, 1)    // size
	b = binary.AppendVarint(b, int64(l.Version))
	b = binary.AppendUvarint(b, uint64(len(l.Key)))
	b = append(b, l.Key...)
	b = append(b, 32)
	return climb{hash: sha256.Sum256(append(b, l.ValueHash[:]...))}
}

// to goes up to the parent n with the given children, one of which is c.
func (c climb) to(n Node, left, right [32]byte) climb {
	if c.err != nil {
		return c
	}
	// A parent is higher than its children, hence never of height 0 as a leaf
	// is, and a path is never longer than the tree is high.
	if n.Height <= c.height || n.Height > wire.MaxProofSteps || n.Size > math.MaxInt64 || n.Version > math.MaxInt64 {
		return climb{err: fmt.Errorf("%w: inner node out of range", ErrInclusion)}
	}
	b := binary.AppendVarint(nil, int64(n.Height))
	b = binary.AppendVarint(b, int64(n.Size))
	b = binary.AppendVarint(b, int64(n.Version))
	b = append(append(b, 32), left[:]...)
	b = append(append(b, 32), right[:]...)
	return climb{hash: sha256.Sum256(b), height: n.Height}
}

func (c climb) along(path []Step) climb {
	for _, s := range path {
		if s.Left {
			c = c.to(s.Node, s.Sibling, c.hash)
		} else {
			c = c.to(s.Node, c.hash, s.Sibling)
		}
	}
	return c
}

func (c climb) reaches(root [32]byte) error {
	if c.err != nil {
		return c.err
	}
	if c.hash != root {
		return fmt.Errorf("%w: leads to another root", ErrInclusion)
	}
	return nil
}

// Verify says whether key holds value under root.
func (p *Inclusion) Verify(root [32]byte, key, value []byte) error {
	if len(value) == 0 {
		return fmt.Errorf("%w: empty value", ErrInclusion)
	}
	leaf := Leaf{Key: key, ValueHash: sha256.Sum256(value), Version: p.Version}
	return startAt(leaf).along(p.Path).reaches(root)
}

// Verify says whether key is absent under root.
func (a *Absence) Verify(root [32]byte, key []byte) error {
	if len(key) == 0 {
		return fmt.Errorf("%w: empty key", ErrInclusion)
	}
	if l := a.Left; l != nil && (string(l.Key) >= string(key) || !allOn(l.Path, true)) {
		return fmt.Errorf("%w: left neighbour out of place", ErrInclusion)
	}
	if r := a.Right; r != nil && (string(r.Key) <= string(key) || !allOn(r.Path, false)) {
		return fmt.Errorf("%w: right neighbour out of place", ErrInclusion)
	}
	switch {
	case a.Left != nil && a.Right != nil:
		l, r := a.Left.climb(), a.Right.climb()
		if l.err != nil {
			return l.err
		}
		r.height = max(l.height, r.height)
		return r.to(a.Join, l.hash, r.hash).along(a.Path).reaches(root)
	case a.Join != Node{} || len(a.Path) != 0:
		return fmt.Errorf("%w: join without two neighbours", ErrInclusion)
	case a.Left != nil:
		return a.Left.climb().reaches(root)
	case a.Right != nil:
		return a.Right.climb().reaches(root)
	}
	return fmt.Errorf("%w: no neighbour", ErrInclusion)
}

func (e *Edge) climb() climb { return startAt(e.Leaf).along(e.Path) }

// allOn says whether every other child stands on the given side.
func allOn(path []Step, left bool) bool {
	for _, s := range path {
		if s.Left != left {
			return false
		}
	}
	return true
}

// NewAbsence merges the inclusion paths of the two neighbours of a key, either
// of which may be nil at an end of the tree. Whether they are neighbours is
// Verify's to say.
func NewAbsence(left, right *Edge) (*Absence, error) {
	if left == nil || right == nil {
		return &Absence{Left: left, Right: right}, nil
	}
	l, r := len(left.Path)-1, len(right.Path)-1
	for l >= 0 && r >= 0 && left.Path[l] == right.Path[r] {
		l, r = l-1, r-1
	}
	if l < 0 || r < 0 || left.Path[l].Node != right.Path[r].Node {
		return nil, fmt.Errorf("make absence proof of keys between %q and %q: paths never meet", left.Key, right.Key)
	}
	return &Absence{
		Left:  &Edge{Leaf: left.Leaf, Path: left.Path[:l]},
		Right: &Edge{Leaf: right.Leaf, Path: right.Path[:r]},
		Join:  left.Path[l].Node,
		Path:  left.Path[l+1:],
	}, nil
}

// ParseLeafOp reads the leaf's version from the prefix of an ICS-23 leaf
// operation, the form in which IAVL gives its proofs.
func ParseLeafOp(prefix []byte) (version uint64, err error) {
	n, rest, err := parseNode(prefix)
	if err != nil || len(rest) != 0 || n.Height != 0 || n.Size != 1 {
		return 0, fmt.Errorf("parse leaf operation %x: %w", prefix, ErrInclusion)
	}
	return n.Version, nil
}

// ParseInnerOp reads one step from an ICS-23 inner operation.
func ParseInnerOp(prefix, suffix []byte) (Step, error) {
	n, rest, err := parseNode(prefix)
	s := Step{Node: n}
	switch {
	case err != nil || n.Height == 0:
	case len(rest) == 34 && rest[0] == 32 && rest[33] == 32 && len(suffix) == 0:
		s.Left, s.Sibling = true, [32]byte(rest[1:])
		return s, nil
	case len(rest) == 1 && rest[0] == 32 && len(suffix) == 33 && suffix[0] == 32:
		s.Sibling = [32]byte(suffix[1:])
		return s, nil
	}
	return Step{}, fmt.Errorf("parse inner operation %x, %x: %w", prefix, suffix, ErrInclusion)
}

func parseNode(b []byte) (Node, []byte, error) {
	var v [3]int64
	for i := range v {
		x, n := binary.Varint(b)
		if n <= 0 || x < 0 {
			return Node{}, nil, ErrInclusion
		}
		v[i], b = x, b[n:]
	}
	if v[0] > wire.MaxProofSteps {
		return Node{}, nil, ErrInclusion
	}
	return Node{Height: uint8(v[0]), Size: uint64(v[1]), Version: uint64(v[2])}, b, nil
}

func (n Node) encode(e *wire.Encoder) {
	e.U8(n.Height)
	e.U64(n.Size)
	e.U64(n.Version)
}

func decodeNode(d *wire.Decoder) Node {
	return Node{Height: d.U8(), Size: d.U64(), Version: d.U64()}
}

const stepSize = 1 + 8 + 8 + 1 + 32

func encodePath(e *wire.Encoder, path []Step) {
	e.Count(len(path))
	for _, s := range path {
		s.Node.encode(e)
		e.Bool(s.Left)
		e.Fixed(s.Sibling[:])
	}
}

func decodePath(d *wire.Decoder) []Step {
	path := make([]Step, d.Count(wire.MaxProofSteps, stepSize))
	for i := range path {
		path[i].Node = decodeNode(d)
		path[i].Left = d.Bool()
		d.Fixed(path[i].Sibling[:])
	}
	return path
}

func (p *Inclusion) encode(e *wire.Encoder) {
	e.U64(p.Version)
	encodePath(e, p.Path)
}

func decodeInclusion(d *wire.Decoder) *Inclusion {
	return &Inclusion{Version: d.U64(), Path: decodePath(d)}
}

func encodeEdge(e *wire.Encoder, g *Edge) {
	e.Bool(g != nil)
	if g == nil {
		return
	}
	e.Bytes(g.Key)
	e.Fixed(g.ValueHash[:])
	e.U64(g.Version)
	encodePath(e, g.Path)
}

func decodeEdge(d *wire.Decoder) *Edge {
	if !d.Bool() {
		return nil
	}
	g := &Edge{Leaf: Leaf{Key: d.Bytes(wire.MaxPath)}}
	d.Fixed(g.ValueHash[:])
	g.Version = d.U64()
	g.Path = decodePath(d)
	return g
}

func (a *Absence) encode(e *wire.Encoder) {
	encodeEdge(e, a.Left)
	encodeEdge(e, a.Right)
	if a.Left != nil && a.Right != nil {
		a.Join.encode(e)
		encodePath(e, a.Path)
	}
}

func decodeAbsence(d *wire.Decoder) *Absence {
	a := &Absence{Left: decodeEdge(d), Right: decodeEdge(d)}
	if a.Left != nil && a.Right != nil {
		a.Join = decodeNode(d)
		a.Path = decodePath(d)
	}
	return a
}
