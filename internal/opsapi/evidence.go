package opsapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/audit"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/proof"
)

// Evidence is what the node can prove to outsiders. A refusal carries an
// rpc.Code, or is audit.ErrNoTile or audit.ErrNoReceipt.
type Evidence interface {
	// Checkpoint returns the newest checkpoint of the audit log.
	Checkpoint(ctx context.Context) ([]byte, error)
	// Tile returns what stands at a C2SP tlog-tiles path below tile/.
	Tile(path string) ([]byte, error)
	// EventReceipt returns a receipt file.
	EventReceipt(ctx context.Context, tx [32]byte) ([]byte, error)
	// Prove proves what paths hold to whoever knows the genesis: an encoded
	// proof.Certificate.
	Prove(ctx context.Context, paths func(proof.Namespace) []proof.Path) ([]byte, error)
	// ExportLog writes an audit log file in which the selected events are shown.
	ExportLog(ctx context.Context, w io.Writer, f audit.Filter) error
}

// file is an answer that is not JSON. Once it has begun to write, an error
// breaks the connection off, so that nobody takes a part for the whole.
type file struct {
	kind   string
	header map[string]string
	write  func(w io.Writer) error
}

func (s *Server) send(w http.ResponseWriter, r *http.Request, f file) {
	out := &begun{to: w}
	w.Header().Set("Content-Type", f.kind)
	for name, value := range f.header {
		w.Header().Set(name, value)
	}
	w.Header().Set("Cache-Control", "no-store")
	err := f.write(out)
	switch {
	case err == nil:
	case out.began:
		s.config.Log.Error("answer broken off", "path", r.URL.Path, "cause", err)
		panic(http.ErrAbortHandler)
	default:
		s.refuse(w, r, err)
	}
}

// begun knows whether an answer has begun.
type begun struct {
	to    io.Writer
	began bool
}

func (b *begun) Write(p []byte) (int, error) {
	b.began = true
	return b.to.Write(p)
}

const (
	kindText   = "text/plain; charset=utf-8"
	kindBinary = "application/octet-stream"
)

func fileOf(kind string, raw []byte, err error) (any, error) {
	switch {
	case errors.Is(err, audit.ErrNoTile):
		return nil, &Error{http.StatusNotFound, err.Error(), "the checkpoint says how long the log is"}
	case errors.Is(err, audit.ErrNoReceipt):
		return nil, &Error{http.StatusNotFound, err.Error(), "events name their transaction as request: quorate audit list -o json"}
	case err != nil:
		return nil, err
	}
	return file{kind: kind, write: func(w io.Writer) error {
		_, err := w.Write(raw)
		return err
	}}, nil
}

func (s *Server) checkpoint(r *http.Request) (any, error) {
	raw, err := s.config.Evidence.Checkpoint(r.Context())
	return fileOf(kindText, raw, err)
}

func (s *Server) tile(r *http.Request) (any, error) {
	raw, err := s.config.Evidence.Tile(r.PathValue("path"))
	return fileOf(kindBinary, raw, err)
}

func (s *Server) receipt(r *http.Request) (any, error) {
	tx, err := parseHex(r.PathValue("tx"), 32)
	if err != nil {
		return nil, err
	}
	raw, err := s.config.Evidence.EventReceipt(r.Context(), [32]byte(tx))
	return fileOf(kindBinary, raw, err)
}

// Formats of an exported audit log.
const (
	FormatLog   = "log"
	FormatLines = "jsonl"
	FormatCSV   = "csv"
)

func (s *Server) export(r *http.Request) (any, error) {
	q := r.URL.Query()
	f := audit.Filter{Key: q.Get("key"), Member: q.Get("member"), Region: q.Get("region"), Kind: q.Get("kind")}
	for name, t := range map[string]*time.Time{"from": &f.From, "to": &f.To} {
		if text := q.Get(name); text != "" {
			var err error
			if *t, err = time.Parse(time.RFC3339, text); err != nil {
				return nil, &Error{http.StatusBadRequest, name + " is no time", "as in 2026-01-02T15:04:05Z"}
			}
		}
	}
	view, err := s.config.Ledger.View()
	if err != nil {
		return nil, err
	}
	if f.Key != "" {
		raw, err := parseHex(f.Key, 48)
		if err != nil {
			return nil, err
		}
		key, err := view.Key(action.DomainValidator, raw)
		if err != nil {
			return nil, err
		}
		f.Origin = ledger.Origin(key)
	}
	ctx, format := r.Context(), q.Get("format")
	if format == FormatLog || format == "" {
		return file{kind: kindBinary, write: func(w io.Writer) error { return s.config.Evidence.ExportLog(ctx, w, f) }}, nil
	}
	write, kind := audit.WriteLines, "application/jsonl"
	switch format {
	case FormatLines:
	case FormatCSV:
		write, kind = audit.WriteCSV, "text/csv; charset=utf-8"
	default:
		return nil, &Error{http.StatusBadRequest, "format " + format + " is unknown", "log, jsonl or csv"}
	}
	size, _ := view.LogRoot()
	return file{kind: kind, write: func(w io.Writer) error { return write(w, view, size, f) }}, nil
}
