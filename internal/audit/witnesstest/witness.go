// Package witnesstest is a witness of C2SP tlog-witness for tests.
//
// Owns: [Witness], an http.Handler that cosigns checkpoints of the logs it
// knows, remembers the last of each in a file, and refuses what does not
// continue it.
//
// Never: a log's own code for notes or proofs; those are the tlog project's.
package witnesstest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	logfmt "github.com/transparency-dev/formats/log"
	merkle "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

// Witness cosigns. Make it with New.
type Witness struct {
	name string
	key  ed25519.PrivateKey
	logs map[string]note.Verifiers
	file string
	now  func() time.Time

	mu   sync.Mutex
	last map[string]head // by origin; what file holds
}

type head struct {
	Size uint64
	Root []byte
}

// New opens a witness that keeps its memory in a file. Logs are the keys
// (vkeys) of which one has to sign, by origin.
func New(name string, key ed25519.PrivateKey, logs map[string][]string, file string, now func() time.Time) (*Witness, error) {
	w := &Witness{name: name, key: key, logs: map[string]note.Verifiers{}, file: file, now: now, last: map[string]head{}}
	for origin, vkeys := range logs {
		var known []note.Verifier
		for _, k := range vkeys {
			v, err := note.NewVerifier(k)
			if err != nil {
				return nil, fmt.Errorf("configure log %s: %w", origin, err)
			}
			known = append(known, v)
		}
		w.logs[origin] = note.VerifierList(known...)
	}
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return w, nil
	}
	if err != nil {
		return nil, err
	}
	return w, json.Unmarshal(raw, &w.last)
}

// Seen is the size of the last checkpoint that was cosigned.
func (w *Witness) Seen(origin string) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last[origin].Size
}

func (w *Witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/add-checkpoint") {
		http.NotFound(rw, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, 1<<20))
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	status, answer := w.add(body)
	if status == http.StatusConflict {
		rw.Header().Set("Content-Type", "text/x.tlog.size")
	}
	rw.WriteHeader(status)
	io.WriteString(rw, answer) //nolint:errcheck // the client has gone
}

// add judges a submission: whole under the lock, so that two cannot race.
func (w *Witness) add(body []byte) (status int, answer string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	old, path, signed, err := parse(body)
	if err != nil {
		return http.StatusBadRequest, err.Error()
	}
	origin, _, _ := strings.Cut(string(signed), "\n")
	known, ok := w.logs[origin]
	if !ok {
		return http.StatusNotFound, "unknown log"
	}
	n, err := note.Open(signed, known)
	if err != nil {
		return http.StatusForbidden, err.Error()
	}
	var at logfmt.Checkpoint
	if _, err := at.Unmarshal([]byte(n.Text)); err != nil {
		return http.StatusBadRequest, err.Error()
	}
	last := w.last[origin]
	switch {
	case old > at.Size:
		return http.StatusBadRequest, "old size above the checkpoint's"
	case old != last.Size:
		return http.StatusConflict, strconv.FormatUint(last.Size, 10) + "\n"
	case old == at.Size && old > 0 && !bytes.Equal(at.Hash, last.Root):
		return http.StatusConflict, strconv.FormatUint(last.Size, 10) + "\n"
	}
	if old > 0 {
		err = merkle.VerifyConsistency(rfc6962.DefaultHasher, old, at.Size, path, last.Root, at.Hash)
	} else if len(path) > 0 {
		err = errors.New("a proof from nothing")
	}
	if err != nil {
		return http.StatusUnprocessableEntity, err.Error()
	}
	w.last[origin] = head{at.Size, at.Hash}
	if err := w.save(); err != nil {
		w.last[origin] = last
		return http.StatusInternalServerError, err.Error()
	}
	return http.StatusOK, w.cosignature(n.Text)
}

func (w *Witness) save() error {
	raw, err := json.Marshal(w.last)
	if err != nil {
		return err
	}
	if err := os.WriteFile(w.file+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(w.file+".new", w.file)
}

func (w *Witness) cosignature(text string) string {
	at := uint64(w.now().Unix())
	sig := ed25519.Sign(w.key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text))
	public := w.key.Public().(ed25519.PublicKey)
	id := sha256.Sum256(append([]byte(w.name+"\n\x04"), public...))
	line := append(binary.BigEndian.AppendUint64(id[:4:4], at), sig...)
	return "— " + w.name + " " + base64.StdEncoding.EncodeToString(line) + "\n"
}

func parse(body []byte) (old uint64, path [][]byte, signed []byte, err error) {
	head, signed, ok := bytes.Cut(body, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	size, isOld := strings.CutPrefix(lines[0], "old ")
	if old, err = strconv.ParseUint(size, 10, 64); err != nil || !ok || !isOld || len(lines) > 64 {
		return 0, nil, nil, errors.New("malformed")
	}
	for _, l := range lines[1:] {
		h, err := base64.StdEncoding.DecodeString(l)
		if err != nil || len(h) != sha256.Size {
			return 0, nil, nil, errors.New("malformed proof")
		}
		path = append(path, h)
	}
	return old, path, signed, nil
}
