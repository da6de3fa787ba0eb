package rehearsal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/dkg/dkgtest"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/wire"
)

// This file sets the two implementations of spec/transcript.md against each
// other: what `quorate ceremony verify` and quorate-verify say of a file is
// the same, whatever was done to it.

// judges are the two programs, built.
type judges struct{ product, second string }

func build(t *testing.T) judges {
	t.Helper()
	if os.Getenv("QUORATE_CHECK") == "" {
		t.Skip("both binaries are built under ./check, or with QUORATE_CHECK=1")
	}
	bin := t.TempDir()
	for dir, command := range map[string]string{"../..": "./cmd/quorate", "../../verify": "./cmd/quorate-verify"} {
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-C", dir, "-o", bin, command).CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", command, err, out)
		}
	}
	return judges{filepath.Join(bin, "quorate"), filepath.Join(bin, "quorate-verify")}
}

func TestBothImplementations(t *testing.T) {
	j := build(t)
	t.Run("on ceremonies", j.onCeremonies)
	t.Run("on edited archives of a ledger", j.onEditedLedgerArchives)
	t.Run("on fewer", j.onFewer)
	t.Run("on long paths", j.onLongPaths)
	t.Run("on what is signed", j.onWhatIsSigned)
	t.Run("by exit code", j.byExitCode)
}

// outcome is what both say of a file, in whichever words; nil if they refuse it.
type outcome struct {
	Ceremony, Cluster, Phase string
	Mode                     string
	Epoch                    int
	Exercise, Hybrid, Beacon bool
	Participants, Threshold  int
	Seats                    int
	Dealers                  []int    `json:"qualified_dealers"`
	PublicKey                string   `json:"public_key"`
	PublicKeys               []string `json:"public_keys"`
	Confirmed                int
	DepositSafe              bool `json:"deposit_safe"`
	Faults                   []assembly.NamedFault
	Cohorts                  []*outcome
}

// level speaks the second implementation's words.
func (o *outcome) level() *outcome {
	if o.PublicKey != "" {
		o.PublicKeys = []string{o.PublicKey}
	}
	if o.Seats > 0 {
		o.Participants, o.Phase = o.Seats, "done"
	}
	o.PublicKey, o.Seats = "", 0
	if len(o.Dealers) == 0 {
		o.Dealers = nil
	}
	for _, c := range o.Cohorts {
		c.level()
	}
	return o
}

// compare wants the same outcomes of both for all files, and returns how many
// verify. The product judges in this process, for it takes one file at a time.
func (j judges) compare(t *testing.T, files map[string][]byte) (verified int) {
	t.Helper()
	dir := t.TempDir()
	args := []string{"-o", "json"}
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), files[name], 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, name)
	}
	command := exec.CommandContext(t.Context(), j.second, args...)
	command.Dir = dir
	out, err := command.Output()
	var said []struct {
		OK         bool
		Transcript *outcome
		Error      string
	}
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &said); err != nil || len(said) != len(names) {
		t.Fatalf("%v, %d verdicts on %d files", err, len(said), len(names))
	}
	for i, name := range names {
		want, err := productSays(files[name])
		if said[i].OK {
			verified++
		}
		if said[i].OK != (err == nil) || err == nil && !reflect.DeepEqual(said[i].Transcript.level(), want) {
			keep := filepath.Join(os.TempDir(), "disagree-"+name)
			_ = os.WriteFile(keep, files[name], 0o600)
			got, _ := json.Marshal(said[i].Transcript)
			ours, _ := json.Marshal(want)
			t.Errorf("%s (kept as %s): quorate says %s %v, quorate-verify %s %s", name, keep, ours, err, got, said[i].Error)
		}
	}
	return verified
}

func productSays(raw []byte) (*outcome, error) {
	var said any
	var err error
	if dkg.IsTranscript(raw) {
		var x *dkg.Transcript
		if x, err = dkg.VerifyTranscript(raw); err == nil {
			said = x.Outcome()
		}
	} else {
		said, err = assembly.Verify(raw)
	}
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(said)
	if err != nil {
		return nil, err
	}
	o := new(outcome)
	if err := json.Unmarshal(text, o); err != nil {
		return nil, err
	}
	return o.level(), nil
}

// vectors are the transcripts under spec/, by name.
func vectors(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, ext := range []string{"archive", "certificate", "federation"} {
		found, err := filepath.Glob("../../spec/vectors/ceremony/*." + ext)
		if err != nil || len(found) == 0 {
			t.Fatal("no vectors: ", err)
		}
		for _, path := range found {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			files[filepath.Base(path)] = raw
		}
	}
	return files
}

// Of honest and of faulty ceremonies both say the same.
func (j judges) onCeremonies(t *testing.T) {
	files := vectors(t)
	joining, later, dealing := assembly.Sabotages()
	for _, kind := range slices.Concat(joining, later, dealing) {
		for name, c := range map[string]Config{
			"all":    {Participants: 7, Malicious: 28},
			"hybrid": {Participants: 5, Malicious: 20, Hybrid: true},
			"drawn":  {Participants: 14, Cohorts: 2, Dealers: 4, Malicious: 22, Absent: 8},
		} {
			c.Faults, c.Seed = []assembly.Sabotage{kind}, "agree"
			if c.checkFaults() != nil || len(c.kinds(c.Faults)) == 0 {
				continue
			}
			r := play(t, c)
			files[fmt.Sprintf("%s-%s.archive", kind, name)] = r.Archive
			if r.Certificate != nil {
				files[fmt.Sprintf("%s-%s.certificate", kind, name)] = r.Certificate
			}
		}
	}
	// Dealings in two chunks.
	for suite, keys := range map[dkg.Suite]int{dkg.SuiteG1: 520, dkg.SuiteRistretto: 1030} {
		c, err := dkgtest.New(dkgtest.Params(suite, false, 4, keys))
		if err == nil {
			err = c.Run()
		}
		if err != nil {
			t.Fatal(err)
		}
		x, err := dkg.ReadTranscript(c.Board, c.Source)
		if err != nil {
			t.Fatal(err)
		}
		files[fmt.Sprintf("chunks-%d.archive", suite)] = x.Archive()
	}
	files["nobody.archive"] = nobody(t)
	files["unvoted.archive"] = play(t, Config{Participants: 14, Cohorts: 2, Dealers: 4, Absent: 36, Seed: "agree"}).Archive
	if verified := j.compare(t, files); verified != len(files) {
		t.Errorf("%d of %d verify", verified, len(files))
	}
}

// nobody is the archive of a ceremony of hybrid identities to which nobody came.
func nobody(t *testing.T) []byte {
	t.Helper()
	var keys []ident.PrivateKey
	var roster assembly.Roster
	for i := range 4 {
		key, err := ident.FromSeed(ident.Ed25519MLDSA65, bytes.Repeat([]byte{byte(i)}, ident.SeedSize))
		if err != nil {
			t.Fatal(err)
		}
		keys, roster = append(keys, key), append(roster, key.Public())
	}
	c := Config{Participants: 4, Seed: "nobody"}
	p, err := c.params(roster.Hash())
	if err != nil {
		t.Fatal(err)
	}
	a := assembly.NewArchive(p, roster, 1)
	a.Tick(1+joinTime, [32]byte{})
	return a.Close([]assembly.Seal{a.Seal(keys[1], 2), a.Seal(keys[3], 4)})
}

// A file may say less than it could, as long as n-f stand behind it.
func (j judges) onFewer(t *testing.T) {
	all := vectors(t)
	// Four holders in the last 4 + 4·(4+96) bytes, of which one and two leave.
	certificate := all["ledger-honest.certificate"]
	at := len(certificate) - 404
	fewer := func(n int, set byte) []byte {
		out := slices.Clone(certificate[:len(certificate)-100*n])
		out[at+3] = set
		return out
	}
	// Four signatures of cohorts, of which three are wanted.
	federation := all["federation.federation"]
	unsigned := func(n int) []byte {
		return append(slices.Clone(federation[:len(federation)-100*n]), make([]byte, 4*n)...)
	}
	if n := j.compare(t, map[string][]byte{"three holders": fewer(1, 0b1110), "three signatures": unsigned(1)}); n != 2 {
		t.Errorf("%d of 2 verify", n)
	}
	refused := map[string][]byte{
		"two holders": fewer(2, 0b110), "two signatures": unsigned(2), "another holder": fewer(1, 0b11100), "seat 0": fewer(1, 0b1101),
		"one holder is another": fewer(1, 0b11010),
	}
	if n := j.compare(t, refused); n != 0 {
		t.Errorf("%d verify", n)
	}
}

// deed is an entry of an archive before it is signed.
type deed struct {
	now     uint64 // of a tick
	random  [32]byte
	seat    int // 0: a tick
	message []byte
}

// deeds reads the entries of an archive in a world.
func (w *world) deeds(t *testing.T, raw []byte) (out []deed) {
	t.Helper()
	skip := len("quorate ceremony archive v1\n") + len(w.params.Encode()) + 8
	for _, key := range w.roster {
		skip += 4 + len(key.Bytes())
	}
	for d := wire.NewDecoder(raw[skip:]); ; {
		var e deed
		switch d.U8() {
		case 0:
			return out
		case 1:
			e.now = d.U64()
			d.Fixed(e.random[:])
		case 2:
			e.seat, e.message = int(d.U16()), d.Bytes(wire.MaxTx)
			d.Bytes(wire.MaxTx)
		}
		if d.Err() != nil {
			t.Fatal(d.Err())
		}
		out = append(out, e)
	}
}

// signed makes an archive of deeds, with every signature and seal it needs.
func (w *world) signed(deeds []deed, seals int) []byte {
	a := assembly.NewArchive(w.params, w.roster, 1_800_000_000_000)
	for _, e := range deeds {
		if e.seat == 0 {
			a.Tick(e.now, e.random)
		} else {
			a.Post(e.seat, e.message, assembly.SignMessage(w.seats[e.seat-1].identity, e.seat, e.message))
		}
	}
	var all []assembly.Seal
	for _, s := range w.seats[:seals] {
		all = append(all, a.Seal(s.identity, s.index))
	}
	return a.Close(all)
}

// What participants could have said and done otherwise, all of it signed: the
// state machines agree on whether they may have, and on what came of it.
func (j judges) onWhatIsSigned(t *testing.T) {
	each := 40
	if os.Getenv("QUORATE_NIGHTLY") != "" {
		each = 400
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	files, total := map[string][]byte{}, 0
	for name, c := range map[string]Config{
		"honest":   {Participants: 4},
		"hybrid":   {Participants: 4, Malicious: 25, Hybrid: true, Faults: []assembly.Sabotage{assembly.BadAnswer}},
		"withheld": {Participants: 4, Malicious: 25, Hybrid: true, Faults: []assembly.Sabotage{assembly.Withheld}},
		"accused":  {Participants: 14, Cohorts: 2, Dealers: 4, Malicious: 22, Faults: []assembly.Sabotage{assembly.FalseAccusation, assembly.HighDegree}},
		"voted":    {Participants: 7, Malicious: 28, Faults: []assembly.Sabotage{assembly.FalseVote, assembly.FalseConfirm}},
		"absent":   {Participants: 7, Absent: 28},
	} {
		c.Seed = "signed"
		w, err := newWorld(c)
		if err != nil {
			t.Fatal(err)
		}
		defer w.destroy()
		deeds := w.deeds(t, play(t, c).Archive)
		for n := range each {
			files[fmt.Sprintf("%s-%d.archive", name, n)] = w.signed(bend(chance, deeds, c.Participants), c.Participants-chance.IntN(3))
			total++
		}
	}
	verified := j.compare(t, files)
	t.Logf("%d of %d verify", verified, total)
	if verified == 0 || verified == total {
		t.Errorf("%d of %d verify", verified, total)
	}
}

// bend changes one thing in a copy of deeds, late ones as often as early ones.
func bend(chance *rand.Rand, deeds []deed, n int) []deed {
	out := slices.Clone(deeds)
	at := chance.IntN(len(out))
	e := &out[at]
	switch chance.IntN(7) {
	case 0:
		return slices.Delete(out, at, at+1)
	case 1:
		return slices.Insert(out, at, out[at])
	case 2:
		to := chance.IntN(len(out))
		moved := out[at]
		return slices.Insert(slices.Delete(out, at, at+1), min(to, len(out)-1), moved)
	case 3: // time runs out
		return slices.Insert(out, at, deed{now: 1_800_000_000_000 + chance.Uint64N(100*hour)})
	case 4: // nobody says more
		return append(out[:at:at], timeOut()...)
	}
	if e.seat == 0 {
		e.random[chance.IntN(32)] ^= 1
		return out
	}
	if chance.IntN(2) == 0 {
		e.message = bendMessage(chance, e.message, n)
		return out
	}
	e.message = slices.Clone(e.message)
	e.message[chance.IntN(len(e.message))] ^= 1 << chance.IntN(8)
	return out
}

// Of files that somebody changed, both programs come to the same exit code.
func (j judges) byExitCode(t *testing.T) {
	files := vectors(t)
	maps.DeleteFunc(files, func(_ string, raw []byte) bool { return len(raw) > 16<<10 })
	names := slices.Sorted(maps.Keys(files))
	path := filepath.Join(t.TempDir(), "file")
	code := func(binary string, args ...string) int {
		command := exec.CommandContext(t.Context(), binary, append(args, path)...)
		if err := command.Run(); err != nil && command.ProcessState == nil {
			t.Fatal(err)
		}
		return command.ProcessState.ExitCode()
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 1))
	codes := map[int]int{}
	for n := range 200 {
		name := names[n%len(names)]
		raw := tamper(chance, files[name], n < len(names))
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		ours, theirs := code(j.product, "ceremony", "verify"), code(j.second)
		codes[ours]++
		if ours != theirs || ours != 0 && ours != 1 {
			t.Errorf("%s, changed the %dth time: quorate exits with %d, quorate-verify with %d", name, n, ours, theirs)
		}
	}
	if codes[0] == 0 || codes[1] == 0 {
		t.Errorf("exit codes %v", codes)
	}
}

// tamper flips a bit, or drops, repeats or moves a range of bytes.
func tamper(chance *rand.Rand, raw []byte, not bool) []byte {
	out := slices.Clone(raw)
	if not {
		return out
	}
	from := chance.IntN(len(out))
	to := from + 1 + chance.IntN(min(200, len(out)-from))
	part := slices.Clone(out[from:to])
	switch chance.IntN(4) {
	case 0:
		out[from] ^= 1 << chance.IntN(8)
		return out
	case 1:
		return slices.Delete(out, from, to)
	case 2:
		return slices.Insert(out, to, part...)
	default:
		out = slices.Delete(out, from, to)
		return slices.Insert(out, chance.IntN(len(out)+1), part...)
	}
}
