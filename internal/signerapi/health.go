package signerapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// publicKeys lists the keys that may be asked for. It is built by hand: ten
// thousand keys are a megabyte, and clients poll it.
func (s *Server) publicKeys(w http.ResponseWriter, _ *http.Request, _ string) error {
	keys := s.config.Signer.Keys()
	body := make([]byte, 0, 2+len(keys)*(len(`"0x",`)+96))
	body = append(body, '[')
	for i, key := range keys {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, '"')
		body = appendHex(body, key[:])
		body = append(body, '"')
	}
	writeBody(w, http.StatusOK, contentJSON, append(body, ']'))
	return nil
}

// upcheck says that the process serves, whatever state the cluster is in.
func (s *Server) upcheck(w http.ResponseWriter, _ *http.Request, _ string) error {
	writeBody(w, http.StatusOK, contentText, []byte("OK"))
	return nil
}

// healthReport is Web3Signer's (Vert.x's) health document. Vero reads status
// and outcome.
type healthReport struct {
	Status  string        `json:"status"`
	Checks  []healthCheck `json:"checks"`
	Outcome string        `json:"outcome"`
}

type healthCheck struct {
	ID     string            `json:"id"`
	Status string            `json:"status"`
	Data   map[string]string `json:"data,omitempty"`
}

func (s *Server) healthcheck(w http.ResponseWriter, r *http.Request, _ string) error {
	report := healthReport{Status: "UP", Checks: []healthCheck{{ID: "default-check", Status: "UP"}}}
	status := http.StatusOK
	for _, c := range s.config.Health.Health(r.Context()) {
		line := healthCheck{ID: c.ID, Status: "UP"}
		if !c.Up {
			line.Status, report.Status, status = "DOWN", "DOWN", http.StatusServiceUnavailable
			if c.Reason != "" {
				line.Data = map[string]string{"reason": c.Reason}
			}
		}
		report.Checks = append(report.Checks, line)
	}
	report.Outcome = report.Status
	writeJSON(w, status, report)
	return nil
}

func (s *Server) highWatermark(w http.ResponseWriter, r *http.Request, _ string) error {
	var body struct {
		Epoch *uint64 `json:"epoch,string,omitempty"`
		Slot  *uint64 `json:"slot,string,omitempty"`
	}
	if s.config.Watermarks != nil {
		mark, err := s.config.Watermarks.HighWatermark(r.Context())
		if err != nil {
			return fmt.Errorf("read high watermark: %w", err)
		}
		if mark != nil {
			body.Epoch, body.Slot = &mark.Epoch, &mark.Slot
		}
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}

// reloads runs at most one reload at a time, in the goroutine of run.
type reloads struct {
	reloader Reloader
	asked    chan struct{} // holds one while a reload is asked for and not begun

	mu    sync.Mutex
	state reloadState
}

// reloadState is the body of GET /reload.
type reloadState struct {
	Status    string `json:"status"`
	Time      string `json:"lastOperationTime,omitempty"`
	LastError string `json:"lastError,omitempty"`
}

const reloadRunning = "running"

func newReloads(reloader Reloader) *reloads {
	return &reloads{reloader: reloader, asked: make(chan struct{}, 1), state: reloadState{Status: "idle"}}
}

func (l *reloads) set(status, cause string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = reloadState{status, time.Now().UTC().Format(time.RFC3339Nano), cause}
}

// begin reports false while a reload is asked for or under way.
func (l *reloads) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.Status == reloadRunning {
		return false
	}
	l.state = reloadState{Status: reloadRunning, Time: time.Now().UTC().Format(time.RFC3339Nano)}
	l.asked <- struct{}{} // has room: begin is true once per round of run
	return true
}

func (l *reloads) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.asked:
		}
		failed, err := 0, error(nil)
		if l.reloader != nil {
			failed, err = l.reloader.Reload(ctx)
		}
		switch {
		case err != nil:
			l.set("failed", err.Error())
		case failed > 0:
			l.set("completed_with_errors", fmt.Sprintf("Reload completed with %d signer loading error(s)", failed))
		default:
			l.set("completed", "")
		}
	}
}

func (s *Server) reloadStatus(w http.ResponseWriter, _ *http.Request, _ string) error {
	s.reloads.mu.Lock()
	state := s.reloads.state
	s.reloads.mu.Unlock()
	writeJSON(w, http.StatusOK, state)
	return nil
}

func (s *Server) reload(w http.ResponseWriter, _ *http.Request, _ string) error {
	if !s.reloads.begin() {
		writeBody(w, http.StatusConflict, contentJSON, json.RawMessage(
			`{"status":"error","message":"A reload operation is already in progress. Please try again later.","error":"reload in progress"}`))
		return nil
	}
	writeBody(w, http.StatusAccepted, contentJSON, json.RawMessage(
		`{"status":"accepted","message":"Reload operation accepted and is running in the background. Use GET /reload to check status."}`))
	return nil
}
