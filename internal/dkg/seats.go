package dkg

import (
	"iter"
	"math/bits"
	"strconv"
	"strings"

	"github.com/quorate/quorate/internal/wire"
)

// Seats is a set of seats 1, …, wire.MaxNodes.
type Seats uint32

// AllSeats returns 1, …, n.
func AllSeats(n int) Seats { return (1<<n - 1) << 1 }

func only(i int) Seats {
	if i < 1 || i > wire.MaxNodes {
		return 0
	}
	return 1 << i
}

func (s Seats) Has(i int) bool        { return s&only(i) != 0 }
func (s Seats) With(i int) Seats      { return s | only(i) }
func (s Seats) Without(o Seats) Seats { return s &^ o }
func (s Seats) Len() int              { return bits.OnesCount32(uint32(s)) }

// All yields the seats in ascending order.
func (s Seats) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 1; i <= wire.MaxNodes; i++ {
			if s.Has(i) && !yield(i) {
				return
			}
		}
	}
}

// before counts the members below i.
func (s Seats) before(i int) int { return (s & (only(i) - 1)).Len() }

func (s Seats) String() string {
	var names []string
	for i := range s.All() {
		names = append(names, strconv.Itoa(i))
	}
	return "{" + strings.Join(names, ",") + "}"
}

// First returns the n lowest members.
func (s Seats) First(n int) (out Seats) {
	for i := range s.All() {
		if out.Len() < n {
			out = out.With(i)
		}
	}
	return out
}

// Dealers returns the seats as a set of dealers.
func (s Seats) Dealers() (out Dealers) {
	for i := range s.All() {
		out = out.With(i)
	}
	return out
}

func readSeats(d *wire.Decoder, within Seats) Seats {
	s := Seats(d.U32())
	if s.Without(within) != 0 {
		d.Fail(errSeat)
		return 0
	}
	return s
}
