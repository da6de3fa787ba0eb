package verify

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
)

// lineKey is who may write one line under a checkpoint.
type lineKey struct {
	name   string
	id     [4]byte
	node   int // -1: a witness
	verify func(text, sig []byte) bool
}

func keyID(name, kind string, public []byte) [4]byte {
	h := sha256.Sum256(append([]byte(name+"\n"+kind), public...))
	return [4]byte(h[:4])
}

const tagCheckpoint = "quorate/v1/checkpoint"

// nodeLines are the one or two lines of a node.
func nodeLines(name string, node int, id identity) []lineKey {
	lines := []lineKey{{name, keyID(name, "\x01", id.classical()), node, func(text, sig []byte) bool {
		return ed25519.Verify(id.classical(), text, sig)
	}}}
	if id.ml != nil {
		lines = append(lines, lineKey{name, keyID(name, "\xff"+tagCheckpoint, id.raw), node, func(text, sig []byte) bool {
			return id.verify(tagCheckpoint, text, sig)
		}})
	}
	return lines
}

// witnessLine is a timestamped cosignature.
func witnessLine(name string, key ed25519.PublicKey) lineKey {
	return lineKey{name, keyID(name, "\x04", key), -1, func(text, sig []byte) bool {
		if len(sig) != 8+ed25519.SignatureSize || sig[0] != 0 || sig[1] != 0 || sig[2] != 0 {
			return false
		}
		said := fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(sig), text)
		return ed25519.Verify(key, said, sig[8:])
	}}
}

// checkpoint is a verified one.
type checkpoint struct {
	size         uint64
	root         [32]byte
	cosignatures uint64
}

// checkpoint verifies a signed note. The lines of its signatures are those of
// witnesses, then all of the fewest nodes that are more than two thirds.
func (g *Genesis) checkpoint(raw []byte) (c checkpoint, err error) {
	if len(raw) > maxCheckpoint || len(raw) == 0 || raw[len(raw)-1] != '\n' {
		return c, fmt.Errorf("a checkpoint of %d bytes, or without its last newline", len(raw))
	}
	lines := bytes.Split(raw[:len(raw)-1], []byte("\n"))
	if len(lines) < 4 || string(lines[0]) != g.origin() || len(lines[3]) != 0 {
		return c, fmt.Errorf("line 1: not a checkpoint of this cluster")
	}
	if c.size, err = strconv.ParseUint(string(lines[1]), 10, 64); err != nil || strconv.FormatUint(c.size, 10) != string(lines[1]) {
		return c, fmt.Errorf("line 2: no size")
	}
	root, ok := unbase64(lines[2])
	if !ok || len(root) != len(c.root) {
		return c, fmt.Errorf("line 3: no root")
	}
	c.root = [32]byte(root)
	text := raw[:len(lines[0])+len(lines[1])+len(lines[2])+3]
	next, nodes := 0, 0 // the first key that may write the next line
	for i, line := range lines[4:] {
		k := g.writer(line, next)
		if k < 0 {
			return c, fmt.Errorf("line %d: of nobody whom the genesis names, or not in its order", 5+i)
		}
		if k > next && (g.second(next) || g.second(k)) {
			return c, fmt.Errorf("line %d: a line of a node is missing before it", 5+i)
		}
		sig, _ := unbase64(line[bytes.LastIndexByte(line, ' ')+1:])
		if !g.lines[k].verify(text, sig[4:]) {
			return c, fmt.Errorf("line %d: the signature does not verify", 5+i)
		}
		switch {
		case g.lines[k].node < 0:
			c.cosignatures++
		case !g.second(k):
			nodes++
		}
		next = k + 1
	}
	if g.second(next) {
		return c, fmt.Errorf("line %d: a line of a node is missing after it", len(lines))
	}
	if need := 2*g.nodes/3 + 1; nodes != need {
		return c, fmt.Errorf("line %d: %d nodes signed, not %d", len(lines), nodes, need)
	}
	return c, nil
}

// second says whether key k writes the second line of a node.
func (g *Genesis) second(k int) bool {
	return k > 0 && k < len(g.lines) && g.lines[k].node >= 0 && g.lines[k].node == g.lines[k-1].node
}

// writer finds, from a place in their order on, whose line it is.
func (g *Genesis) writer(line []byte, from int) int {
	for k := from; k < len(g.lines); k++ {
		encoded, ok := bytes.CutPrefix(line, []byte("— "+g.lines[k].name+" "))
		if !ok {
			continue
		}
		if sig, ok := unbase64(encoded); ok && len(sig) >= 4 && [4]byte(sig) == g.lines[k].id {
			return k
		}
	}
	return -1
}

// unbase64 reads standard base64 in its one canonical form.
func unbase64(s []byte) ([]byte, bool) {
	out, err := base64.StdEncoding.Strict().DecodeString(string(s))
	return out, err == nil && base64.StdEncoding.EncodedLen(len(out)) == len(s)
}
