package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrMalformed is wrapped by every decoding error.
var ErrMalformed = errors.New("malformed encoding")

// Encoder appends canonical fields to a buffer. The zero value is ready to use.
type Encoder struct{ b []byte }

// NewEncoder returns an encoder that appends to buf.
func NewEncoder(buf []byte) *Encoder { return &Encoder{b: buf} }

// NewMessage begins a message of a ceremony with its kind and the ceremony's id.
func NewMessage(kind byte, ceremony [32]byte) *Encoder {
	return &Encoder{b: append([]byte{kind}, ceremony[:]...)}
}

func (e *Encoder) U8(v uint8)   { e.b = append(e.b, v) }
func (e *Encoder) U16(v uint16) { e.b = binary.BigEndian.AppendUint16(e.b, v) }
func (e *Encoder) U32(v uint32) { e.b = binary.BigEndian.AppendUint32(e.b, v) }
func (e *Encoder) U64(v uint64) { e.b = binary.BigEndian.AppendUint64(e.b, v) }

// Bool writes 1 or 0; a decoder accepts nothing else.
func (e *Encoder) Bool(v bool) {
	if v {
		e.U8(1)
	} else {
		e.U8(0)
	}
}

// Fixed writes b without a length: the reader knows it from the type.
func (e *Encoder) Fixed(b []byte) { e.b = append(e.b, b...) }

// Bytes writes a 32-bit length and b.
func (e *Encoder) Bytes(b []byte) {
	if uint64(len(b)) > math.MaxUint32 {
		panic("wire: value longer than a length prefix can say")
	}
	e.U32(uint32(len(b)))
	e.b = append(e.b, b...)
}

// String writes a 32-bit length and the bytes of s.
func (e *Encoder) String(s string) {
	e.U32(uint32(len(s)))
	e.b = append(e.b, s...)
}

// Count writes the number of items that follow.
func (e *Encoder) Count(n int) { e.U32(uint32(n)) }

// Len is the number of bytes written.
func (e *Encoder) Len() int { return len(e.b) }

// Out returns what was written. The encoder must not be used afterwards.
func (e *Encoder) Out() []byte { return e.b }

// Decoder reads canonical fields. The first error sticks: every later read
// returns a zero value, so that a parser checks once, at Finish.
type Decoder struct {
	b   []byte
	err error
}

// NewDecoder reads from b. Byte slices that it returns are copies.
func NewDecoder(b []byte) *Decoder { return &Decoder{b: b} }

func (d *Decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
}

// Fail records err, for a parser that finds a field invalid.
func (d *Decoder) Fail(err error) {
	if d.err == nil && err != nil {
		d.err = fmt.Errorf("%w: %w", ErrMalformed, err)
	}
}

func (d *Decoder) take(n int) []byte {
	if d.err != nil {
		return nil
	}
	if n < 0 || n > len(d.b) {
		d.fail("%d bytes wanted, %d left", n, len(d.b))
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *Decoder) U8() uint8 {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *Decoder) U16() uint16 {
	if b := d.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (d *Decoder) U32() uint32 {
	if b := d.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *Decoder) U64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *Decoder) Bool() bool {
	v := d.U8()
	if v > 1 {
		d.fail("boolean is %d", v)
	}
	return v == 1
}

// Fixed fills dst.
func (d *Decoder) Fixed(dst []byte) { copy(dst, d.take(len(dst))) }

// Bytes reads a length-prefixed value of at most max bytes.
func (d *Decoder) Bytes(max int) []byte {
	n := d.U32()
	if d.err == nil && uint64(n) > uint64(max) {
		d.fail("length %d over the limit of %d", n, max)
	}
	b := d.take(int(n))
	if d.err != nil {
		return nil
	}
	return append([]byte(nil), b...)
}

// String reads a length-prefixed string of at most max bytes.
func (d *Decoder) String(max int) string { return string(d.Bytes(max)) }

// Count reads a number of items, at most max, each of at least itemSize
// bytes: what is left bounds it, so that a caller may allocate by it.
func (d *Decoder) Count(max, itemSize int) int {
	n := d.U32()
	if d.err != nil {
		return 0
	}
	if uint64(n) > uint64(max) {
		d.fail("count %d over the limit of %d", n, max)
		return 0
	}
	if itemSize > 0 && uint64(n)*uint64(itemSize) > uint64(len(d.b)) {
		d.fail("%d items announced, %d bytes left", n, len(d.b))
		return 0
	}
	return int(n)
}

// Rest returns all that is left.
func (d *Decoder) Rest() []byte { return append([]byte(nil), d.take(len(d.b))...) }

// Len is the number of bytes left.
func (d *Decoder) Len() int { return len(d.b) }

// Err returns the first error.
func (d *Decoder) Err() error { return d.err }

// Finish returns the first error, or one if bytes are left over.
func (d *Decoder) Finish() error {
	if d.err == nil && len(d.b) != 0 {
		d.fail("%d trailing bytes", len(d.b))
	}
	return d.err
}
