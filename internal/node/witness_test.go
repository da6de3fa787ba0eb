package node

import (
	"bytes"
	"errors"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/audit"
	"github.com/quorate/quorate/internal/audit/audittest"
	"github.com/quorate/quorate/internal/audit/witnesstest"
)

// What a witness answers, on all the ways that a log can meet it.
func TestAskWitness(t *testing.T) {
	log, fork := audittest.New(t), audittest.New(t)
	for i := range 3 {
		log.Block(log.Usage(0), log.Usage(1))
		fork.Block(fork.Usage(2), fork.Usage(i))
	}
	file := filepath.Join(t.TempDir(), "witness.json")
	witness, err := witnesstest.New(audittest.Witness, audittest.WitnessKey(),
		map[string][]string{audit.Origin(log.ID): log.Signatories.VerifierKeys(log.Genesis)[:4]}, file, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(witness)
	defer server.Close()
	where := Witness{Name: audittest.Witness, URL: server.URL + "/"}
	one, other := witnesses{seen: map[string]uint64{}}, witnesses{seen: map[string]uint64{}}
	ask := func(ws *witnesses, c *audittest.Cluster, size uint64) error {
		note := c.Note(size)
		lines, err := ws.ask(t.Context(), where, c.View(), note.Checkpoint, note.Raw)
		if err != nil {
			return err
		}
		_, signed, err := c.Signatories.Parse(c.Signatories.Cosign(note.Raw, lines))
		if err == nil && len(signed.Cosignatures) != 1 {
			err = errors.New("no cosignature")
		}
		return err
	}
	for _, step := range []struct {
		name string
		by   *witnesses
		log  *audittest.Cluster
		size uint64
		want error
	}{
		{"the first checkpoint", &one, log, 2, nil},
		{"it grows", &one, log, 5, nil},
		{"another node, who has to be told from where", &other, log, 5, nil},
		{"another node goes on", &other, log, 6, nil},
		{"one who is behind", &one, log, 5, errAhead},
		{"and catches up", &one, log, 7, nil},
		{"a fork", &other, fork, 7, errFork},
		{"a fork that grew", &witnesses{seen: map[string]uint64{}}, fork, 7, errFork},
	} {
		if err := ask(step.by, step.log, step.size); !errors.Is(err, step.want) {
			t.Errorf("%s: %v, want %v", step.name, err, step.want)
		}
	}
	server.Close()
	if err := ask(&one, log, 7); err == nil || errors.Is(err, errFork) {
		t.Errorf("a witness that is away: %v", err)
	}
	if err := checkWitnesses(log.Genesis, []Witness{where, {Name: "stranger.example"}}); err == nil {
		t.Error("a witness that the genesis does not name is asked")
	}
}

func TestKeptCheckpoints(t *testing.T) {
	c := audittest.New(t)
	for range 3 {
		c.Block(c.Usage(0), c.Usage(1))
	}
	n := &Node{cfg: Config{Home: t.TempDir()}, signatories: c.Signatories}
	if notes, err := n.keptCheckpoints(9); err != nil || len(notes) != 0 {
		t.Fatal(notes, err)
	}
	for _, size := range []uint64{6, 2, 4} {
		if err := n.keepCheckpoint(c.Note(size)); err != nil {
			t.Fatal(err)
		}
	}
	notes, err := n.keptCheckpoints(6)
	if err != nil || len(notes) != 2 || notes[0].Size != 2 || !bytes.Equal(notes[1].Raw, c.Note(4).Raw) {
		t.Fatal(notes, err)
	}
	// They make a file that verifies, in order.
	var file bytes.Buffer
	if err := audit.WriteLog(&file, c.View(), audit.LogFile{Cluster: c.ID, Certificate: c.Certificate(false), Notes: notes}); err != nil {
		t.Fatal(err)
	}
	if r, err := audit.Verify(&file, c.Doc); err != nil || r.Checkpoints != 2 || r.Cosignatures != 2 {
		t.Error(r, err)
	}
}
