package eth

import (
	"errors"
	"fmt"
	"math/bits"
)

// Root is a hash-tree-root, or any other 32 bytes that stand in a chunk.
type Root [32]byte

// Container is an SSZ container. Visit names its fields in the order of their
// definition, and is all that there is to know about the type.
type Container interface{ Visit(Visitor) }

// Visitor reads or writes the fields of one container: one method for each
// kind of SSZ type. The name of an element of a sequence is empty.
type Visitor interface {
	// Preset holds the sizes that some fields depend on.
	Preset() Preset
	// Progressive, called first, says that the container is a
	// ProgressiveContainer (EIP-7495) with every field active.
	Progressive()

	Uint64(name string, v *uint64)
	Uint256(name string, v *Uint256)
	Bool(name string, v *bool)
	Bytes(name string, v []byte) // ByteVector[len(v)]
	ByteList(name string, v *[]byte, limit Limit)
	Bitvector(name string, v *[]byte, n uint64)
	Bitlist(name string, v *[]byte, limit Limit)
	Uint64s(name string, v *[]uint64, limit Limit)
	Container(name string, c Container)
	Vector(name string, s Sequence, n uint64)
	List(name string, s Sequence, limit Limit)
}

// Uint256 is an unsigned integer, little-endian.
type Uint256 [32]byte

// Limit bounds the length of a list. A progressive list (EIP-7916) has no
// limit in its type; N is then what other rules of the protocol allow.
type Limit struct {
	N           uint64
	Progressive bool
}

func atMost(n uint64) Limit      { return Limit{N: n} }
func progressive(n uint64) Limit { return Limit{N: n, Progressive: true} }

// Sequence is a list or vector of composite elements under a Visitor. A
// visitor that reads appends a zero element and then visits it.
type Sequence interface {
	Len() int
	Append()
	Visit(i int, v Visitor)
}

type sequence[T any] struct {
	s     *[]T
	visit func(Visitor, *T)
}

func (q sequence[T]) Len() int               { return len(*q.s) }
func (q sequence[T]) Append()                { *q.s = append(*q.s, *new(T)) }
func (q sequence[T]) Visit(i int, v Visitor) { q.visit(v, &(*q.s)[i]) }

func containers[T any, P interface {
	*T
	Container
}](s *[]T) Sequence {
	return sequence[T]{s, func(v Visitor, e *T) { v.Container("", P(e)) }}
}

func roots(s *[]Root) Sequence {
	return sequence[Root]{s, func(v Visitor, e *Root) { v.Bytes("", e[:]) }}
}

func bytes48s(s *[][48]byte) Sequence {
	return sequence[[48]byte]{s, func(v Visitor, e *[48]byte) { v.Bytes("", e[:]) }}
}

func byteLists(s *[][]byte, limit Limit) Sequence {
	return sequence[[]byte]{s, func(v Visitor, e *[]byte) { v.ByteList("", e, limit) }}
}

// CheckBitvector reports whether b is a Bitvector[n]: its length, and no bit
// set beyond n.
func CheckBitvector(b []byte, n uint64) error {
	if uint64(len(b)) != (n+7)/8 {
		return fmt.Errorf("not %d bits in %d bytes", n, (n+7)/8)
	}
	if n%8 != 0 && b[len(b)-1]>>(n%8) != 0 {
		return fmt.Errorf("a bit beyond the %d of the vector", n)
	}
	return nil
}

// CheckBitlist reports whether b is a bitlist, with its delimiting bit, of at
// most limit bits.
func CheckBitlist(b []byte, limit uint64) error {
	n, err := bitlistLen(b)
	if err == nil && n > limit {
		err = fmt.Errorf("over %d bits", limit)
	}
	return err
}

func bitlistLen(b []byte) (uint64, error) {
	if len(b) == 0 || b[len(b)-1] == 0 {
		return 0, errors.New("no delimiting bit at the end of the bitlist")
	}
	return uint64(len(b)-1)*8 + uint64(bits.Len8(b[len(b)-1])) - 1, nil
}
