package transcript

import (
	"errors"
	"slices"

	"github.com/cloudflare/circl/kem/xwing"
)

// Messages of ceremonies among thousands, as they are parsed.

type join struct{ key, proof, letters []byte }

type chunk struct {
	index int
	path  []digest
	body  []byte
}

type report struct {
	transcript  digest
	accusations []accusation // of nobody yet
	complaints  []complaint
	withheld    []int
}

type complaint struct {
	dealer              int
	shared, proof, leaf []byte
	path                []digest
}

type opening struct {
	recipient int
	coins     []byte
	path      []digest
}

type posting struct {
	recipient int
	letter    []byte
	path      []digest
}

type vote struct {
	transcript    digest
	faulty, liars []int
	root          digest
}

type confirmation struct {
	result      digest
	attestation []byte
}

func (v *vote) equal(o *vote) bool {
	return v.transcript == o.transcript && slices.Equal(v.faulty, o.faulty) && slices.Equal(v.liars, o.liars) && v.root == o.root
}

// Kinds of messages.
const (
	kindJoin = 1 + iota
	kindHeader
	kindDealing
	kindReport
	kindOpening
	kindPosting
	kindVote
	kindSums
	kindConfirm
)

// take parses a message of a seat and lets the board take it.
func (b *board) take(from int, raw []byte) error {
	r := &reader{all: raw}
	kind := r.number(1)
	if r.digest() != b.id {
		return errors.New("a message of another ceremony")
	}
	var do func() error
	switch kind {
	case kindJoin:
		m := &join{r.take(32), r.take(64), r.string(letterKeySize)}
		if !isPublicKey(m.key) || len(m.letters) > 0 && !isLetterKey(m.letters) {
			return errKey
		}
		do = func() error { return b.takeJoin(from, m) }
	case kindHeader:
		m := readHeader(r)
		do = func() error { return b.takeHeader(from, m) }
	case kindDealing:
		m := readChunk(r)
		do = func() error { return b.takeDealing(from, m) }
	case kindReport:
		m := readReport(r)
		do = func() error { return b.takeReport(from, m) }
	case kindOpening:
		m := &opening{r.number(2), r.take(xwing.EncapsulationSeedSize), r.path()}
		do = func() error { return b.takeOpening(from, m) }
	case kindPosting:
		m := &posting{r.number(2), r.take(letterSize), r.path()}
		do = func() error { return b.takePosting(from, m) }
	case kindVote:
		m := &vote{r.digest(), r.ascending(mostDeal), r.ascending(mostSeats), r.digest()}
		do = func() error { return b.takeVote(from, m) }
	case kindSums:
		m := readChunk(r)
		do = func() error { return b.takeSums(from, m) }
	case kindConfirm:
		m := &confirmation{r.digest(), r.take(96)}
		do = func() error { return b.takeConfirm(from, m) }
	default:
		return errors.New("a message of no known kind")
	}
	if err := r.end(); err != nil {
		return err
	}
	return do()
}

func readReport(r *reader) *report {
	m := &report{transcript: r.digest()}
	last := -1
	dealer := func() int {
		d := r.number(2)
		if d <= last {
			r.fail(errOrder)
		}
		last = d
		return d
	}
	for range r.count(mostDeal, 4) {
		m.accusations = append(m.accusations, accusation{dealer: dealer(), at: r.number(2)})
	}
	last = -1
	for range r.count(mostDeal, 2+32+64+leafSize) {
		m.complaints = append(m.complaints, complaint{dealer(), r.take(32), r.take(64), r.take(leafSize), r.path()})
	}
	m.withheld = r.ascending(mostDeal)
	return m
}

// ascending reads a list of seats.
func (r *reader) ascending(limit int) (out []int) {
	last := 0
	for range r.count(limit, 2) {
		i := r.number(2)
		if i <= last {
			r.fail(errOrder)
		}
		last, out = i, append(out, i)
	}
	return out
}

func readChunk(r *reader) *chunk { return &chunk{r.number(1), r.path(), r.string(256 << 10)} }

// chunkLeaves is how many leaves a chunk has, but for the last.
const chunkLeaves = 2048

func chunks(leaves int) int { return (leaves + chunkLeaves - 1) / chunkLeaves }

// fits tells whether a chunk is the one it says, of a tree with that root.
func (c *chunk) fits(top digest, leaves, size int) bool {
	if c.index >= chunks(leaves) || len(c.body) != min(chunkLeaves, leaves-c.index*chunkLeaves)*size {
		return false
	}
	return leads(root(c.body, size), c.index, chunks(leaves), c.path, top)
}
