package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/audit"
	"github.com/quorate/quorate/internal/audit/audittest"
)

var update = flag.Bool("update", false, "write spec/vectors/evidence anew")

// vectors are the files that module verify judges, too.
const vectors = "../../spec/vectors/evidence"

// story is a cluster to which something has happened: nodes report, members
// ask, approve with credentials of all four suites and are denied, one is
// enrolled and gets another key at once, a ceremony opens.
func story(t testing.TB) *audittest.Cluster {
	c := audittest.New(t)
	c.Block(c.Usage(0), c.Denied(audittest.Bob))
	c.Block(c.Ceremony())
	c.Block(c.Usage(1), c.Usage(2), c.Enrolment())
	c.Block(c.Approval(audittest.Alice), c.Approval(audittest.Bob), c.Approval(audittest.Dave), c.Approval(audittest.Erin))
	c.Block(c.Denied(audittest.Carol))
	c.Block(c.NewKey())
	c.Block(c.Denied(audittest.Carol))
	return c
}

func writeLog(t testing.TB, c *audittest.Cluster, f audit.LogFile) []byte {
	t.Helper()
	f.Cluster = c.ID
	if f.Certificate == nil {
		f.Certificate = c.Certificate(false)
	}
	var out bytes.Buffer
	if err := audit.WriteLog(&out, c.View(), f); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func receipt(t testing.TB, c *audittest.Cluster, tx []byte) *audit.Receipt {
	t.Helper()
	r, err := audit.NewReceipt(c.View(), c.ID, action.HashTx(tx), c.Certificate(false))
	if err != nil {
		t.Fatal(err)
	}
	r.Raw = tx
	return r
}

// good are files that verify, bad are files whose every signature and hash is
// right, but which say what the ledger did not.
func files(t testing.TB) (genesis []byte, good, bad map[string][]byte) {
	c := story(t)
	size, _ := c.View().LogRoot()
	notes := []audit.Note{c.Note(3), c.Note(size)}
	all := audit.LogFile{Notes: notes, Transaction: c.Transaction}
	good = map[string][]byte{
		"complete.log":   writeLog(t, c, all),
		"small.log":      writeLog(t, c, audit.LogFile{Transaction: c.Transaction}),
		"withheld.log":   writeLog(t, c, audit.LogFile{Notes: notes[1:], Discloses: audit.Filter{Member: "bob"}.Match, Transaction: c.Transaction}),
		"stranger.log":   writeLog(t, c, audit.LogFile{Discloses: audit.Filter{Member: "carol"}.Match, Transaction: c.Transaction}),
		"approvals.log":  writeLog(t, c, audit.LogFile{Discloses: audit.Filter{Kind: "approved"}.Match, Transaction: c.Transaction}),
		"validators.log": writeLog(t, c, audit.LogFile{Certificate: c.Certificate(true)}),
		"checkpoint":     notes[1].Raw,
	}
	opened := c.Ceremony()
	denied := c.Denied(audittest.Bob)
	c.Block(opened, denied, c.Usage(3))
	good["ceremony.receipt"] = receipt(t, c, opened).Encode()
	r := receipt(t, c, denied)
	r.Raw = nil
	good["denied.receipt"] = r.Encode()

	later := c.Certificate(false)
	bad = map[string][]byte{
		"strange-notes.log":   writeLog(t, c, audit.LogFile{Notes: []audit.Note{{Checkpoint: audit.Checkpoint{Size: 3}, Raw: c.Note(2).Raw}}}),
		"other-tx.log":        writeLog(t, c, audit.LogFile{Transaction: func(uint64, [32]byte) []byte { return denied }}),
		"too-few.checkpoint":  bytes.Join(bytes.SplitAfter(c.Note(4).Raw, []byte("\n"))[:9], nil),
		"no-events.receipt":   (&audit.Receipt{Cluster: c.ID, Transaction: action.HashTx(denied), Certificate: encode(t, later)}).Encode(),
		"other-event.receipt": nil,
		"other-tx.receipt":    nil,
	}
	// short.log lacks the last event of those that its certificate proves.
	fewer := c.Certificate(false)
	fewer.State.LogSize--
	short := writeLog(t, c, audit.LogFile{Certificate: fewer})
	proves := encode(t, later)
	bad["short.log"] = append(short[:len(short)-len(proves)], proves...)
	moved := receipt(t, c, denied)
	moved.Events[0].Index--
	bad["other-event.receipt"] = moved.Encode()
	swapped := receipt(t, c, denied)
	swapped.Events = receipt(t, c, opened).Events
	bad["other-tx.receipt"] = swapped.Encode()
	c.Erase(2)
	good["erased.log"] = writeLog(t, c, audit.LogFile{Notes: notes, Transaction: c.Transaction})
	if c.View().Event(2) != nil {
		t.Fatal("nothing was erased")
	}
	return c.Doc, good, bad
}

type encoder interface{ Encode() ([]byte, error) }

func encode(t testing.TB, e encoder) []byte {
	raw, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestVectors holds the files in spec/vectors to what this room writes and
// verifies. Changing them changes the format: that takes a decision record.
func TestVectors(t *testing.T) {
	genesis, good, bad := files(t)
	reports := map[string]*audit.Report{}
	for name, raw := range good {
		r, err := audit.Verify(bytes.NewReader(raw), genesis)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		reports[name] = r
	}
	for name, raw := range bad {
		if _, err := audit.Verify(bytes.NewReader(raw), genesis); !errors.Is(err, audit.ErrEvidence) {
			t.Errorf("%s: accepted: %v", name, err)
		}
	}
	expected, err := json.MarshalIndent(reports, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{"genesis.json": genesis, "good.json": append(expected, '\n')}
	for name, raw := range good {
		all["good/"+name] = raw
	}
	for name, raw := range bad {
		all["bad/"+name] = raw
	}
	for name, raw := range all {
		path := filepath.Join(vectors, name)
		if *update {
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, raw, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, raw) {
			t.Errorf("%s differs (if it is meant: go test ./internal/audit -run TestVectors -update)", name)
			if name == "good.json" {
				t.Error(cmp.Diff(string(want), string(raw)))
			}
		}
	}
}

// A flipped bit anywhere is refused. Module verify flips every byte; here
// strides that meet every field.
func TestFlips(t *testing.T) {
	genesis, good, _ := files(t)
	verifier, err := audit.NewVerifier(genesis)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range good {
		for at := 0; at < len(raw); at += 1 + len(raw)/200 {
			bent := bytes.Clone(raw)
			bent[at] ^= 1 << (at % 8)
			if _, err := verifier.Verify(bytes.NewReader(bent)); err == nil {
				t.Errorf("%s: byte %d flipped, and accepted", name, at)
			}
		}
	}
}

func TestReceiptOfNothing(t *testing.T) {
	c := story(t)
	if _, err := audit.NewReceipt(c.View(), c.ID, [32]byte{1}, c.Certificate(false)); !errors.Is(err, audit.ErrNoReceipt) {
		t.Error(err)
	}
	tx := c.Usage(0)
	before := c.Certificate(false)
	c.Block(tx)
	if _, err := audit.NewReceipt(c.View(), c.ID, action.HashTx(tx), before); !errors.Is(err, audit.ErrNoReceipt) {
		t.Error("a receipt from before the event:", err)
	}
}

func vector(t testing.TB, name string) []byte {
	raw, err := os.ReadFile(filepath.Join(vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func FuzzParseReceipt(f *testing.F) {
	for _, name := range []string{"ceremony.receipt", "denied.receipt"} {
		f.Add(vector(f, "good/"+name))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := audit.ParseReceipt(in)
		if err != nil {
			return
		}
		if !bytes.Equal(r.Encode(), in) {
			t.Fatalf("parse then encode changed %x", in)
		}
	})
}

func FuzzVerify(f *testing.F) {
	verifier, err := audit.NewVerifier(vector(f, "genesis.json"))
	if err != nil {
		f.Fatal(err)
	}
	var good [][]byte
	for _, name := range []string{"denied.receipt", "validators.log"} { // ML-DSA is slow under the fuzzer
		good = append(good, vector(f, "good/"+name))
		f.Add(good[len(good)-1])
	}
	f.Add(vector(f, "good/checkpoint")[:200])
	f.Fuzz(func(t *testing.T, in []byte) {
		// What verifies is one of ours: nobody else has the keys.
		if _, err := verifier.Verify(bytes.NewReader(in)); err == nil {
			for _, raw := range good {
				if bytes.Equal(raw, in) {
					return
				}
			}
			t.Fatalf("forged %x", in)
		}
	})
}
