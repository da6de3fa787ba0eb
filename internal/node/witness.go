package node

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/audit"
	"github.com/quorate/quorate/internal/wire"
)

// Witness is where a witness of the genesis is asked to cosign checkpoints.
type Witness struct {
	Name string
	URL  string // submission prefix of C2SP tlog-witness
}

// witnesses asks them. Each remembers how much of the log it has seen; so
// that it need not be asked, this side does, too.
type witnesses struct {
	mu   sync.Mutex
	http http.Client
	seen map[string]uint64
}

const (
	witnessTime   = 5 * time.Second
	maxWitnessSay = 16 << 10 // an answer is a line or two
)

func checkWitnesses(g *action.Genesis, ws []Witness) error {
	for _, w := range ws {
		if !slices.ContainsFunc(g.Witnesses, func(r action.WitnessRecord) bool { return r.Name == w.Name }) {
			return fmt.Errorf("configure witness: the genesis names no witness %q", w.Name)
		}
	}
	return nil
}

// cosign returns the signature lines of the witnesses that answered.
func (n *Node) cosign(ctx context.Context, log audit.Log, at audit.Checkpoint, note []byte) [][]byte {
	ctx, cancel := context.WithTimeout(ctx, witnessTime)
	defer cancel()
	answers := make([][]byte, len(n.cfg.Witnesses))
	var all sync.WaitGroup
	for i, w := range n.cfg.Witnesses {
		all.Go(func() {
			var err error
			answers[i], err = n.witnesses.ask(ctx, w, log, at, note)
			switch {
			case errors.Is(err, errFork):
				n.log.Error("a witness has seen another log of this cluster", "witness", w.Name, "size", at.Size)
			case errors.Is(err, errAhead): // and has cosigned that for the other node
			case err != nil:
				n.log.Warn("no cosignature", "witness", w.Name, "reason", err)
			}
		})
	}
	all.Wait()
	return answers
}

var (
	// errFork: the witness knows a log with which ours is not consistent.
	errFork = errors.New("the witness has seen another log")
	// errAhead: another node has shown the witness more already.
	errAhead = errors.New("the witness has seen more of the log")
)

// ask submits a checkpoint, a second time when the witness says from where.
func (ws *witnesses) ask(ctx context.Context, w Witness, log audit.Log, at audit.Checkpoint, note []byte) ([]byte, error) {
	ws.mu.Lock()
	old := ws.seen[w.Name]
	ws.mu.Unlock()
	for again := false; ; again = true {
		if old > at.Size {
			return nil, errAhead
		}
		path, err := audit.Consistency(log, old, at.Size)
		if err != nil {
			return nil, err
		}
		body := []byte("old " + strconv.FormatUint(old, 10) + "\n")
		for _, h := range path {
			body = append(body, base64.StdEncoding.EncodeToString(h[:])+"\n"...)
		}
		lines, size, err := ws.post(ctx, w.URL, append(append(body, '\n'), note...))
		if err != nil {
			return nil, err
		}
		if lines != nil {
			size = at.Size
		} else if again || size == old {
			return nil, errFork
		}
		old = size
		ws.mu.Lock()
		ws.seen[w.Name] = max(ws.seen[w.Name], size)
		ws.mu.Unlock()
		if lines != nil {
			return lines, nil
		}
	}
}

// post returns signature lines, or without any the size that the witness has
// seen.
func (ws *witnesses) post(ctx context.Context, prefix string, body []byte) (lines []byte, seen uint64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(prefix, "/")+"/add-checkpoint", bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	resp, err := ws.http.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxWitnessSay))
	if err != nil {
		return nil, 0, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return answer, 0, nil
	case http.StatusConflict:
		seen, err = strconv.ParseUint(strings.TrimSuffix(string(answer), "\n"), 10, 64)
		if err != nil {
			return nil, 0, errFork // the same size with another root
		}
		return nil, seen, nil
	case http.StatusUnprocessableEntity:
		return nil, 0, errFork
	}
	return nil, 0, fmt.Errorf("the witness answers %s: %.*q", resp.Status, wire.MaxName, answer)
}
