package signerapi

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"golang.org/x/crypto/sha3"

	"github.com/quorate/quorate/internal/eth"
)

// reader fills containers from JSON: an eth.Visitor over one object, or over
// one element of an array. The first error of a request sticks.
type reader struct {
	preset eth.Preset
	val    *value
	parent *reader
	name   string // of val in parent
	err    **fieldError
}

var _ eth.Visitor = (*reader)(nil)

func newReader(v *value, preset eth.Preset) *reader {
	return &reader{preset: preset, val: v, err: new(*fieldError)}
}

func (r *reader) failure() error {
	if *r.err == nil {
		return nil
	}
	return *r.err
}

// fail refuses the field of that name in r.
func (r *reader) fail(name, reason string) {
	if *r.err != nil {
		return
	}
	path := name
	for at := r; at.parent != nil; at = at.parent {
		switch {
		case at.name == "": // the object that is an element
		case path == "":
			path = at.name
		case path[0] == '[':
			path = at.name + path
		default:
			path = at.name + "." + path
		}
	}
	*r.err = &fieldError{path, reason}
}

// optional returns the field of that name, nil if it is absent or null. The
// empty name is the value itself.
func (r *reader) optional(name string) *value {
	if name == "" {
		return r.val
	}
	for i := range r.val.members {
		if m := &r.val.members[i]; m.key == name {
			m.read = true
			if m.val.kind == 'n' {
				return nil
			}
			return &m.val
		}
	}
	return nil
}

// field returns the field of that name and kind, or fails.
func (r *reader) field(name string, kind byte) *value {
	if *r.err != nil {
		return nil
	}
	v := r.optional(name)
	switch {
	case v == nil:
		r.fail(name, "missing")
		return nil
	case v.kind != kind:
		r.fail(name, "not "+map[byte]string{'{': "an object", '[': "a list", '"': "a string"}[kind])
		return nil
	}
	return v
}

// object returns a reader of the object of that name, nil if it fails.
func (r *reader) object(name string) *reader {
	v := r.field(name, '{')
	if v == nil {
		return nil
	}
	return &reader{preset: r.preset, val: v, parent: r, name: name, err: r.err}
}

func (r *reader) has(name string) bool { return r.optional(name) != nil }

// finish refuses what nobody has read.
func (r *reader) finish() {
	for i := range r.val.members {
		if m := &r.val.members[i]; !m.read {
			r.fail("", fmt.Sprintf("unknown field %.40q", m.key))
			return
		}
	}
}

func (r *reader) Preset() eth.Preset { return r.preset }
func (r *reader) Progressive()       {}

func (r *reader) Container(name string, c eth.Container) {
	if o := r.object(name); o != nil {
		c.Visit(o)
		o.finish()
	}
}

func (r *reader) Bool(name string, v *bool) {
	if *r.err != nil {
		return
	}
	f := r.optional(name)
	switch {
	case f == nil:
		r.fail(name, "missing")
	case f.kind != 't' && f.kind != 'f':
		r.fail(name, "neither true nor false")
	default:
		*v = f.kind == 't'
	}
}

// decimal returns the digits of an integer, which may stand in a string.
func (r *reader) decimal(name string) (string, bool) {
	if *r.err != nil {
		return "", false
	}
	f := r.optional(name)
	switch {
	case f == nil:
		r.fail(name, "missing")
	case f.kind != '"' && f.kind != '0' || !isDecimal(f.text):
		r.fail(name, "not a decimal integer")
	default:
		return f.text, true
	}
	return "", false
}

func (r *reader) Uint64(name string, v *uint64) {
	digits, ok := r.decimal(name)
	if !ok {
		return
	}
	x, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		r.fail(name, "over 64 bits")
	}
	*v = x
}

func (r *reader) Uint256(name string, v *eth.Uint256) {
	digits, ok := r.decimal(name)
	if !ok {
		return
	}
	x := new(big.Int)
	if len(digits) > 78 {
		r.fail(name, "over 256 bits")
		return
	}
	if x.SetString(digits, 10); x.BitLen() > 256 {
		r.fail(name, "over 256 bits")
		return
	}
	for i, b := range x.FillBytes(make([]byte, 32)) {
		v[31-i] = b // SSZ is little-endian
	}
}

// digits returns what follows 0x.
func (r *reader) digits(name string) (string, bool) {
	f := r.field(name, '"')
	if f == nil {
		return "", false
	}
	digits, ok := strings.CutPrefix(f.text, "0x")
	if !ok {
		r.fail(name, "no 0x in front")
	}
	return digits, ok
}

// hex fills dst, of whose length digits must be.
func (r *reader) hex(name string, dst []byte, digits string) {
	if strings.ContainsAny(digits, "ABCDEF") && (len(dst) != len(eth.ExecutionAddress{}) || !isChecksummed(digits)) {
		r.fail(name, "upper-case hexadecimal digits")
		return
	}
	if _, err := hex.Decode(dst, []byte(digits)); err != nil {
		r.fail(name, "not hexadecimal")
	}
}

// isChecksummed reports whether the digits of an address have the case that
// EIP-55 gives them: Lodestar writes addresses so.
func isChecksummed(digits string) bool {
	lower := []byte(strings.ToLower(digits))
	h := sha3.NewLegacyKeccak256()
	h.Write(lower)
	for i, nibble := range []byte(hex.EncodeToString(h.Sum(nil)))[:len(lower)] {
		if nibble >= '8' {
			lower[i] = bytes.ToUpper(lower[i : i+1])[0]
		}
	}
	return string(lower) == digits
}

func (r *reader) Bytes(name string, v []byte) {
	digits, ok := r.digits(name)
	if !ok {
		return
	}
	if len(digits) != 2*len(v) {
		r.fail(name, fmt.Sprintf("not %d bytes", len(v)))
		return
	}
	r.hex(name, v, digits)
}

func (r *reader) ByteList(name string, v *[]byte, limit eth.Limit) {
	digits, ok := r.digits(name)
	if !ok {
		return
	}
	switch {
	case len(digits)%2 != 0:
		r.fail(name, "odd number of hexadecimal digits")
	case uint64(len(digits)/2) > limit.N:
		r.fail(name, fmt.Sprintf("over %d bytes", limit.N))
	default:
		*v = make([]byte, len(digits)/2)
		r.hex(name, *v, digits)
	}
}

func (r *reader) Bitvector(name string, v *[]byte, n uint64) {
	r.ByteList(name, v, eth.Limit{N: (n + 7) / 8})
	r.check(name, func() error { return eth.CheckBitvector(*v, n) })
}

func (r *reader) Bitlist(name string, v *[]byte, limit eth.Limit) {
	r.ByteList(name, v, eth.Limit{N: limit.N/8 + 1})
	r.check(name, func() error { return eth.CheckBitlist(*v, limit.N) })
}

func (r *reader) check(name string, check func() error) {
	if *r.err == nil {
		if err := check(); err != nil {
			r.fail(name, err.Error())
		}
	}
}

// list returns the elements under name and a reader to put over each in turn.
func (r *reader) list(name string, limit uint64) ([]value, func(i int) *reader) {
	f := r.field(name, '[')
	if f == nil {
		return nil, nil
	}
	if uint64(len(f.items)) > limit {
		r.fail(name, fmt.Sprintf("over %d elements", limit))
		return nil, nil
	}
	array := &reader{preset: r.preset, val: f, parent: r, name: name, err: r.err}
	return f.items, func(i int) *reader {
		return &reader{preset: r.preset, val: &f.items[i], parent: array, name: "[" + strconv.Itoa(i) + "]", err: r.err}
	}
}

func (r *reader) Uint64s(name string, v *[]uint64, limit eth.Limit) {
	items, at := r.list(name, limit.N)
	*v = make([]uint64, len(items))
	for i := range items {
		at(i).Uint64("", &(*v)[i])
	}
}

func (r *reader) List(name string, s eth.Sequence, limit eth.Limit) {
	items, at := r.list(name, limit.N)
	for i := range items {
		s.Append()
		s.Visit(i, at(i))
	}
}

func (r *reader) Vector(name string, s eth.Sequence, n uint64) {
	r.List(name, s, eth.Limit{N: n})
	if *r.err == nil && uint64(s.Len()) != n {
		r.fail(name, fmt.Sprintf("not %d elements", n))
	}
}
