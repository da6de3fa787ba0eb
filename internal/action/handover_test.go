package action

import (
	"bytes"
	"testing"
)

func FuzzParseHandover(f *testing.F) {
	f.Add(Handover{Floor: Ceiling{1, 2, 3}, Floored: 6, Left: 8}.Encode())
	f.Add(Handover{}.Encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		if h, err := ParseHandover(in); err == nil && !bytes.Equal(h.Encode(), in) {
			t.Fatalf("parse then encode changed %x", in)
		}
	})
}
