package transcript

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"hash"
	"math/big"
)

// order is the number of scalars of BLS12-381.
var order, _ = new(big.Int).SetString("52435875175126190479447740508185965837690552500527637822603658699938581184513", 10)

const prefix = "quorate/v1/assembly"

// h and wide are the hashes of the specification: a tag and parts, each with
// its length in front.
func h(tag string, parts ...[]byte) [32]byte {
	s := sha256.New()
	frame(s, tag, parts)
	return [32]byte(s.Sum(nil))
}

func wide(tag string, parts ...[]byte) []byte {
	s := sha512.New()
	frame(s, tag, parts)
	return s.Sum(nil)
}

func frame(s hash.Hash, tag string, parts [][]byte) {
	for _, p := range append([][]byte{[]byte(tag)}, parts...) {
		s.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		s.Write(p)
	}
}

// scalar reduces a hash.
func scalar(wide []byte) *big.Int {
	v := new(big.Int).SetBytes(wide)
	return v.Mod(v, order)
}

func u16(v int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(v)) }

// root is that of RFC 6962 over equal leaves.
func root(body []byte, size int) [32]byte {
	n := len(body) / size
	if n == 1 {
		return sha256.Sum256(append([]byte{0}, body...))
	}
	split := 1
	for split*2 < n {
		split *= 2
	}
	l, r := root(body[:split*size], size), root(body[split*size:], size)
	return sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
}

var errShort = errors.New("it ends early")

// reader cuts fields off the front; past the end everything is empty.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) number(size int) (v int) {
	for _, b := range r.take(size) {
		v = v<<8 | int(b)
	}
	return v
}
