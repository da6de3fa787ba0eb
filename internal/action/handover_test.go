package action

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math/bits"
	"testing"

	"pgregory.net/rapid"
)

func FuzzParseHandover(f *testing.F) {
	f.Add(Handover{Floor: Ceiling{1, 2, 3}, Past: Ceiling{1, 1, 1}, Held: 30, Floored: 6, Left: 8}.Encode())
	f.Add(Handover{}.Encode())
	f.Add(Stop{Incarnation: [32]byte{1}, Marks: [32]byte{2}, Signature: [64]byte{3}}.Encode())
	f.Add(EncodeMarks([]Ceiling{{1, 2, 3}, {}}))
	f.Fuzz(func(t *testing.T, in []byte) {
		if h, err := ParseHandover(in); err == nil && !bytes.Equal(h.Encode(), in) {
			t.Fatalf("parse then encode changed the hand-over %x", in)
		}
		if s, err := ParseStop(in); err == nil && !bytes.Equal(s.Encode(), in) {
			t.Fatalf("parse then encode changed the stop %x", in)
		}
		if m, err := ParseMarks(in); err == nil && !bytes.Equal(EncodeMarks(m), in) {
			t.Fatalf("parse then encode changed the marks %x", in)
		}
	})
}

// Whoever lies, and whoever speaks: as many stops as are needed put the floor
// above everything that a quorum signed, and one fewer do not.
func TestFloorIsAboveEveryQuorum(t *testing.T) {
	for n := 4; n <= 8; n++ {
		th, err := DefaultThreshold(n)
		if err != nil {
			t.Fatal(err)
		}
		h := Handover{Floor: Ceiling{9, 9, 9}, Held: (1<<n - 1) << 1}
		f := (n - 1) / 3
		for fewer := range 2 {
			needed := h.StopsNeeded(th.T()) - fewer
			missed := missedQuorum(h, n, th.T(), f, needed)
			if (missed != "") != (fewer == 1) {
				t.Errorf("%d of %d, %d stops: missed %q", th.T(), n, needed, missed)
			}
		}
		if h.StopsNeeded(th.T()) > n-f {
			t.Errorf("%d of %d: f that are silent hold the others up", th.T(), n)
		}
	}
}

// missedQuorum looks for t holders that signed slot 5, f liars and speakers by
// whose word slot 5 is free. Liars name zero; honest ones say what they signed.
func missedQuorum(h Handover, n, t, f, needed int) string {
	sets := func(size int) (all []uint) {
		for s := range uint(1) << n {
			if bits.OnesCount(s) == size {
				all = append(all, s)
			}
		}
		return all
	}
	for _, signers := range sets(t) {
		for _, liars := range sets(f) {
			for _, speakers := range sets(needed) {
				var said []Ceiling
				for i := range n {
					switch bit := uint(1) << i; {
					case speakers&bit == 0:
					case signers&^liars&bit != 0:
						said = append(said, Ceiling{Slot: 5})
					default:
						said = append(said, Ceiling{})
					}
				}
				if h.FloorAt(said, needed).Slot < 5 {
					return fmt.Sprintf("signers %b, liars %b, speakers %b", signers, liars, speakers)
				}
			}
		}
	}
	return ""
}

// The floor never leaves its bounds, falls as more is said, and does not rise
// beyond the honest for a liar once all have spoken.
func TestFloorAt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(4, 13).Draw(t, "n")
		th, err := DefaultThreshold(n)
		if err != nil {
			t.Fatal(err)
		}
		mark := func(most uint64) Ceiling {
			g := rapid.Uint64Range(0, most)
			return Ceiling{g.Draw(t, "slot"), g.Draw(t, "source"), g.Draw(t, "target")}
		}
		h := Handover{Past: mark(20), Held: (1<<n - 1) << 1}
		h.Floor = h.Past.Max(mark(100))
		needed := h.StopsNeeded(th.T())
		var said []Ceiling
		var honest Ceiling
		last := h.FloorAt(nil, needed)
		if last != h.Floor {
			t.Fatalf("nobody spoke, and the floor is %+v", last)
		}
		for i := range n {
			m := mark(50)
			if i < n-(n-1)/3 {
				honest = honest.Max(m)
			} else {
				m = Ceiling{1 << 60, 1 << 60, 1 << 60}
			}
			said = append(said, m)
			now := h.FloorAt(said, needed)
			if !last.Covers(now) || !now.Covers(h.Past) || !h.Floor.Covers(now) {
				t.Fatalf("%d spoke: from %+v to %+v, between %+v and %+v", i+1, last, now, h.Past, h.Floor)
			}
			last = now
		}
		if !h.Past.Max(honest).Covers(last) {
			t.Fatalf("liars hold the floor at %+v, the honest stopped at %+v", last, honest)
		}
	})
}

func TestStopIsSigned(t *testing.T) {
	id, key := lifeKey(t)
	s := Stop{Incarnation: id, Marks: HashMarks(EncodeMarks([]Ceiling{{1, 2, 3}}))}
	copy(s.Signature[:], key(s.Message(ClusterID{1}, DomainValidator, [32]byte{2}, 3)))
	if !s.Verify(ClusterID{1}, DomainValidator, [32]byte{2}, 3) {
		t.Fatal("its own word does not verify")
	}
	other := s
	other.Marks[0] ^= 1
	for what, ok := range map[string]bool{
		"another cluster":  s.Verify(ClusterID{2}, DomainValidator, [32]byte{2}, 3),
		"another domain":   s.Verify(ClusterID{1}, "secret", [32]byte{2}, 3),
		"another ceremony": s.Verify(ClusterID{1}, DomainValidator, [32]byte{3}, 3),
		"another seat":     s.Verify(ClusterID{1}, DomainValidator, [32]byte{2}, 4),
		"other marks":      other.Verify(ClusterID{1}, DomainValidator, [32]byte{2}, 3),
	} {
		if ok {
			t.Errorf("%s verifies", what)
		}
	}
}

func lifeKey(t *testing.T) (id [32]byte, sign func([]byte) []byte) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return [32]byte(pub), func(msg []byte) []byte { return ed25519.Sign(key, msg) }
}
