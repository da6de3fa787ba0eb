package rehearsal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/wire"
)

// anySeat is one that there is, or one beyond.
func anySeat(chance *rand.Rand, n int) uint16 {
	return [...]uint16{0, uint16(1 + chance.IntN(n)), uint16(n), uint16(n + 1), 1<<16 - 1}[chance.IntN(5)]
}

// bendMessage changes what a message says so that it can still be read, mostly:
// a path's length, whom it speaks of, what it leaves out.
func bendMessage(chance *rand.Rand, raw []byte, n int) []byte {
	m, err := assembly.ParseMessage(raw)
	if err != nil {
		return raw
	}
	path := func() []wire.Digest { return make([]wire.Digest, chance.IntN(longestPath+3)) }
	more := func(seats []uint16) []uint16 { return slices.Sorted(slices.Values(append(seats, anySeat(chance, n)))) }
	switch m := m.(type) {
	case *assembly.Join:
		m.HybridKey = make([]byte, chance.IntN(2)*1216)
	case *assembly.Header:
		switch chance.IntN(3) {
		case 0:
			m.Constant = [48]byte{0xc0}
		case 1:
			m.Mail = wire.Digest{}
		default:
			m.Mail[0] ^= 1
		}
	case *assembly.Chunk:
		m.Index, m.Path = uint8(chance.IntN(3)), path()
	case *assembly.Report:
		switch chance.IntN(3) {
		case 0:
			m.Accusations = append(m.Accusations, assembly.Accusation{Dealer: anySeat(chance, n), At: anySeat(chance, n)})
		case 1:
			m.Withheld = more(m.Withheld)
		default:
			if len(m.Complaints) == 0 {
				m.Complaints = make([]assembly.Complaint, 1)
				m.Complaints[0].Dealer = anySeat(chance, n)
			}
			m.Complaints[0].Path = path()
		}
	case *assembly.Opening:
		m.Path = path()
	case *assembly.Posting:
		m.Path = path()
	case *assembly.Vote:
		if chance.IntN(2) == 0 {
			m.Faulty = more(m.Faulty)
		} else {
			m.Liars = more(m.Liars)
		}
	case *assembly.Confirm:
		m.Attestation = [96]byte{0xc0}
	}
	return m.Encode()
}

// longestPath is the longest that a message may have; a longer one is not read.
const longestPath = 13

// A path that leads nowhere is a false answer or a false complaint. One that is
// longer than any tree is high is no path: nobody may be blamed for it by the
// one implementation and not by the other.
func (j judges) onLongPaths(t *testing.T) {
	files, want := map[string][]byte{}, 0
	for kind, c := range map[string]Config{
		"opening":   {Participants: 4, Malicious: 25, Hybrid: true, Faults: []assembly.Sabotage{assembly.BadShare}, Seed: "long opening"},
		"complaint": {Participants: 4, Malicious: 25, Faults: []assembly.Sabotage{assembly.FalseComplaint}, Seed: "long complaint"},
	} {
		w, err := newWorld(c)
		if err != nil {
			t.Fatal(err)
		}
		defer w.destroy()
		deeds := w.deeds(t, play(t, c).Archive)
		for _, long := range []int{longestPath, longestPath + 1} {
			cut, found := slices.Clone(deeds), false
			for i := range cut {
				if cut[i].seat == 0 {
					continue
				}
				m, err := assembly.ParseMessage(cut[i].message)
				if err != nil {
					t.Fatal(err)
				}
				switch m := m.(type) {
				case *assembly.Opening:
					m.Path, found = make([]wire.Digest, long), true
				case *assembly.Report:
					if kind != "complaint" || len(m.Complaints) == 0 {
						continue
					}
					m.Complaints[0].Path, found = make([]wire.Digest, long), true
				default:
					continue
				}
				cut[i].message = m.Encode()
				if kind == "opening" { // who lied is out for another reason, and later words change: end here
					cut = cut[:i+1]
					break
				}
			}
			if !found {
				t.Fatalf("no %s", kind)
			}
			if kind == "opening" {
				cut = append(cut, timeOut()...)
			}
			files[fmt.Sprintf("%s with a path of %d", kind, long)] = w.signed(cut, c.Participants)
		}
		want++
	}
	if verified := j.compare(t, files); verified != want {
		t.Errorf("%d of %d verify, want %d", verified, len(files), want)
	}
}

// timeOut is nothing but time, until any ceremony has ended.
func timeOut() (out []deed) {
	for k := range uint64(12) {
		out = append(out, deed{now: 1_800_000_000_000 + (k+1)*joinTime, random: [32]byte{1}})
	}
	return out
}
