package assembly

import "github.com/quorate/quorate/internal/wire"

type digest = wire.Digest

// Bodies travel in chunks of 2^chunkLevel leaves, each a node of the tree.
const (
	chunkLevel  = 11
	chunkLeaves = 1 << chunkLevel
	maxPath     = 13 // in a tree of MaxParticipants+1 leaves
)

func chunks(leaves int) int { return (leaves + chunkLeaves - 1) / chunkLeaves }

// cut returns the chunks of a body, whose tree is t.
func cut(t wire.Tree, body []byte, size int) (out []Chunk) {
	for c := range chunks(len(t[0])) {
		lo, hi := c*chunkLeaves, min((c+1)*chunkLeaves, len(t[0]))
		// A last chunk of few leaves is a subtree that ends below chunkLevel
		// and is promoted to it.
		out = append(out, Chunk{Index: uint8(c), Path: t.Path(min(chunkLevel, len(t)-1), c), Body: body[lo*size : hi*size]})
	}
	return out
}

// fits reports whether a chunk is the one it says of a tree with that root.
func (c *Chunk) fits(root digest, leaves, size int) bool {
	index := int(c.Index)
	if index >= chunks(leaves) {
		return false
	}
	want := min(chunkLeaves, leaves-index*chunkLeaves)
	if len(c.Body) != want*size {
		return false
	}
	got, ok := wire.PathRoot(wire.CutTree(c.Body, size).Root(), index, chunks(leaves), c.Path)
	return ok && got == root
}
