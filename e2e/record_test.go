package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/quorate/quorate/internal/rpc"
)

// recordLost starts custody on records that are missing, cut short or damaged.
// Only a whole one lets it sign what can be slashed, and nothing makes a new one.
func recordLost(t *testing.T) {
	c := newCluster(t, 2)
	const loser = 3
	signed := c.signPartials(loser)
	c.stopNode(loser, syscall.SIGTERM)
	home := filepath.Join(c.node(loser).Home, "custody-validator")
	record := filepath.Join(home, "slashing.log")
	whole, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"deleted":           nil,
		"emptied":           {},
		"cut to its header": whole[:4096],
		"cut in its header": whole[:7],
		"zeroes":            make([]byte, len(whole)),
	} {
		err := os.Remove(record)
		if content != nil {
			err = os.WriteFile(record, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		p := launch(t, filepath.Join(bin, "quorate-custody"), "run", "--home", home, "--socket", home+".sock")
		select {
		case <-p.done:
		case <-time.After(patience):
			t.Fatalf("%s: custody runs", name)
		}
		if p.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(p.output(), "open slashing record") {
			t.Errorf("%s: custody ends with %v and says: %s", name, p.err, p.output())
		}
		if err := c.startNode(loser); err == nil || !strings.Contains(err.Error(), "open slashing record") {
			t.Errorf("%s: the node starts, or does not say why not: %v", name, err)
		}
	}
	// What is missing or unreadable at the end either shows, or the others'
	// memory of the end does not fit. Either way no old duty is signed again,
	// and the holder is not lost for ever.
	flip := func(at int) []byte {
		flipped := bytes.Clone(whole)
		flipped[at] ^= 1
		return flipped
	}
	started := 0
	end := len(bytes.TrimRight(whole, "\x00")) // the file is longer than what is written
	for name, content := range map[string][]byte{
		"1 byte less":         whole[:end-1],
		"1000 bytes less":     whole[:end-1000],
		"last byte flipped":   flip(end - 1),
		"a late byte flipped": flip(end - 100),
	} {
		if err := os.WriteFile(record, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.startNode(loser); err != nil {
			if !strings.Contains(err.Error(), "open slashing record") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		started++
		c.awaitLeases()
		if started == 1 {
			c.tempt(c.socket(loser), signed)
		} else {
			for _, d := range c.otherwise(signed) {
				if err := c.partial(c.socket(loser), d); err == nil {
					t.Errorf("%s: %s is signed", name, d)
				}
			}
		}
		c.stopNode(loser, syscall.SIGKILL)
	}
	t.Logf("%d damaged records could be opened", started)
	c.mustSign(0, c.block(c.keys[1], 1, 1))
}

// deletedAndBack deletes a key, imports it again and restarts everybody in
// order, so that no floor hides what the record itself remembers.
func deletedAndBack(t *testing.T) {
	c := newCluster(t, 0)
	archive, err := txtar.ParseFile(filepath.Join("testdata", "script", "keymanager.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	var keystore []byte
	for _, f := range archive.Files {
		if f.Name == "import.json" {
			keystore = f.Data
		}
	}
	key := publicKey(t, "0x9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27f4ae4040902382ae2910c15e2b420d07")
	c.keymanager(http.MethodPost, 0, string(keystore), `"imported"`)
	signed := []duty{c.block(key, 100, honestSalt), c.vote(key, 20, 21, honestSalt)}
	c.nameHolders(key)
	c.awaitLeases()
	for n, d := range signed {
		c.mustSign(n, d)
		for i := range 4 { // a quorum signed; now everybody has
			if err := c.partial(c.socket(i), d); err != nil {
				t.Errorf("node%d: %v", i, err)
			}
		}
	}
	c.keymanager(http.MethodDelete, 1, fmt.Sprintf(`{"pubkeys":["%s"]}`, key), `"deleted"`)
	for i := range 4 {
		for _, d := range append(c.otherwise(signed), c.block(key, 101, 1)) {
			c.refuses(i, http.StatusNotFound, d)
		}
	}
	c.keymanager(http.MethodPost, 2, string(keystore), `"imported"`)
	for i := range 4 {
		c.stopNode(i, syscall.SIGTERM)
		if err := c.startNode(i); err != nil {
			t.Fatal(err)
		}
		c.awaitLog(i, provenText)
	}
	for i := range 4 {
		for _, d := range c.otherwise(signed) {
			c.refuses(i, http.StatusPreconditionFailed, d)
			d.epoch = 1 // of the shares that were dealt at the second import
			if err := c.partial(c.socket(i), d); err == nil || rpc.CodeOf(err) != rpc.CodeSlashable {
				t.Errorf("node%d: %v, want slashable, for %s", i, err, d)
			}
		}
	}
	c.mustSign(3, c.block(key, 102, 1))
	c.mustSign(3, c.vote(key, 21, 22, 1))
}

// keymanager asks a node to import or delete.
func (c *cluster) keymanager(method string, node int, body, want string) {
	c.t.Helper()
	token, err := os.ReadFile(filepath.Join(c.node(node).Home, "keymanager.token"))
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), 3*patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.node(node).Signer+"/eth/v1/keystores", strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(raw), want) {
		c.t.Fatalf("%s keystores: %v, status %d: %s", method, err, resp.StatusCode, raw)
	}
}
