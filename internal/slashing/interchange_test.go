package slashing

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/internal/durable/durabletest"
)

// vectors stand beside the repository.
const vectors = "../../../shared/vectors/slashing-interchange"

type suite struct {
	Name    string  `json:"name"`
	Genesis hexText `json:"genesis_validators_root"`
	Steps   []struct {
		ShouldSucceed bool            `json:"should_succeed"`
		Interchange   json.RawMessage `json:"interchange"`
		Blocks        []struct {
			Key  hexText `json:"pubkey"`
			Slot number  `json:"slot"`
			Root hexText `json:"signing_root"`
			expectation
		} `json:"blocks"`
		Attestations []struct {
			Key    hexText `json:"pubkey"`
			Source number  `json:"source_epoch"`
			Target number  `json:"target_epoch"`
			Root   hexText `json:"signing_root"`
			expectation
		} `json:"attestations"`
	} `json:"steps"`
}

// expectation is that of the minimal strategy.
type expectation struct {
	Allowed bool `json:"should_succeed"`
}

// The suites of EIP-3076, for a store of the minimal strategy.
func TestInterchangeSuites(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(vectors, "[a-z]*.json"))
	if err != nil || len(files) == 0 {
		t.Skipf("no suites in %s", vectors)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var s suite
		if err := json.Unmarshal(data, &s); err != nil {
			t.Fatal(err)
		}
		t.Run(s.Name, s.run)
	}
}

func (s suite) run(t *testing.T) {
	genesis := Root(s.Genesis)
	c := testConfig(durabletest.NewDisk())
	c.Genesis = &genesis
	r := initRecord(t, c)
	ask := func(key hexText, f Facts, want bool) {
		t.Helper()
		err := r.Register(Key(key), History{Mode: HistoryNone})
		if err != nil {
			t.Fatal(err)
		}
		err = r.Begin(wide, Item{Key(key), &genesis, f}).Wait()[0]
		if (err == nil) != want {
			t.Errorf("%+v: %v, want allowed %v", f, err, want)
		}
	}
	for i, step := range s.Steps {
		ic, err := ParseInterchange(step.Interchange)
		if err == nil {
			err = r.Import(ic)
		}
		if (err == nil) != step.ShouldSucceed {
			t.Fatalf("step %d: import: %v", i, err)
		}
		for _, b := range step.Blocks {
			ask(b.Key, Block{uint64(b.Slot), rootOf(b.Root)}, b.Allowed)
		}
		for _, a := range step.Attestations {
			ask(a.Key, Attestation{uint64(a.Source), uint64(a.Target), rootOf(a.Root)}, a.Allowed)
		}
		r = reopen(t, r, c)
	}
	r.Close()
}

func rootOf(h hexText) (r Root) {
	copy(r[:], h)
	return r
}

const sample = `{"metadata":{"interchange_format_version":"5","genesis_validators_root":"0x` + zeros64 + `"},
"data":[{"pubkey":"0x` + zeros96 + `","signed_blocks":[{"slot":"7","signing_root":"0x` + zeros64 + `"},{"slot":"3"}],
"signed_attestations":[{"source_epoch":"2","target_epoch":"3"},{"source_epoch":"1","target_epoch":"9","signing_root":null}]}]}`

const (
	zeros64 = "0000000000000000000000000000000000000000000000000000000000000000"
	zeros96 = zeros64 + "00000000000000000000000000000000"
)

func TestParseInterchange(t *testing.T) {
	ic, err := ParseInterchange([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	want := Interchange{Keys: []KeyHistory{{Watermarks: Watermarks{
		Block: BlockMark{Known: true, Ours: true, Slot: 7},
		Vote:  VoteMark{Known: true, Source: 2, Target: 9},
	}}}}
	if !reflect.DeepEqual(ic, want) {
		t.Fatalf("got %+v", ic)
	}
	for name, change := range map[string][2]string{
		"version":           {`"5"`, `"4"`},
		"short root":        {`root":"0x00`, `root":"0x`},
		"hex without 0x":    {`"pubkey":"0x`, `"pubkey":"`},
		"short key":         {`"pubkey":"0x00`, `"pubkey":"0x`},
		"number unquoted":   {`"slot":"7"`, `"slot":7`},
		"sign":              {`"7"`, `"+7"`},
		"leading zero":      {`"7"`, `"07"`},
		"negative":          {`"7"`, `"-7"`},
		"beyond 64 bits":    {`"7"`, `"18446744073709551616"`},
		"empty number":      {`"7"`, `""`},
		"no slot":           {`{"slot":"3"}`, `{}`},
		"no source":         {`"source_epoch":"2",`, ``},
		"no target":         {`,"target_epoch":"3"`, ``},
		"null blocks":       {`[{"slot":"7","signing_root":"0x` + zeros64 + `"},{"slot":"3"}]`, `null`},
		"unknown name":      {`{"slot":"3"}`, `{"slot":"3","extra":1}`},
		"name twice":        {`{"slot":"3"}`, `{"slot":"9","slot":"3"}`},
		"name in two cases": {`{"slot":"3"}`, `{"Slot":"9","slot":"3"}`},
		"another alphabet":  {`{"slot":"3"}`, `{"slot":"9","\u017flot":"3"}`},
		"name in capitals":  {`{"slot":"3"}`, `{"SLOT":"3"}`},
		"data twice":        {`"data":`, `"data":[],"data":`},
		"no data":           {`"data":`, `"metadata2":`},
		"trailing":          {`]}]}`, `]}]}{}`},
		"truncated":         {`]}]}`, `]}]`},
	} {
		in := strings.Replace(sample, change[0], change[1], 1)
		if in == sample {
			t.Fatalf("%s: nothing changed", name)
		}
		if _, err := ParseInterchange([]byte(in)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, in := range []string{``, `null`, `[]`, `5`, `{}`, strings.Repeat(`[`, 100), strings.Repeat(`{"a":`, 100)} {
		if _, err := ParseInterchange([]byte(in)); err == nil {
			t.Errorf("%.20q: accepted", in)
		}
	}
}

func drawMarks(t *rapid.T) (w Watermarks) {
	small := rapid.Uint64Range(0, 4)
	if rapid.Bool().Draw(t, "block") {
		w.Block = BlockMark{Known: true, Ours: rapid.Bool().Draw(t, "ours"), Slot: small.Draw(t, "slot")}
		if w.Block.Ours {
			w.Block.Root = root(rapid.Byte().Draw(t, "root") % 2)
		}
	}
	if rapid.Bool().Draw(t, "vote") {
		w.Vote = VoteMark{Known: true, Ours: rapid.Bool().Draw(t, "ours"), Source: small.Draw(t, "source"), Target: small.Draw(t, "target")}
		if w.Vote.Ours {
			w.Vote.Root = root(rapid.Byte().Draw(t, "root") % 2)
		}
	}
	return w
}

// The merge forbids what its parts forbid, whatever their order, and its
// encoding reads back the same.
func TestMergeMax(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var parts []Interchange
		for range rapid.IntRange(1, 4).Draw(t, "parts") {
			var p Interchange
			for k := range byte(2) {
				p.Keys = append(p.Keys, KeyHistory{Key: Key{k}, Watermarks: drawMarks(t)})
			}
			parts = append(parts, p)
		}
		merged, err := MergeMax(parts...)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			for i, h := range p.Keys {
				if !covers(merged.Keys[i].Watermarks, h.Watermarks) {
					t.Fatalf("%+v does not cover %+v", merged.Keys[i], h)
				}
			}
		}
		data, err := merged.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseInterchange(data)
		if err != nil || !reflect.DeepEqual(back, merged) {
			t.Fatalf("%+v became %+v, %v", merged, back, err)
		}
	})
	if _, err := MergeMax(Interchange{}, Interchange{Genesis: root(1)}); err == nil {
		t.Error("merged two chains")
	}
}

func FuzzParseInterchange(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`{"metadata":{},"data":[]}`))
	files, _ := filepath.Glob(filepath.Join(vectors, "[a-z]*.json"))
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil {
			var s suite
			if json.Unmarshal(data, &s) == nil {
				for _, step := range s.Steps {
					f.Add([]byte(step.Interchange))
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		ic, err := ParseInterchange(in)
		if err != nil {
			return
		}
		data, err := ic.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseInterchange(data)
		if err != nil || !reflect.DeepEqual(again, ic) && len(ic.Keys)+len(again.Keys) > 0 {
			t.Fatalf("%+v became %+v, %v", ic, again, err)
		}
	})
}
