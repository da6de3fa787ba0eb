package verify

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
)

// world is a cluster whose keys this test has: it writes evidence by the
// specification, once more and otherwise than the product.
type world struct {
	g     *Genesis
	votes []ed25519.PrivateKey
	nodes []signer
	alice signer
}

type signer struct {
	ed ed25519.PrivateKey
	ml *mldsa65.PrivateKey
	id []byte
}

func newSigner(name string) signer {
	a, b := sha256.Sum256([]byte("classical "+name)), sha256.Sum256([]byte("quantum-safe "+name))
	s := signer{ed: ed25519.NewKeyFromSeed(a[:])}
	pk, sk := mldsa65.NewKeyFromSeed(&b)
	s.ml, s.id = sk, append(append([]byte{suiteHybrid}, s.ed.Public().(ed25519.PublicKey)...), pk.Bytes()...)
	return s
}

func (s signer) sign(tag string, message []byte) []byte {
	digest := taggedHash(tag, message)
	ml := make([]byte, mldsa65.SignatureSize)
	if err := mldsa65.SignTo(s.ml, digest[:], []byte(tag), false, ml); err != nil {
		panic(err)
	}
	return append(append([]byte{suiteHybrid}, ed25519.Sign(s.ed, digest[:])...), ml...)
}

func newWorld(t testing.TB) *world {
	w := &world{alice: newSigner("alice")}
	text := func(b []byte) string { return "0x" + hex.EncodeToString(b) }
	var nodes []map[string]any
	for i := range 4 {
		seed := sha256.Sum256(fmt.Append(nil, "vote ", i))
		w.votes = append(w.votes, ed25519.NewKeyFromSeed(seed[:]))
		w.nodes = append(w.nodes, newSigner(fmt.Sprint("node", i)))
		nodes = append(nodes, map[string]any{"name": fmt.Sprint("node", i), "identity": text(w.nodes[i].id), "consensus_key": text(w.votes[i].Public().(ed25519.PublicKey))})
	}
	doc, err := json.Marshal(map[string]any{"version": 1, "nodes": nodes,
		"members":   []any{map[string]any{"id": "alice", "keys": []string{text(w.alice.id)}}},
		"witnesses": []any{map[string]any{"name": "w.example", "key": text(w.alice.ed.Public().(ed25519.PublicKey))}}})
	if err != nil {
		t.Fatal(err)
	}
	if w.g, err = ParseGenesis(doc); err != nil {
		t.Fatal(err)
	}
	return w
}

// checkpoint is signed by the first three nodes and the witness.
func (w *world) checkpoint(size uint64, root [32]byte) []byte {
	text := fmt.Sprintf("%s\n%d\n%s\n", w.g.origin(), size, base64.StdEncoding.EncodeToString(root[:]))
	line := func(k lineKey, sig []byte) string {
		return "— " + k.name + " " + base64.StdEncoding.EncodeToString(append(k.id[:], sig...)) + "\n"
	}
	at := binary.BigEndian.AppendUint64(nil, 1_700_000_000+size)
	out := text + "\n" + line(w.g.lines[0], append(at, ed25519.Sign(w.alice.ed, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", 1_700_000_000+size, text))...))
	for i, n := range w.nodes[:3] {
		out += line(w.g.lines[1+2*i], ed25519.Sign(n.ed, []byte(text))) + line(w.g.lines[2+2*i], n.sign(tagCheckpoint, []byte(text)))
	}
	return []byte(out)
}

type encoder struct{ bytes.Buffer }

func (e *encoder) u(width int, v uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], v)
	e.Write(b[8-width:])
}

func (e *encoder) bytes(b []byte) {
	e.u(4, uint64(len(b)))
	e.Write(b)
}

// certificate proves a log.
func (w *world) certificate(size uint64, root [32]byte) []byte {
	var state, e encoder
	state.u(8, 1)
	state.Write(make([]byte, 32))
	state.u(8, size)
	state.Write(root[:])
	s := state.Bytes()
	app := taggedHash("quorate/v1/app-hash", w.g.Cluster[:], s[:8], s[8:40], s[40:48], s[48:])
	own := w.g.voters.hash()
	h := header{block: 11, app: 1, chain: []byte(w.g.chain()), height: 1000, at: stamp{1_700_000_000, 7}, lastTotal: 1, proposer: w.g.voters[0].address()}
	for i := range h.hashes {
		h.hashes[i] = own[:]
	}
	h.hashes[appHash] = app[:]
	stamped := func(s stamp) {
		e.u(8, uint64(s.seconds))
		e.u(4, uint64(s.nanos))
	}
	e.u(2, 1)
	e.u(4, 0)
	e.u(8, h.block)
	e.u(8, h.app)
	e.bytes(h.chain)
	e.u(8, h.height)
	stamped(h.at)
	e.u(4, uint64(h.lastTotal))
	for _, b := range append(h.hashes[:], h.proposer) {
		e.bytes(b)
	}
	e.u(4, 0)
	e.u(4, 1)
	e.Write(own[:])
	e.u(4, 3)
	hash := h.hash()
	for i := range 3 {
		v := protoFixed(protoUint(nil, 1, 2), 2, h.height)
		v = protoBytes(v, 4, blockID(hash[:], 1, own[:]), true)
		v = protoBytes(protoBytes(v, 5, h.at.proto(), true), 6, h.chain, false)
		e.u(1, uint64(i))
		stamped(h.at)
		for _, k := range w.votes {
			if w.g.voters[i].key.Equal(k.Public()) {
				e.Write(ed25519.Sign(k, append(binary.AppendUvarint(nil, uint64(len(v))), v...)))
			}
		}
	}
	e.Write(s)
	e.u(4, 0)
	return e.Bytes()
}

// transaction is signed by Alice.
func (w *world) transaction(nonce uint64) []byte {
	var e encoder
	e.u(1, 1)
	e.Write(w.g.Cluster[:])
	e.u(2, 5)
	e.u(1, 2)
	e.bytes([]byte("alice"))
	e.u(8, nonce)
	e.Write(make([]byte, 16))
	e.bytes([]byte("approve"))
	e.bytes(w.alice.sign("quorate/v1/tx", e.Bytes()))
	return e.Bytes()
}

func body(i uint64, actor string, request [32]byte) []byte {
	var e encoder
	e.u(1, 1)
	e.u(2, 12)
	e.u(8, 1000+i)
	e.u(8, 1_700_000_000_000+1000*i)
	for _, s := range []string{actor, "", "operator-0", "europe", "", "validator"} {
		e.bytes([]byte(s))
	}
	e.Write(request[:])
	e.u(8, 0)
	e.u(1, 0)
	e.bytes(fmt.Appendf(nil, "sequence %d, 64 keys, chain %x", i, request))
	return e.Bytes()
}

// shape says what a log is made of.
type shape struct {
	size        int64  // the least number of bytes
	checkpoints int64  // every so many bytes; 0: none
	erased      uint64 // every so many events; 0: none
	signed      uint64 // every so many events have a transaction; 0: none
}

// write writes a log, and tells of each record where it ends. It returns the
// events' number.
func (w *world) write(to io.Writer, s shape, record func(kind byte, end int64)) uint64 {
	out := bufio.NewWriterSize(to, 1<<20)
	var at, noted int64
	put := func(parts ...[]byte) {
		for _, p := range parts {
			n, err := out.Write(p)
			if err != nil {
				panic(err)
			}
			at += int64(n)
		}
	}
	told := func(kind byte) {
		if record != nil {
			record(kind, at)
		}
	}
	u32 := func(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
	put([]byte(logMagic), []byte{0, 1}, w.g.Cluster[:])
	told(0)
	var t tree
	var erased, checkpoints, transactions uint64
	for at < s.size || t.size < 2 {
		i := t.size
		var salt [16]byte
		binary.BigEndian.PutUint64(salt[8:], i)
		actor, request, tx := "node/node0", sha256.Sum256(salt[:]), []byte(nil)
		if s.signed > 0 && i%s.signed == 1 {
			actor, tx = "member/alice", w.transaction(i)
			request = sha256.Sum256(tx)
		}
		b := body(i, actor, request)
		leaf := taggedHash(tagLeaf, salt[:], b)
		t.append(leaf)
		if s.erased > 0 && i%s.erased == 0 {
			put([]byte{recordErased}, leaf[:])
			told(recordErased)
			erased++
		} else {
			put([]byte{recordEvent}, salt[:], u32(len(b)), b)
			told(recordEvent)
			if tx != nil {
				put([]byte{recordTransaction}, u32(len(tx)), tx)
				told(recordTransaction)
				transactions++
			}
		}
		if s.checkpoints > 0 && at-noted >= s.checkpoints {
			note := w.checkpoint(t.size, t.root())
			put([]byte{recordCheckpoint}, u32(len(note)), note)
			told(recordCheckpoint)
			noted = at
			checkpoints++
		}
	}
	var end encoder
	end.u(1, recordEnd)
	for _, n := range []uint64{t.size, erased, checkpoints, transactions} {
		end.u(8, n)
	}
	end.bytes(w.certificate(t.size, t.root()))
	put(end.Bytes())
	told(recordEnd)
	if err := out.Flush(); err != nil {
		panic(err)
	}
	return t.size
}
