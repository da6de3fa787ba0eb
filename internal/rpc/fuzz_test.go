package rpc

import (
	"bufio"
	"bytes"
	"context"
	"testing"
)

// FuzzFrames: what parses is written back to the same bytes.
func FuzzFrames(f *testing.F) {
	f.Add(appendFrame(nil, kindRequest, 1, 2, []byte("body")))
	f.Add(append(appendFrame(nil, kindCancel, 1, 0, nil), 1, 2, 3))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1 << 10
		r := bufio.NewReaderSize(bytes.NewReader(in), 64)
		var out []byte
		for {
			h, err := readHeader(r)
			if err != nil {
				break
			}
			body, err := readBody(r, h.size, limit)
			if err != nil {
				break
			}
			if len(body) > limit {
				t.Fatalf("body of %d bytes", len(body))
			}
			out = appendFrame(out, h.kind, h.id, h.word, body)
		}
		if !bytes.HasPrefix(in, out) {
			t.Fatalf("parse then marshal changed %x to %x", in, out)
		}
	})
}

// FuzzServe: whatever a client says, the server ends with the connection.
func FuzzServe(f *testing.F) {
	wait := appendFrame(nil, kindRequest, 1, methodWait, nil)
	f.Add(append(wait, appendFrame(nil, kindCancel, 1, 0, nil)...))
	f.Add(append(wait, wait...))
	f.Add(appendFrame(nil, kindRequest, 1, MethodPing, nil))
	f.Add(appendFrame(nil, kindReply, 1, 2, []byte("body")))
	f.Fuzz(func(t *testing.T, in []byte) {
		conn := &scripted{in: bytes.NewReader(in)}
		Serve(context.Background(), conn, newService().handle, Options{Concurrent: 4})
		if !conn.closed.Load() {
			t.Fatal("connection left open")
		}
	})
}
