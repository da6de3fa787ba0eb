package transcript

import (
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
)

const vectors = "../../spec/vectors/ceremony"

func load(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// files lists the transcripts among the vectors.
func files(t testing.TB) (names []string) {
	t.Helper()
	for _, ext := range []string{"archive", "certificate", "federation"} {
		found, err := filepath.Glob(filepath.Join(vectors, "*."+ext))
		if err != nil || len(found) == 0 {
			t.Fatal("no vectors: ", err)
		}
		for _, file := range found {
			names = append(names, filepath.Base(file))
		}
	}
	return names
}

// said is what the product says of a file, in its words.
type said struct {
	File, Ceremony, Cluster, Phase string
	Assembly                       string
	Mode                           string
	Epoch                          int
	Exercise, Hybrid, Beacon       bool
	Participants, Seats            int
	Threshold, Confirmed           int
	Dealers                        []int    `json:"qualified_dealers"`
	PublicKey                      string   `json:"public_key"`
	PublicKeys                     []string `json:"public_keys"`
	DepositSafe                    bool     `json:"deposit_safe"`
	Faults                         []Fault
	Cohorts                        []*said
}

func (s *said) outcome(kind string) *Outcome {
	o := &Outcome{Kind: kind, Ceremony: s.Ceremony, Cluster: s.Cluster, Mode: s.Mode, Epoch: s.Epoch, Assembly: s.Assembly, Exercise: s.Exercise, Hybrid: s.Hybrid, Beacon: s.Beacon, Participants: s.Participants + s.Seats,
		Threshold: s.Threshold, Phase: s.Phase, Dealers: s.Dealers, PublicKeys: s.PublicKeys, Confirmed: s.Confirmed, DepositSafe: s.DepositSafe, Faults: s.Faults}
	if s.PublicKey != "" {
		o.PublicKeys = []string{s.PublicKey}
	}
	if s.Cluster != "" {
		o.Phase = phaseDone
	}
	for _, c := range s.Cohorts {
		o.Cohorts = append(o.Cohorts, c.outcome("ceremony certificate"))
	}
	return o
}

// Both implementations read the same files to the same end.
func TestVectors(t *testing.T) {
	for _, file := range files(t) {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			name, ext := strings.TrimSuffix(file, filepath.Ext(file)), filepath.Ext(file)[1:]
			var want map[string]json.RawMessage
			if err := json.Unmarshal(load(t, name+".json"), &want); err != nil {
				t.Fatal(err)
			}
			var s said
			if err := json.Unmarshal(want[ext], &s); err != nil || s.File != ext {
				t.Fatalf("%s.json: %v, %+v", name, err, s)
			}
			got, err := Verify(load(t, file))
			if err != nil {
				t.Fatal(err)
			}
			if want := s.outcome(got.Kind); !strings.HasSuffix(got.Kind, ext) || !reflect.DeepEqual(plain(got), plain(want)) {
				t.Errorf("%+v\nwant %+v", got, want)
			}
		})
	}
}

// plain forgets what JSON does not tell.
func plain(o *Outcome) (out Outcome) {
	raw, err := json.Marshal(o)
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	if err != nil {
		panic(err)
	}
	return out
}

// refused wants no change of a file to verify; each is made from a position.
func refused(t *testing.T, what string, positions []int, change func(at int) []byte) {
	t.Helper()
	var all sync.WaitGroup
	for part := range 2 {
		all.Go(func() {
			for k := part; k < len(positions); k += 2 {
				if _, err := Verify(change(positions[k])); err == nil {
					t.Errorf("%s at %d: accepted", what, positions[k])
				}
			}
		})
	}
	all.Wait()
}

// spread returns positions in n: as many as that, under QUORATE_NIGHTLY eight
// times more.
func spread(n, most int) (out []int) {
	if os.Getenv("QUORATE_NIGHTLY") != "" {
		most *= 8
	}
	step := max(1, n/most)
	for at := 0; at < n; at += step {
		out = append(out, at+(at*7919)%min(step, n-at))
	}
	return out
}

// flips returns where to flip bytes: by night, each of one file of every kind.
func flips(file string, n int) []int {
	name := strings.TrimSuffix(file, filepath.Ext(file))
	if os.Getenv("QUORATE_NIGHTLY") != "" && slices.Contains([]string{"honest", "ledger-honest", "federation"}, name) {
		return spread(n, n)
	}
	return spread(n, 10)
}

// No byte of any transcript can change, end it early or follow it.
func TestFlippedBytes(t *testing.T) {
	for _, file := range files(t) {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			raw := load(t, file)
			refused(t, "a flip", flips(file, len(raw)), func(at int) []byte {
				bent := slices.Clone(raw)
				bent[at] ^= 1 << (at % 8)
				return bent
			})
			refused(t, "an end", spread(len(raw), 2), func(at int) []byte { return raw[:at] })
			refused(t, "more", []int{len(raw)}, func(int) []byte { return append(slices.Clone(raw), 0) })
		})
	}
}

// entries cuts an archive of a ceremony among thousands.
func entries(t *testing.T, raw []byte) (head []byte, between [][]byte, tail []byte) {
	t.Helper()
	r := &reader{all: raw, at: len(magics()[0].line)}
	p, err := readParams(r)
	if err != nil {
		t.Fatal(err)
	}
	for range p.n {
		readIdentity(r)
	}
	r.time()
	head = raw[:r.at]
	for r.err == nil {
		from := r.at
		switch r.number(1) {
		case entrySeals:
			return head, between, raw[from:]
		case entryTick:
			r.take(8 + 32)
		case entryPost:
			r.number(2)
			r.string(mostMessage)
			r.string(mostSignature)
		}
		between = append(between, raw[from:r.at])
	}
	t.Fatal(r.err)
	return nil, nil, nil
}

// No entry of an archive can be left out, moved or repeated.
func TestMovedEntries(t *testing.T) {
	for _, file := range files(t) {
		raw := load(t, file)
		if !strings.HasPrefix(string(raw), magics()[0].line) {
			continue
		}
		head, all, tail := entries(t, raw)
		with := func(edit func(list [][]byte, at int) [][]byte) func(int) []byte {
			return func(at int) []byte { return slices.Concat(head, slices.Concat(edit(slices.Clone(all), at)...), tail) }
		}
		positions := spread(len(all), 3)
		refused(t, file+": left out", positions, with(func(list [][]byte, at int) [][]byte { return slices.Delete(list, at, at+1) }))
		refused(t, file+": repeated", positions, with(func(list [][]byte, at int) [][]byte { return slices.Insert(list, at, list[at]) }))
		refused(t, file+": moved", positions, with(func(list [][]byte, at int) [][]byte {
			next := (at + 1) % len(list)
			list[at], list[next] = list[next], list[at]
			return list
		}))
	}
}

func FuzzVerify(f *testing.F) {
	for _, file := range files(f) {
		if raw := load(f, file); len(raw) < 16<<10 {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if o, err := Verify(raw); err == nil && o.Phase == phaseDone && o.Confirmed < o.Threshold {
			t.Error("too few confirmed what verifies")
		}
	})
}

// A polynomial goes on as its first values say.
func TestExtend(t *testing.T) {
	for _, g := range []group{g1{}, ristretto{}} {
		var v, want []element
		for x := range 12 {
			e := g.base(big.NewInt(int64(3 + 5*x + 7*x*x + x*x*x)))
			if want = append(want, e); x < 4 {
				v = append(v, e)
			}
		}
		for x, e := range extend(v, 11) {
			if !e.minus(want[x]).identity() {
				t.Errorf("%T: the value at %d", g, x)
			}
		}
		if d := differences(v)[0]; !d.minus(g.base(big.NewInt(6))).identity() || !differences(want[:5])[0].identity() {
			t.Errorf("%T: the highest difference", g)
		}
	}
}
