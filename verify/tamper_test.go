package verify

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// refused checks that no changed copy of an artefact verifies, each made by
// change from a position.
func refused(t *testing.T, g *Genesis, name string, raw []byte, positions []int, change func(copy []byte, at int) []byte) {
	t.Helper()
	if _, err := g.Check(bytes.NewReader(raw)); err != nil {
		t.Fatalf("%s does not verify: %v", name, err)
	}
	var all sync.WaitGroup
	for part := range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := part; i < len(positions); i += runtime.GOMAXPROCS(0) {
				if _, err := g.Check(bytes.NewReader(change(bytes.Clone(raw), positions[i]))); err == nil {
					t.Errorf("%s: changed at byte %d, and accepted", name, positions[i])
				}
			}
		})
	}
	all.Wait()
}

func flip(copy []byte, at int) []byte {
	copy[at] ^= 1 << rand.IntN(8)
	return copy
}

func cut(copy []byte, at int) []byte { return copy[:at] }

func upTo(n, step int) (out []int) {
	for i := 0; i < n; i += step {
		out = append(out, i)
	}
	return out
}

// stride spares the everyday test what ./check does in full.
func stride() int {
	if os.Getenv("QUORATE_CHECK") != "" {
		return 1
	}
	return 11
}

// Each byte of artefacts up to 16 KiB flipped, and each cut off with all after
// it: of every kind, as the product wrote them.
func TestEveryByteOfSmallArtefacts(t *testing.T) {
	g := vectorGenesis(t)
	checked := 0
	for _, name := range names(t, "good") {
		raw := read(t, name)
		if len(raw) > 16<<10 {
			continue
		}
		checked++
		refused(t, g, name, raw, upTo(len(raw), stride()), flip)
		refused(t, g, name, raw, upTo(len(raw), 7*stride()), cut)
		refused(t, g, name, raw, []int{0}, func(copy []byte, _ int) []byte { return append(copy, 0) })
	}
	if checked < 5 {
		t.Errorf("%d artefacts are small enough", checked)
	}
}

// 2,000 positions spread over a log of more than 1 MiB: one in each stratum.
func TestStratifiedPositionsOfLargeLogs(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	w.write(&log, shape{size: 5 << 18, checkpoints: 100 << 10, erased: 17, signed: 250}, nil)
	const strata = 2000
	var positions []int
	for i := 0; i < strata; i += (stride() + 1) / 2 {
		low, high := i*log.Len()/strata, (i+1)*log.Len()/strata
		positions = append(positions, low+rand.IntN(high-low))
	}
	refused(t, w.g, "log", log.Bytes(), positions, flip)
}

// Records deleted, doubled, moved and cut off; with the counts as they were,
// and for events with counts that fit what was done.
func TestRecordsMoved(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	ends, kinds := []int64{}, []byte{}
	w.write(&log, shape{size: 45 << 10, checkpoints: 20 << 10, erased: 5, signed: 25}, func(kind byte, end int64) {
		ends, kinds = append(ends, end), append(kinds, kind)
	})
	raw := log.Bytes()
	record := func(i int) []byte { return raw[ends[i-1]:ends[i]] }
	last := len(ends) - 1 // the end; 0 is the header
	check := func(what string, i int, parts ...[]byte) {
		t.Helper()
		bent := slices.Concat(parts...)
		if bytes.Equal(bent, raw) {
			return
		}
		if _, err := w.g.Check(bytes.NewReader(bent)); err == nil {
			t.Errorf("%s record %d of kind %d: accepted", what, i, kinds[i])
		}
	}
	seen := map[byte]bool{}
	for i := 1; i < last; i++ {
		seen[kinds[i]] = true
		before, after := raw[:ends[i-1]], raw[ends[i]:]
		check("deleted", i, before, after)
		check("doubled", i, before, record(i), record(i), after)
		check("cut after", i, before, record(i))
		check("cut before the end", i, before, record(last))
		if i+1 < last {
			check("swapped", i, before, record(i+1), record(i), raw[ends[i+1]:])
		}
		if far := 1 + (i*7)%(last-1); far < i {
			check("moved", i, raw[:ends[far-1]], record(i), raw[ends[far-1]:ends[i-1]], after)
		}
		if kinds[i] == recordEvent || kinds[i] == recordErased {
			check("deleted and recounted", i, before, recount(after, kinds[i], -1))
			check("doubled and recounted", i, before, record(i), record(i), recount(after, kinds[i], 1))
		}
		if kinds[i] == recordCheckpoint || kinds[i] == recordTransaction {
			check("doubled and recounted", i, before, record(i), record(i), recount(after, kinds[i], 1))
		}
	}
	for _, kind := range []byte{recordEvent, recordErased, recordCheckpoint, recordTransaction} {
		if !seen[kind] {
			t.Errorf("the log has no record of kind %d", kind)
		}
	}
}

// recount changes the numbers in the end record of what ends with it.
func recount(tail []byte, kind byte, by int64) []byte {
	out := bytes.Clone(tail)
	// The end record is 1 + 4·8 bytes and a certificate after its length.
	at := bytes.LastIndex(out, []byte("quorate-")) // in the certificate's header: 2 + 4 + 8 + 8 + 4 bytes from its beginning
	counts := out[at-26-4-32 : at-26-4]
	add := func(i int) {
		n := counts[8*i : 8*i+8]
		binary.BigEndian.PutUint64(n, uint64(int64(binary.BigEndian.Uint64(n))+by))
	}
	switch kind {
	case recordEvent:
		add(0)
	case recordErased:
		add(0)
		add(1)
	case recordCheckpoint:
		add(2)
	case recordTransaction:
		add(3)
	}
	return out
}

// What an editor may do: leave out attachments and say so.
func TestAttachmentsLeftOut(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	ends, kinds := []int64{}, []byte{}
	w.write(&log, shape{size: 30 << 10, checkpoints: 10 << 10, signed: 25}, func(kind byte, end int64) {
		ends, kinds = append(ends, end), append(kinds, kind)
	})
	raw := log.Bytes()
	for i := 1; i < len(ends)-1; i++ {
		if kinds[i] != recordCheckpoint && kinds[i] != recordTransaction {
			continue
		}
		less := slices.Concat(raw[:ends[i-1]], recount(raw[ends[i]:], kinds[i], -1))
		if _, err := w.g.Check(bytes.NewReader(less)); err != nil {
			t.Errorf("without record %d of kind %d: %v", i, kinds[i], err)
		}
	}
}
