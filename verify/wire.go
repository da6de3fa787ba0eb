package verify

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// decoder reads the canonical encoding: big-endian integers of fixed width,
// 32-bit lengths and counts, nothing optional. The first error sticks. Slices
// that it returns are parts of the input.
type decoder struct {
	in  []byte
	at  int
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("byte %d: %s", d.at, fmt.Sprintf(format, args...))
	}
}

// fixed returns n bytes, which after an error are zero.
func (d *decoder) fixed(n int) []byte {
	if d.err == nil && n > len(d.in)-d.at {
		d.fail("%d bytes wanted, %d left", n, len(d.in)-d.at)
	}
	if d.err != nil {
		return make([]byte, min(n, 64)) // no field of fixed width is longer
	}
	d.at += n
	return d.in[d.at-n : d.at]
}

func (d *decoder) u8() uint8   { return d.fixed(1)[0] }
func (d *decoder) u16() uint16 { return binary.BigEndian.Uint16(d.fixed(2)) }
func (d *decoder) u32() uint32 { return binary.BigEndian.Uint32(d.fixed(4)) }
func (d *decoder) u64() uint64 { return binary.BigEndian.Uint64(d.fixed(8)) }

func (d *decoder) hash() (h [32]byte) {
	copy(h[:], d.fixed(32))
	return h
}

func (d *decoder) bool() bool {
	v := d.u8()
	if v > 1 {
		d.fail("boolean is %d", v)
	}
	return v == 1
}

// bytes reads a length of at most limit, and so many bytes.
func (d *decoder) bytes(limit int) []byte {
	n := d.u32()
	if uint64(n) > uint64(limit) {
		d.fail("length %d over the limit of %d", n, limit)
	}
	if d.err != nil {
		return nil
	}
	return d.fixed(int(n))
}

// count reads how many items of at least size bytes follow.
func (d *decoder) count(limit, size int) int {
	n := d.u32()
	if uint64(n) > uint64(limit) || uint64(n)*uint64(size) > uint64(len(d.in)-d.at) {
		d.fail("%d items announced", n)
	}
	if d.err != nil {
		return 0
	}
	return int(n)
}

// end returns the first error, or one if bytes are left.
func (d *decoder) end() error {
	if d.err == nil && d.at != len(d.in) {
		d.fail("%d bytes too many", len(d.in)-d.at)
	}
	return d.err
}

// tagged is H of spec/ledger.md: SHA-256 over tag and parts, each after its
// 64-bit length. It appends them to scratch, which a caller that hashes often
// gives again.
func tagged(scratch []byte, tag string, parts ...[]byte) ([32]byte, []byte) {
	scratch = binary.BigEndian.AppendUint64(scratch[:0], uint64(len(tag)))
	scratch = append(scratch, tag...)
	for _, p := range parts {
		scratch = binary.BigEndian.AppendUint64(scratch, uint64(len(p)))
		scratch = append(scratch, p...)
	}
	return sha256.Sum256(scratch), scratch
}

func taggedHash(tag string, parts ...[]byte) [32]byte {
	h, _ := tagged(nil, tag, parts...)
	return h
}

// Limits of spec/evidence.md and spec/ledger.md.
const (
	maxNodes       = 16
	maxName        = 64
	maxField       = 1 << 10
	maxEvent       = 8 << 10
	maxTransaction = 512 << 10
	maxCertificate = 64 << 10
	maxLinks       = 32
	maxChainID     = 50
	maxCheckpoint  = 256 << 10
	maxReceipt     = 4 << 20
	maxRequest     = 1 << 10
	maxPath        = 64
	maxGenesis     = 1 << 20
	maxProof       = 256 << 10
)
