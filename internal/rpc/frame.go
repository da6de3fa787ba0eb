package rpc

import (
	"bufio"
	"fmt"
	"io"

	"github.com/quorate/quorate/internal/wire"
)

const (
	kindRequest = 1
	kindReply   = 2
	kindCancel  = 3

	headerSize = 1 + 8 + 2 + 4

	// readStep is how much is allocated for a body before any of it came.
	readStep = 64 << 10
)

// MethodPing is the method that the server answers itself.
const MethodPing uint16 = 0

type header struct {
	kind uint8
	id   uint64
	word uint16 // method of a request, code of a reply
	size uint32 // of the body that follows
}

// appendFrame appends one frame to b.
func appendFrame(b []byte, kind uint8, id uint64, word uint16, body []byte) []byte {
	e := wire.NewEncoder(b)
	e.U8(kind)
	e.U64(id)
	e.U16(word)
	e.Bytes(body)
	return e.Out()
}

// readHeader reads up to the body, which stays in r.
func readHeader(r *bufio.Reader) (header, error) {
	b, err := r.Peek(headerSize)
	if err != nil {
		if err == io.EOF && len(b) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return header{}, err
	}
	d := wire.NewDecoder(b)
	h := header{kind: d.U8(), id: d.U64(), word: d.U16(), size: d.U32()}
	if err := d.Finish(); err != nil {
		return header{}, err
	}
	if _, err := r.Discard(headerSize); err != nil {
		return header{}, err
	}
	return h, nil
}

// readBody reads size bytes after checking them against the limit. Memory
// grows only as bytes arrive: a peer that announces much and sends nothing
// costs readStep. The only copy that stays is the one it returns, which is the
// caller's to wipe.
func readBody(r *bufio.Reader, size uint32, limit int) ([]byte, error) {
	if uint64(size) > uint64(max(limit, 0)) {
		return nil, fmt.Errorf("%w: body of %d bytes over the limit of %d", wire.ErrMalformed, size, limit)
	}
	n := int(size)
	body := make([]byte, min(n, readStep))
	for got := 0; ; {
		if err := readFull(r, body[got:]); err != nil {
			return nil, err
		}
		if got = len(body); got == n {
			return body, nil
		}
		grown := make([]byte, min(n, 2*len(body)))
		copy(grown, body)
		clear(body)
		body = grown
	}
}

// readFull fills b and wipes what it took out of the reader's buffer.
func readFull(r *bufio.Reader, b []byte) error {
	for len(b) > 0 {
		if r.Buffered() == 0 {
			if _, err := r.Peek(1); err == io.EOF {
				return io.ErrUnexpectedEOF // the header promised more
			} else if err != nil {
				return err
			}
		}
		have, _ := r.Peek(min(len(b), r.Buffered()))
		b = b[copy(b, have):]
		clear(have)
		r.Discard(len(have)) //nolint:errcheck // it is all there
	}
	return nil
}

// skipBody drops size bytes.
func skipBody(r *bufio.Reader, size uint32) error {
	if size > wire.MaxFrame {
		return fmt.Errorf("%w: body of %d bytes over the limit of %d", wire.ErrMalformed, size, wire.MaxFrame)
	}
	_, err := r.Discard(int(size))
	return err
}
