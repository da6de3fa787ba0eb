package rehearsal

import (
	"bytes"
	"fmt"
	"maps"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/wire"
)

// ledgerArchive is an archive of a ceremony on a ledger, cut into its fields.
type ledgerArchive struct {
	params   dkg.Params
	head     []byte // up to the attestations
	block    [32]byte
	joined   uint32
	qual     dkg.Dealers
	prior    []byte
	joins    [][]byte
	dealings [][][]byte // of each dealer its header and chunk, or all in one
}

func cutArchive(t *testing.T, raw []byte) *ledgerArchive {
	t.Helper()
	x, err := dkg.VerifyTranscript(raw)
	if err != nil {
		t.Fatal(err)
	}
	a := &ledgerArchive{params: x.Params()}
	p := &a.params
	size := map[dkg.Suite]int{dkg.SuiteG1: 48, dkg.SuiteRistretto: 32}[p.Suite]
	at := bytes.IndexByte(raw, '\n') + 1 + len(p.Encode()) + size*int(p.T)*int(p.Keys)
	d := wire.NewDecoder(raw[at:])
	for range bits.OnesCount32(d.U32()) {
		d.Bytes(96)
	}
	a.head = raw[:len(raw)-d.Len()]
	d.Fixed(a.block[:])
	a.joined, a.qual = d.U32(), dkg.Dealers(d.Bytes(wire.MaxTx))
	parts := 1
	if !p.FromAssembly() {
		parts = 2
		a.prior = make([]byte, size*int(p.Old.T)*int(p.Keys))
	}
	d.Fixed(a.prior)
	for range bits.OnesCount32(a.joined) {
		a.joins = append(a.joins, d.Bytes(wire.MaxTx))
	}
	for range a.qual.Len() {
		var dealing [][]byte
		for range parts {
			dealing = append(dealing, d.Bytes(wire.MaxTx))
		}
		a.dealings = append(a.dealings, dealing)
	}
	if err := d.Finish(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.bytes(), raw) {
		t.Fatal("an archive changes when it is cut and put together")
	}
	return a
}

func (a *ledgerArchive) bytes() []byte {
	e := wire.NewEncoder(slices.Clone(a.head))
	e.Fixed(a.block[:])
	e.U32(a.joined)
	e.Bytes([]byte(a.qual))
	e.Fixed(a.prior)
	for _, part := range slices.Concat(append([][][]byte{a.joins}, a.dealings...)...) {
		e.Bytes(part)
	}
	return e.Out()
}

// highest returns the bit of the last seat in a set.
func highest(seats uint32) uint32 { return 1 << (bits.Len32(seats) - 1) }

// edits change the part of an archive that its certificate does not have, each
// so that the file can still be read. nil: the archive has no such part.
func edits(others *ledgerArchive) map[string]func(*ledgerArchive) *ledgerArchive {
	renewed := func(do func(a *ledgerArchive, leaf int)) func(*ledgerArchive) *ledgerArchive {
		return func(a *ledgerArchive) *ledgerArchive {
			if !a.params.Mode.Renews() || a.params.FromAssembly() {
				return nil
			}
			a.prior = slices.Clone(a.prior)
			do(a, len(a.prior)/int(a.params.Keys))
			return a
		}
	}
	return map[string]func(*ledgerArchive) *ledgerArchive{
		"keys before swapped":   renewed(func(a *ledgerArchive, leaf int) { a.prior = slices.Concat(a.prior[leaf:], a.prior[:leaf]) }),
		"one key before twice":  renewed(func(a *ledgerArchive, leaf int) { copy(a.prior, a.prior[leaf:2*leaf]) }),
		"points before swapped": renewed(func(a *ledgerArchive, leaf int) { swap(a.prior, leaf/int(a.params.Old.T)) }),
		"nothing before":        renewed(func(a *ledgerArchive, leaf int) { a.prior = nil }),
		"a key less before":     renewed(func(a *ledgerArchive, leaf int) { a.prior = a.prior[leaf:] }),
		"the keys as they became": renewed(func(a *ledgerArchive, leaf int) {
			copy(a.prior, a.head[bytes.IndexByte(a.head, '\n')+1+len(a.params.Encode()):])
		}),
		"another block": func(a *ledgerArchive) *ledgerArchive { a.block[31] ^= 1; return a },
		"no block or one": func(a *ledgerArchive) *ledgerArchive {
			if a.block = [32]byte{}; a.params.Mode != dkg.ModeKeygen {
				a.block[0] = 1
			}
			return a
		},
		"a dealer less": func(a *ledgerArchive) *ledgerArchive {
			last := slices.Max(slices.Collect(a.qual.All()))
			a.qual, a.dealings = a.qual.Without(dkg.Dealers("").With(last)), a.dealings[:len(a.dealings)-1]
			return a
		},
		"a dealer more": func(a *ledgerArchive) *ledgerArchive {
			more := max(int(a.params.N), int(a.params.Old.N))
			for ; more > 0 && (a.qual.Has(more) || !a.params.FromAssembly() && a.joined>>more&1 == 0); more-- {
			}
			if more == 0 {
				return nil
			}
			// It says what the last one said; where in the list is for its number to say.
			at := 0
			for i := range a.qual.All() {
				if i < more {
					at++
				}
			}
			a.qual, a.dealings = a.qual.With(more), slices.Insert(slices.Clone(a.dealings), at, a.dealings[len(a.dealings)-1])
			return a
		},
		"dealings swapped": func(a *ledgerArchive) *ledgerArchive {
			if len(a.dealings) < 2 {
				return nil
			}
			a.dealings = slices.Clone(a.dealings)
			a.dealings[0], a.dealings[1] = a.dealings[1], a.dealings[0]
			return a
		},
		"another's chunks": func(a *ledgerArchive) *ledgerArchive {
			if len(a.dealings) < 2 || a.params.FromAssembly() {
				return nil
			}
			a.dealings = slices.Clone(a.dealings)
			a.dealings[0] = [][]byte{a.dealings[0][0], a.dealings[1][1]}
			return a
		},
		"of another ceremony": func(a *ledgerArchive) *ledgerArchive {
			a.dealings = slices.Clone(a.dealings)
			a.dealings[0] = others.dealings[0]
			return a
		},
		"joins swapped": func(a *ledgerArchive) *ledgerArchive {
			a.joins = slices.Clone(a.joins)
			a.joins[0], a.joins[1] = a.joins[1], a.joins[0]
			return a
		},
		"a join less": func(a *ledgerArchive) *ledgerArchive {
			a.joined, a.joins = a.joined&^highest(a.joined), a.joins[:len(a.joins)-1]
			return a
		},
		"a join more": func(a *ledgerArchive) *ledgerArchive {
			a.joined, a.joins = a.joined|2*highest(a.joined), append(slices.Clone(a.joins), a.joins[0])
			return a
		},
	}
}

func swap(b []byte, size int) {
	first := slices.Clone(b[:size])
	copy(b, b[size:2*size])
	copy(b[size:], first)
}

// What stands in an archive beyond its certificate is held to it: whatever is
// edited there, or anywhere, neither implementation takes the file.
func (j judges) onEditedLedgerArchives(t *testing.T) {
	all := vectors(t)
	maps.DeleteFunc(all, func(name string, _ []byte) bool {
		return !strings.HasPrefix(name, "ledger-") || !strings.HasSuffix(name, ".archive")
	})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 2))
	others := cutArchive(t, all["ledger-honest.archive"])
	files, modes := map[string][]byte{}, map[dkg.Mode]int{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if name == "ledger-honest.archive" {
			others = cutArchive(t, all["ledger-ristretto.archive"])
		}
		whole := cutArchive(t, all[name])
		for edit, do := range edits(others) {
			a := *whole
			if bent := do(&a); bent != nil {
				files[edit+" in "+name] = bent.bytes()
				modes[a.params.Mode]++
			}
		}
		for n := range 12 {
			if bent := tamper(chance, all[name], false); !bytes.Equal(bent, all[name]) {
				files[fmt.Sprintf("tampered %d %s", n, name)] = bent
			}
		}
		others = whole
	}
	if verified := j.compare(t, files); verified != 0 {
		t.Errorf("%d of %d verify", verified, len(files))
	}
	t.Logf("%d files, edits by mode %v", len(files), modes)
	if len(modes) != 4 {
		t.Error("a mode is missing")
	}
}
