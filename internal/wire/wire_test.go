package wire

import (
	"bytes"
	"errors"
	"testing"
)

// Golden bytes: changing them needs a decision record, because stored
// records and signatures stand on them.
func TestGolden(t *testing.T) {
	var e Encoder
	e.U8(1)
	e.U16(0x0203)
	e.U32(0x04050607)
	e.U64(0x08090a0b0c0d0e0f)
	e.Bool(true)
	e.Fixed([]byte{0xaa, 0xbb})
	e.Bytes([]byte("hi"))
	e.String("x")
	e.Count(3)
	want := []byte{
		1,    // U8
		2, 3, // U16, big-endian
		4, 5, 6, 7, // U32
		8, 9, 10, 11, 12, 13, 14, 15, // U64
		1,          // Bool
		0xaa, 0xbb, // Fixed
		0, 0, 0, 2, 'h', 'i', // Bytes
		0, 0, 0, 1, 'x', // String
		0, 0, 0, 3, // Count
	}
	if got := e.Out(); !bytes.Equal(got, want) {
		t.Fatalf("got %x want %x", got, want)
	}
}

func TestHashSeparatesParts(t *testing.T) {
	a := Hash(TagTx, []byte("ab"), []byte("c"))
	for _, b := range [][32]byte{
		Hash(TagTx, []byte("a"), []byte("bc")),
		Hash(TagTx, []byte("abc")),
		Hash(TagTx, []byte("ab"), []byte("c"), nil),
		Hash(TagCluster, []byte("ab"), []byte("c")),
	} {
		if a == b {
			t.Fatal("two preimages, one hash")
		}
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 2, 'h', 'i', 0, 0, 0, 1, 9})
	f.Add([]byte{0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, in []byte) {
		d := NewDecoder(in)
		b := d.Bool()
		s := d.Bytes(64)
		n := d.Count(8, 1)
		items := make([]byte, n)
		d.Fixed(items)
		if err := d.Finish(); err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("unwrapped error %v", err)
			}
			return
		}
		var e Encoder
		e.Bool(b)
		e.Bytes(s)
		e.Count(n)
		e.Fixed(items)
		if !bytes.Equal(e.Out(), in) {
			t.Fatalf("parse then marshal changed %x to %x", in, e.Out())
		}
	})
}
