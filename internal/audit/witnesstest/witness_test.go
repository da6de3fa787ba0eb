package witnesstest_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/audit"
	"github.com/quorate/quorate/internal/audit/audittest"
	"github.com/quorate/quorate/internal/audit/witnesstest"
)

// The protocol's refusals, one after another on one witness, which is
// restarted between.
func TestWitness(t *testing.T) {
	c := audittest.New(t)
	for range 4 {
		c.Block(c.Usage(0), c.Usage(1))
	}
	keys := map[string][]string{audit.Origin(c.ID): c.Signatories.VerifierKeys(c.Genesis)[:4]}
	file := filepath.Join(t.TempDir(), "witness.json")
	proof := func(from, to uint64) (lines string) {
		path, err := audit.Consistency(c.View(), from, to)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range path {
			lines += base64.StdEncoding.EncodeToString(h[:]) + "\n"
		}
		return lines
	}
	fork := audittest.New(t)
	fork.Block(fork.Usage(1), fork.Usage(2), fork.Usage(3), fork.Usage(0), fork.Usage(0))
	note := func(c *audittest.Cluster, size uint64) string { return string(c.Note(size).Raw) }
	for _, step := range []struct {
		name, body, note string
		status           int
		answer           string // with which it begins
	}{
		{"a growth from what it has not seen", "old 2\n" + proof(2, 3), note(c, 3), 409, "0\n"},
		{"the first", "old 0\n", note(c, 3), 200, "— " + audittest.Witness + " "},
		{"the same again", "old 3\n", note(c, 3), 200, "— "},
		{"from the beginning again", "old 0\n", note(c, 5), 409, "3\n"},
		{"growth", "old 3\n" + proof(3, 5), note(c, 5), 200, "— "},
		{"a rollback", "old 3\n", note(c, 3), 409, "5\n"},
		{"a rollback that knows better", "old 5\n", note(c, 3), 400, ""},
		{"a fork of the same size", "old 5\n", note(fork, 5), 409, "5\n"},
		{"a fork that grows", "old 5\n" + proof(5, 6), note(fork, 6), 422, ""},
		{"without a proof", "old 5\n", note(c, 6), 422, ""},
		{"by nobody", "old 5\n" + proof(5, 6), strings.SplitAfter(note(c, 6), "\n\n")[0] + "— x.example AAAAAAAA\n", 403, ""},
		{"of another log", "old 5\n", "x" + note(c, 6), 404, ""},
		{"no request", "new 5\n", note(c, 6), 400, ""},
		{"growth after all", "old 5\n" + proof(5, 9), note(c, 9), 200, "— "},
	} {
		w, err := witnesstest.New(audittest.Witness, audittest.WitnessKey(), keys, file, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/add-checkpoint", strings.NewReader(step.body+"\n"+step.note)))
		if rec.Code != step.status || !strings.HasPrefix(rec.Body.String(), step.answer) {
			t.Errorf("%s: %d %q, want %d %q", step.name, rec.Code, rec.Body, step.status, step.answer)
		}
		if rec.Code == 200 {
			signed := c.Signatories.Cosign([]byte(step.note), rec.Body.Bytes())
			if _, by, err := c.Signatories.Parse(signed); err != nil || len(by.Cosignatures) != 1 {
				t.Errorf("%s: cosigned checkpoint: %v", step.name, err)
			}
		}
	}
}
