package assembly_test

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/dkg/dkgtest"
	"github.com/quorate/quorate/internal/rehearsal"
)

var update = flag.Bool("update", false, "write spec/vectors/ceremony anew")

const vectors = "../../../spec/vectors/ceremony"

// A vector is transcripts and what they prove.
type vector struct {
	Name        string            `json:"name"`
	Archive     *assembly.Outcome `json:"archive,omitempty"`
	Certificate *assembly.Outcome `json:"certificate,omitempty"`
	Federation  *assembly.Outcome `json:"federation,omitempty"`
}

// golden are the ceremonies behind the vectors: honest ones, and one for each
// of what a participant can do to others.
func golden() map[string]rehearsal.Config {
	return map[string]rehearsal.Config{
		"honest":          {Participants: 4},
		"hybrid":          {Participants: 4, Hybrid: true},
		"drawn":           {Participants: 16, Cohorts: 2, Dealers: 4},
		"absent":          {Participants: 7, Absent: 29},
		"bad-share":       {Participants: 4, Malicious: 25, Faults: []assembly.Sabotage{assembly.BadShare}},
		"false-complaint": {Participants: 4, Malicious: 25, Faults: []assembly.Sabotage{assembly.FalseComplaint}},
		"equivocation":    {Participants: 4, Malicious: 25, Faults: []assembly.Sabotage{assembly.Equivocation}},
		"high-degree":     {Participants: 4, Malicious: 25, Faults: []assembly.Sabotage{assembly.HighDegree}},
		"withheld":        {Participants: 4, Malicious: 25, Hybrid: true, Faults: []assembly.Sabotage{assembly.Withheld}},
		"off-subgroup":    {Participants: 4, Malicious: 25, Faults: []assembly.Sabotage{assembly.OffSubgroup}},
		"bad-answer":      {Participants: 4, Malicious: 25, Hybrid: true, Faults: []assembly.Sabotage{assembly.BadAnswer}},
		"everything":      {Participants: 16, Cohorts: 2, Dealers: 5, Malicious: 31},
		"aborted":         {Participants: 4, Absent: 50},
		"unvoted":         {Participants: 14, Cohorts: 2, Dealers: 4, Absent: 36},
	}
}

func rehearse(t testing.TB, name string, c rehearsal.Config) *rehearsal.Result {
	t.Helper()
	c.Seed = "vector " + name
	r, err := rehearsal.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestGolden holds the formats and the protocol to files that other
// implementations read. They change only with a decision.
func TestGolden(t *testing.T) {
	for name, c := range golden() {
		r := rehearse(t, name, c)
		files := map[string][]byte{"archive": r.Archive}
		if r.Certificate != nil {
			files["certificate"] = r.Certificate
		}
		hold(t, name, files)
	}
	f, err := rehearsal.Federate(t.Context(), rehearsal.Config{Participants: 17, Cohorts: 4, Malicious: 25, Seed: "vector federation"})
	if err != nil {
		t.Fatal(err)
	}
	hold(t, "federation", map[string][]byte{"federation": f.Certificate})
}

// hold compares files, by what they are, and what they prove with a vector.
func hold(t *testing.T, name string, files map[string][]byte) {
	t.Helper()
	v := vector{Name: name}
	for kind, raw := range files {
		dkgtest.Golden(t, vectors, name+"."+kind, raw, *update)
		o, err := assembly.Verify(raw)
		if err != nil {
			t.Fatalf("%s.%s: %v", name, kind, err)
		}
		*map[string]**assembly.Outcome{"archive": &v.Archive, "certificate": &v.Certificate, "federation": &v.Federation}[o.File] = o
	}
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	dkgtest.Golden(t, vectors, name+".json", append(got, '\n'), *update)
}

// positions returns where to flip bytes: everywhere if that is asked for or
// the file is small, else evenly spread.
func positions(raw []byte, most int) (out []int) {
	if os.Getenv("QUORATE_NIGHTLY") != "" {
		most = 2000
		if len(raw) <= 16<<10 {
			most = len(raw)
		}
	}
	step := max(1, len(raw)/most)
	for at := 0; at < len(raw); at += step {
		out = append(out, at+(at*7919)%min(step, len(raw)-at))
	}
	return out
}

// No byte of a transcript can change, however it is used.
func TestFlippedBytes(t *testing.T) {
	honest, drawn := rehearse(t, "honest", golden()["honest"]), rehearse(t, "drawn", golden()["drawn"])
	for name, raw := range map[string][]byte{
		"archive": honest.Archive, "certificate": honest.Certificate, "drawn archive": drawn.Archive, "drawn certificate": drawn.Certificate,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			work := slices.Clone(raw)
			for _, at := range positions(raw, 120) {
				bit := byte(1) << (at % 8)
				work[at] ^= bit
				if _, err := assembly.Verify(work); err == nil {
					t.Errorf("bit %d of byte %d of %d may flip", at%8, at, len(raw))
				}
				work[at] ^= bit
			}
			for _, cut := range []int{0, 1, len(raw) / 2, len(raw) - 1} {
				if _, err := assembly.Verify(raw[:cut]); err == nil {
					t.Errorf("it may end after %d of %d bytes", cut, len(raw))
				}
			}
			if _, err := assembly.Verify(append(slices.Clone(raw), 0)); err == nil {
				t.Error("it may go on")
			}
		})
	}
}

// No entry of an archive can be left out, moved or repeated.
func TestMovedEntries(t *testing.T) {
	raw := rehearse(t, "bad-share", golden()["bad-share"]).Archive
	head, entries, tail := assembly.Entries(raw)
	try := func(what string, at int, changed [][]byte) {
		if _, err := assembly.Verify(slices.Concat(head, slices.Concat(changed...), tail)); err == nil {
			t.Errorf("entry %d of %d may be %s", at, len(entries), what)
		}
	}
	for at := range entries {
		try("left out", at, slices.Delete(slices.Clone(entries), at, at+1))
		try("repeated", at, slices.Insert(slices.Clone(entries), at, entries[at]))
		if next := (at + 1) % len(entries); at < next {
			moved := slices.Clone(entries)
			moved[at], moved[next] = moved[next], moved[at]
			try("moved", at, moved)
		}
	}
}

// A follower comes to what a replay comes to, however the archive reaches it,
// and what it refuses leaves no trace.
func TestFollow(t *testing.T) {
	for _, name := range []string{"drawn", "withheld", "aborted"} {
		raw := rehearse(t, name, golden()[name]).Archive
		head, entries, _ := assembly.Entries(raw)
		want, err := assembly.Replay(raw)
		if err != nil {
			t.Fatal(err)
		}
		f, err := assembly.Follow(head)
		if err != nil {
			t.Fatal(err)
		}
		f.Examine = true
		random := rand.New(rand.NewPCG(1, 2))
		for at := 0; at < len(entries); {
			step := min(1+random.IntN(4), len(entries)-at)
			before, count := f.Link(), f.Entries()
			forged := slices.Clone(entries[at])
			if forged[0] == 2 { // of a tick every byte counts: there is no other that is refused
				forged[len(forged)-1] ^= 1
				if f.Take(forged) == nil || f.Take(forged[:len(forged)-1]) == nil || f.Take([]byte{9}) == nil {
					t.Fatalf("%s: what is none of entry %d is taken", name, at+1)
				}
			}
			if f.Link() != before || f.Entries() != count {
				t.Fatalf("%s: a refused entry left a trace", name)
			}
			if err := f.Take(slices.Concat(entries[at : at+step]...)); err != nil {
				t.Fatal(err)
			}
			at += step
		}
		if diff := cmp.Diff(want.Outcome(""), f.Board().Outcome("")); diff != "" || f.Entries() != uint64(len(entries)) {
			t.Error(name, diff)
		}
		if _, err := assembly.Follow(raw); err == nil {
			t.Error("a head goes on")
		}
	}
}

func FuzzVerify(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(vectors, "*.*"))
	if err != nil || len(files) == 0 {
		f.Fatal("no vectors: ", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if len(raw) < 16<<10 {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if c, err := assembly.ParseCertificate(raw); err == nil && !slices.Equal(c.Encode(), raw) {
			t.Error("a certificate changes when it is parsed")
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		o, err := assembly.Verify(raw)
		runtime.ReadMemStats(&after)
		if err == nil && o.Ceremony == "" {
			t.Error("a transcript of no ceremony verifies")
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
			t.Errorf("%d bytes took %d MiB", len(raw), used>>20)
		}
	})
}

func FuzzMessage(f *testing.F) {
	_, entries, _ := assembly.Entries(rehearse(f, "bad-share", golden()["bad-share"]).Archive)
	for _, e := range entries {
		if len(e) > 7 && e[0] == 2 {
			f.Add(e[7 : len(e)-69])
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, err := assembly.ParseMessage(raw); err == nil && !slices.Equal(m.Encode(), raw) {
			t.Errorf("%T changes when it is parsed", m)
		}
	})
}
