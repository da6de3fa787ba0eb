package assembly

import (
	"crypto/sha256"
	"math/big"
	"testing"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/wire"
)

// TestChunks cuts trees at the sizes where chunks begin and end.
func TestChunks(t *testing.T) {
	for _, n := range []int{1, 7, chunkLeaves - 1, chunkLeaves, chunkLeaves + 1, 2*chunkLeaves + 1, wire.MaxParticipants + 1} {
		var body []byte
		for i := range n {
			leaf := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
			body = append(body, leaf[:]...)
		}
		tr := wire.CutTree(body, 32)
		root := tr.Root()
		if longest := len(tr.Path(0, 0)); longest > maxPath {
			t.Fatalf("a path of %d among %d leaves", longest, n)
		}
		for c, chunk := range cut(tr, body, 32) {
			if !chunk.fits(root, n, 32) {
				t.Fatalf("chunk %d of %d leaves does not fit", c, n)
			}
			chunk.Index++
			if chunk.fits(root, n, 32) {
				t.Fatalf("chunk %d of %d leaves fits elsewhere", c, n)
			}
		}
	}
}

// polynomial returns values at 0, …, n of one of degree below t.
func polynomial(t, n int) []bls.G1Point {
	values := make([]bls.G1Scalar, t)
	for i := range values {
		wide := sha256.Sum256([]byte{byte(t), byte(i), byte(i >> 8)})
		values[i] = scalar(new(big.Int).Mod(new(big.Int).SetBytes(wide[:]), order))
	}
	points := make([]bls.G1Point, n+1)
	for j, s := range g1.Extend(values, n) {
		g1.BaseMult(&points[j], &s)
	}
	return points
}

func TestDegrees(t *testing.T) {
	for _, c := range []struct{ t, n int }{{3, 4}, {4, 5}, {5, 7}, {7, 10}, {43, 64}, {100, 133}} {
		points := polynomial(c.t, c.n)
		if !lowDegree(points, c.t, []byte("x")) || !fullDegree(points, c.t) {
			t.Errorf("%d of %d: an honest dealing fails", c.t, c.n)
		}
		if lowDegree(polynomial(c.t+1, c.n), c.t, []byte("x")) {
			t.Errorf("%d of %d: a degree too high passes", c.t, c.n)
		}
		lower := polynomial(c.t-1, c.n)
		if !lowDegree(lower, c.t, []byte("x")) || fullDegree(lower, c.t) {
			t.Errorf("%d of %d: a degree too low passes for full", c.t, c.n)
		}
		for _, j := range []int{0, 1, c.t, c.n} {
			forged := append([]bls.G1Point(nil), points...)
			g1.AddPoint(&forged[j], &points[0])
			if lowDegree(forged, c.t, []byte("x")) {
				t.Errorf("%d of %d: a false point at %d passes", c.t, c.n, j)
			}
		}
	}
}

func TestParams(t *testing.T) {
	good := Params{N: 64, T: 43, Cohorts: 4, Dealers: 8, Deadlines: Deadlines{1, 1, 1, 1, 1, 1}}
	if err := good.Check(); err != nil || len(good.Encode()) != paramsSize {
		t.Fatal(err, len(good.Encode()))
	}
	for name, change := range map[string]func(*Params){
		"three participants": func(p *Params) { p.N, p.T = 3, 2 },
		"5000 participants":  func(p *Params) { p.N, p.T = 5000, 3334 },
		"low threshold":      func(p *Params) { p.T = 42 },
		"high threshold":     func(p *Params) { p.T = 44 },
		"no cohort":          func(p *Params) { p.Cohorts = 0 },
		"too many dealers":   func(p *Params) { p.Dealers = 16 },
		"all deal in two":    func(p *Params) { p.Cohorts, p.Dealers = 2, 0 },
		"no time":            func(p *Params) { p.Deadlines.Replay = 0 },
	} {
		p := good
		change(&p)
		if p.Check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
	exercise := good
	exercise.Exercise = true
	if exercise.ID() == good.ID() {
		t.Error("an exercise has the name of a real ceremony")
	}
}

// Entries cuts an archive: what comes before the entries, each entry, the seals.
func Entries(raw []byte) (head []byte, entries [][]byte, tail []byte) {
	f, rest, err := Begin(raw)
	head = raw[:len(raw)-len(rest)]
	for err == nil && rest[0] != entryEnd {
		d := wire.NewDecoder(rest[1:])
		if rest[0] == entryTick {
			err = f.takeTick(d)
		} else {
			err = f.takePost(d)
		}
		entries = append(entries, rest[:len(rest)-d.Len()])
		rest = rest[len(rest)-d.Len():]
	}
	if err != nil {
		panic(err)
	}
	return head, entries, rest
}
