package dkg

import (
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"strconv"
	"strings"

	"github.com/quorate/quorate/internal/wire"
)

// Dealers is a set of those who deal, by number: seats, or participants of the
// assembly that hands its key over. It is bits, bit i%8 of byte i/8 for number
// i, without zeros at the end, so that equal sets are equal strings.
type Dealers string

// maxDealers is the length of the largest set.
const maxDealers = wire.MaxParticipants/8 + 1

var errDealers = errors.New("not a set of dealers")

// Has reports whether a number is in the set.
func (s Dealers) Has(i int) bool { return i >= 0 && i/8 < len(s) && s[i/8]>>(i%8)&1 == 1 }

// With returns the set and one number more.
func (s Dealers) With(i int) Dealers {
	b := make([]byte, max(len(s), i/8+1))
	copy(b, s)
	b[i/8] |= 1 << (i % 8)
	return Dealers(b)
}

// Union returns those of either set, Without those of s that are not in o.
func (s Dealers) Union(o Dealers) Dealers {
	return merge(s, o, func(a, b byte) byte { return a | b })
}

func (s Dealers) Without(o Dealers) Dealers {
	return merge(s, o, func(a, b byte) byte { return a &^ b })
}

func merge(s, o Dealers, op func(a, b byte) byte) Dealers {
	out := make([]byte, max(len(s), len(o)))
	used := 0
	for i := range out {
		var a, b byte
		if i < len(s) {
			a = s[i]
		}
		if i < len(o) {
			b = o[i]
		}
		if out[i] = op(a, b); out[i] != 0 {
			used = i + 1
		}
	}
	return Dealers(out[:used])
}

// Len returns how many there are.
func (s Dealers) Len() (n int) {
	for i := range len(s) {
		n += bits.OnesCount8(s[i])
	}
	return n
}

// All yields the numbers in ascending order.
func (s Dealers) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range 8 * len(s) {
			if s.Has(i) && !yield(i) {
				return
			}
		}
	}
}

// First returns the n lowest.
func (s Dealers) First(n int) Dealers {
	out, left := make([]byte, len(s)), n
	for i := range s.All() {
		if left == 0 {
			break
		}
		out[i/8] |= 1 << (i % 8)
		left--
	}
	return Dealers(out).Union("")
}

// listed bounds how many String names.
const listed = wire.MaxNodes

// String names a few dealers, and counts many.
func (s Dealers) String() string {
	if n := s.Len(); n > listed {
		return fmt.Sprintf("{%d dealers}", n)
	}
	var names []string
	for i := range s.All() {
		names = append(names, strconv.Itoa(i))
	}
	return "{" + strings.Join(names, ",") + "}"
}

// readDealers reads a set of numbers from 1 to most.
func readDealers(d *wire.Decoder, most int) Dealers {
	s := Dealers(d.Bytes(maxDealers))
	last := len(s) - 1
	if s.Has(0) || last >= 0 && (s[last] == 0 || 8*last+bits.Len8(s[last])-1 > most) {
		d.Fail(errDealers)
		return ""
	}
	return s
}
