package audit_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	logfmt "github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	merkle "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/quorate/quorate/internal/audit"
	"github.com/quorate/quorate/internal/audit/audittest"
	"github.com/quorate/quorate/internal/ledger"
)

// grown is a cluster with a log of some entries.
func grown(t testing.TB, entries uint64) *audittest.Cluster {
	c := audittest.New(t)
	for size := uint64(1); size < entries; {
		var txs [][]byte
		for ; len(txs) < 64 && size < entries; size++ {
			txs = append(txs, c.Usage(int(size%4)))
		}
		c.Block(txs...)
	}
	return c
}

// tiles reads a log as a tlog client does, by the paths of C2SP.
type tiles struct {
	t    *testing.T
	log  audit.Log
	size uint64
}

func (r tiles) Height() int { return 8 }

func (r tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (r tiles) ReadTiles(want []tlog.Tile) (out [][]byte, err error) {
	for _, tile := range want {
		path := strings.TrimPrefix(tile.Path(), "tile/8/") // sumdb names the height
		raw, err := audit.Tile(r.log, r.size, path)
		if err != nil {
			return nil, err
		}
		out = append(out, raw)
	}
	return out, nil
}

// The Go project's own client of tiles is the oracle of tiles, roots and proofs.
func TestTiles(t *testing.T) {
	const size = 530
	log := grown(t, size).View()
	stated, root := log.LogRoot()
	if stated != size {
		t.Fatalf("log of %d entries", stated)
	}
	reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, tiles{t, log, size})
	var ids []int64
	for i := range int64(size) {
		ids = append(ids, tlog.StoredHashIndex(0, i))
	}
	hashes, err := reader.ReadHashes(ids)
	if err != nil {
		t.Fatal(err)
	}
	var bundle []byte
	for n, width := range []string{"", "", ".p/18"} {
		raw, err := audit.Tile(log, size, fmt.Sprintf("entries/%03d%s", n, width))
		if err != nil {
			t.Fatal(err)
		}
		bundle = append(bundle, raw...)
	}
	for i := range size {
		entry := bundle[34*i:]
		if entry[0] != 0 || entry[1] != 32 || tlog.Hash(rfc6962.DefaultHasher.HashLeaf(entry[2:34])) != hashes[i] {
			t.Fatalf("entry %d is not in the tree", i)
		}
	}
	for _, n := range []uint64{1, 2, 3, 255, 256, 257, 511, 512, 513, size} {
		want, err := tlog.TreeHash(int64(n), reader)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := audit.Root(log, n); err != nil || got != want {
			t.Errorf("root of %d entries: %v", n, err)
		}
		for _, i := range []uint64{0, n / 2, n - 1} {
			path, err := audit.Inclusion(log, i, n)
			if err != nil {
				t.Fatal(err)
			}
			if err := merkle.VerifyInclusion(rfc6962.DefaultHasher, i, n, hashes[i][:], slicesOf(path), want[:]); err != nil {
				t.Errorf("entry %d of %d: %v", i, n, err)
			}
		}
		path, err := audit.Consistency(log, n, size)
		if err != nil {
			t.Fatal(err)
		}
		if err := merkle.VerifyConsistency(rfc6962.DefaultHasher, n, size, slicesOf(path), want[:], root[:]); err != nil {
			t.Errorf("growth from %d: %v", n, err)
		}
	}
}

func slicesOf(path [][32]byte) (out [][]byte) {
	for i := range path {
		out = append(out, path[i][:])
	}
	return out
}

func TestTilePaths(t *testing.T) {
	log := grown(t, 300).View()
	for path, size := range map[string]int{
		"0/000": 8192, "0/001.p/44": 44 * 32, "0/001.p/1": 32, "1/000.p/1": 32, "entries/000": 256 * 34, "entries/001.p/3": 3 * 34,
		"0/001": 0, "0/001.p/45": 0, "0/002.p/1": 0, "1/000.p/2": 0, "2/000.p/1": 0, "0/000.p/0": 0, "0/000.p/256": 0, "0/00": 0, "00/000": 0, "0/x000/000": 0,
		"0/x001": 0, "0/000/000": 0, "-1/000": 0, "8/000": 0, "entries": 0, "": 0, "0/000.p/01": 0, "0/x999/x999/x999/x999/x999/x999/x999/999": 0, "0/+01": 0,
	} {
		raw, err := audit.Tile(log, 300, path)
		if len(raw) != size || (err == nil) != (size > 0) {
			t.Errorf("%q: %d bytes, %v", path, len(raw), err)
		}
	}
}

// Tools that know nothing of us verify a checkpoint by the Ed25519 key of any
// node that signed it, and by the witness's.
func TestStockToolsVerifyCheckpoints(t *testing.T) {
	c := grown(t, 5)
	at := c.Note(5)
	parsed, signed, err := c.Signatories.Parse(at.Raw)
	if err != nil || parsed != at.Checkpoint {
		t.Fatal(parsed, err)
	}
	if !slices.Equal(signed.Nodes, []string{"node0", "node1", "node2"}) || len(signed.Cosignatures) != 1 {
		t.Fatalf("signed by %v", signed)
	}
	keys := c.Signatories.VerifierKeys(c.Genesis)
	witness, err := fnote.NewVerifierForCosignatureV1(keys[4])
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		node, err := note.NewVerifier(keys[i])
		if err != nil {
			t.Fatal(err)
		}
		head, _, n, err := logfmt.ParseCheckpoint(at.Raw, audit.Origin(c.ID), node, witness)
		if err != nil || head.Size != 5 || !bytes.Equal(head.Hash, at.Root[:]) || len(n.Sigs) != 2 {
			t.Errorf("%s: %v", keys[i], err)
		}
	}
}

func TestCheckpointRefused(t *testing.T) {
	c := grown(t, 3)
	good := c.Note(3)
	lines := bytes.SplitAfter(good.Raw, []byte("\n")) // text 3, empty, witness, nodes 6, rest
	join := func(order ...int) (out []byte) {
		for _, i := range order {
			out = append(out, lines[i]...)
		}
		return out
	}
	if !bytes.Equal(join(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10), good.Raw) {
		t.Fatal("the checkpoint has other lines")
	}
	fourth := bytes.SplitAfter(c.Lines(3, good.Checkpoint), []byte("\n"))
	for name, raw := range map[string][]byte{
		"two nodes":            join(0, 1, 2, 3, 4, 5, 6, 7, 8),
		"a hybrid line less":   join(0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
		"hybrid lines only":    join(0, 1, 2, 3, 4, 6, 8, 10),
		"a node twice":         join(0, 1, 2, 3, 4, 5, 6, 5, 6, 7, 8),
		"nodes reordered":      join(0, 1, 2, 3, 4, 7, 8, 5, 6, 9, 10),
		"witness last":         join(0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 4),
		"witness twice":        join(0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 10),
		"more than it needs":   append(bytes.Clone(good.Raw), bytes.Join(fourth, nil)...),
		"no newline":           good.Raw[:len(good.Raw)-1],
		"a line of a stranger": append(bytes.Clone(good.Raw), "— stranger.example AAAA\n"...),
		"size with a zero":     bytes.Replace(good.Raw, []byte("\n3\n"), []byte("\n03\n"), 1),
		"other size":           bytes.Replace(good.Raw, []byte("\n3\n"), []byte("\n4\n"), 1),
		"nothing":              nil,
	} {
		if _, _, err := c.Signatories.Parse(raw); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, _, err := c.Signatories.Parse(join(0, 1, 2, 3, 5, 6, 7, 8, 9, 10)); err != nil {
		t.Errorf("without the witness: %v", err)
	}
}

// A node that signs rubbish costs nothing but its own signature.
func TestAssemblePassesOverLiars(t *testing.T) {
	c := grown(t, 3)
	root, _ := audit.Root(c.View(), 3)
	at := audit.Checkpoint{Size: 3, Root: root}
	lines := map[string][]byte{"node0": c.Lines(0, audit.Checkpoint{Size: 4, Root: root}), "node1": c.Lines(1, at), "node2": c.Lines(2, at)}
	if _, err := c.Signatories.Assemble(at, "node1", lines); err == nil {
		t.Error("two honest nodes made a checkpoint")
	}
	lines["node3"] = c.Lines(3, at)
	raw, err := c.Signatories.Assemble(at, "node3", lines)
	if err != nil {
		t.Fatal(err)
	}
	if _, signed, err := c.Signatories.Parse(raw); err != nil || !slices.Equal(signed.Nodes, []string{"node1", "node2", "node3"}) {
		t.Error(signed, err)
	}
}

func TestLines(t *testing.T) {
	c := audittest.New(t)
	c.Block(c.Usage(0), c.Denied(audittest.Bob), c.Usage(1))
	c.Block(c.Denied(audittest.Alice))
	log := c.View()
	size, _ := log.LogRoot()
	later := c.Genesis.Time.Add(3 * time.Second)
	for name, want := range map[string]struct {
		audit.Filter
		indices []uint64
	}{
		"all":       {audit.Filter{}, []uint64{0, 1, 2, 3, 4}},
		"a member":  {audit.Filter{Member: "bob"}, []uint64{2}},
		"a region":  {audit.Filter{Region: "region1"}, []uint64{3}},
		"a kind":    {audit.Filter{Kind: "denied"}, []uint64{2, 4}},
		"from":      {audit.Filter{From: later}, []uint64{4}},
		"to":        {audit.Filter{To: later}, []uint64{0, 1, 2, 3}},
		"a cluster": {audit.Filter{Key: "0x" + strings.ToUpper(c.ID.String())}, []uint64{0}},
		"an origin": {audit.Filter{Key: "ab", Origin: c.ID.String()}, []uint64{0}},
		"none":      {audit.Filter{Member: "bob", Region: "region1"}, nil},
	} {
		var lines, table bytes.Buffer
		if err := audit.WriteLines(&lines, log, size, want.Filter); err != nil {
			t.Fatal(err)
		}
		if err := audit.WriteCSV(&table, log, size, want.Filter); err != nil {
			t.Fatal(err)
		}
		var got []uint64
		for dec := json.NewDecoder(&lines); dec.More(); {
			var e audit.Entry
			if err := dec.Decode(&e); err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Index)
			if e != audit.EntryOf(e.Index, log.Event(e.Index)) {
				t.Errorf("event %d is written otherwise", e.Index)
			}
		}
		rows, err := csv.NewReader(&table).ReadAll()
		if err != nil || !slices.Equal(got, want.indices) || len(rows) != 1+len(got) {
			t.Errorf("%s: %v, %d rows, want %v: %v", name, got, len(rows), want.indices, err)
		}
	}
}

// What somebody writes into an event must not run in a spreadsheet.
func TestCSVHoldsNoFormula(t *testing.T) {
	var out bytes.Buffer
	if err := audit.WriteCSV(&out, forged{}, 1, audit.Filter{}); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil || rows[1][13] != `'=cmd|' /C calc'!A0` || rows[1][8] != "'@sum" {
		t.Errorf("%q, %v", rows, err)
	}
}

// forged is a log of one event that means harm.
type forged struct{ audit.Log }

func (forged) Event(uint64) *ledger.Event {
	return &ledger.Event{Purpose: "@sum", Detail: `=cmd|' /C calc'!A0`}
}
