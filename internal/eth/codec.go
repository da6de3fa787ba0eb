package eth

import (
	"fmt"

	"github.com/quorate/quorate/internal/wire"
)

// encoder and decoder are the two directions of the canonical encoding. They
// do not know the network: bitfields and lists carry their lengths, bounded by
// the mainnet preset, and HashTreeRoot checks them against the real one.
type encoder struct{ *wire.Encoder }

type decoder struct{ *wire.Decoder }

var (
	_ Visitor = encoder{}
	_ Visitor = decoder{}
)

func (e encoder) Preset() Preset                           { return mainnetPreset }
func (e encoder) Progressive()                             {}
func (e encoder) Uint64(_ string, v *uint64)               { e.U64(*v) }
func (e encoder) Uint256(_ string, v *Uint256)             { e.Fixed(v[:]) }
func (e encoder) Bool(_ string, v *bool)                   { e.Encoder.Bool(*v) }
func (e encoder) Bytes(_ string, v []byte)                 { e.Fixed(v) }
func (e encoder) ByteList(_ string, v *[]byte, _ Limit)    { e.Encoder.Bytes(*v) }
func (e encoder) Bitvector(_ string, v *[]byte, _ uint64)  { e.Encoder.Bytes(*v) }
func (e encoder) Bitlist(_ string, v *[]byte, _ Limit)     { e.Encoder.Bytes(*v) }
func (e encoder) Container(_ string, c Container)          { c.Visit(e) }
func (e encoder) Vector(name string, s Sequence, n uint64) { e.List(name, s, atMost(n)) }
func (e encoder) Uint64s(_ string, v *[]uint64, limit Limit) {
	e.Count(len(*v))
	for _, x := range *v {
		e.U64(x)
	}
}

func (e encoder) List(_ string, s Sequence, _ Limit) {
	e.Count(s.Len())
	for i := range s.Len() {
		s.Visit(i, e)
	}
}

func (d decoder) Preset() Preset                           { return mainnetPreset }
func (d decoder) Progressive()                             {}
func (d decoder) Uint64(_ string, v *uint64)               { *v = d.U64() }
func (d decoder) Uint256(_ string, v *Uint256)             { d.Fixed(v[:]) }
func (d decoder) Bool(_ string, v *bool)                   { *v = d.Decoder.Bool() }
func (d decoder) Bytes(_ string, v []byte)                 { d.Fixed(v) }
func (d decoder) Container(_ string, c Container)          { c.Visit(d) }
func (d decoder) Vector(name string, s Sequence, n uint64) { d.List(name, s, atMost(n)) }

func (d decoder) ByteList(_ string, v *[]byte, limit Limit) {
	*v = d.Decoder.Bytes(intLimit(limit.N))
}

func (d decoder) Bitvector(_ string, v *[]byte, n uint64) {
	*v = d.Decoder.Bytes(intLimit((n + 7) / 8))
}

func (d decoder) Bitlist(name string, v *[]byte, limit Limit) {
	*v = d.Decoder.Bytes(intLimit(limit.N/8 + 1))
	if d.Err() == nil {
		if err := CheckBitlist(*v, limit.N); err != nil {
			d.Fail(fmt.Errorf("%s: %w", name, err))
		}
	}
}

func (d decoder) Uint64s(_ string, v *[]uint64, limit Limit) {
	n := d.Count(intLimit(limit.N), 8)
	*v = make([]uint64, n)
	for i := range *v {
		(*v)[i] = d.U64()
	}
}

// List grows the sequence by one element at a time, so that it allocates no
// more than there are bytes to read.
func (d decoder) List(_ string, s Sequence, limit Limit) {
	n := d.Count(intLimit(limit.N), 1)
	for i := 0; i < n && d.Err() == nil; i++ {
		s.Append()
		s.Visit(i, d)
	}
}

func intLimit(n uint64) int { return int(min(n, wire.MaxHTTPBody)) }
