package audit

import (
	"bufio"
	"fmt"
	"io"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/wire"
)

// How files of evidence begin.
const (
	logMagic     = "QUORLOG\n"
	receiptMagic = "QUORRCT\n"
	fileVersion  = 1
)

// Records of an audit log file.
const (
	recordEvent       = 1
	recordErased      = 2
	recordCheckpoint  = 3
	recordTransaction = 4
	recordEnd         = 5
)

// Note is a checkpoint with its signatures.
type Note struct {
	Checkpoint
	Raw []byte
}

// LogFile says what is written of a log.
type LogFile struct {
	Cluster     action.ClusterID
	Certificate *proof.Certificate // without claims; its state says how much of the log there is
	Notes       []Note             // in order of size
	// Discloses says whether an event is shown, or only committed to. nil shows all.
	Discloses func(*ledger.Event) bool
	// Transaction returns a signed transaction as the ledger took it, nil when
	// it is no longer at hand. nil: none is.
	Transaction func(height uint64, hash [32]byte) []byte
}

// counts are the numbers at the end of a file.
type counts struct{ events, erased, checkpoints, transactions uint64 }

// WriteLog writes the audit log file.
func WriteLog(w io.Writer, log Log, f LogFile) error {
	certificate, err := f.Certificate.Encode()
	if err != nil {
		return fmt.Errorf("write audit log: %w", err)
	}
	out := &logWriter{LogFile: f, log: log, w: bufio.NewWriterSize(w, 1<<16)}
	var head wire.Encoder
	head.Fixed([]byte(logMagic))
	head.U16(fileVersion)
	head.Fixed(f.Cluster[:])
	out.write(&head)
	for i := range f.Certificate.State.LogSize {
		if err := out.entry(i); err != nil {
			return fmt.Errorf("write audit log: %w", err)
		}
	}
	var end wire.Encoder
	end.U8(recordEnd)
	for _, n := range []uint64{out.events, out.erased, out.checkpoints, out.transactions} {
		end.U64(n)
	}
	end.Bytes(certificate)
	out.write(&end)
	if err := out.w.Flush(); err != nil {
		return fmt.Errorf("write audit log: %w", err)
	}
	return nil
}

type logWriter struct {
	LogFile
	counts
	log  Log
	w    *bufio.Writer // keeps its first error until Flush
	last [32]byte      // transaction that was written last
}

func (o *logWriter) write(e *wire.Encoder) { o.w.Write(e.Out()) } //nolint:errcheck // Flush returns it

func (o *logWriter) bytes(record uint8, b []byte) {
	var e wire.Encoder
	e.U8(record)
	e.Bytes(b)
	o.write(&e)
}

func (o *logWriter) entry(i uint64) error {
	o.events++
	var e wire.Encoder
	ev := o.log.Event(i)
	if ev == nil || o.Discloses != nil && !o.Discloses(ev) {
		leaf, ok := o.log.Leaf(i)
		if !ok {
			return fmt.Errorf("read audit log: no leaf %d", i)
		}
		e.U8(recordErased)
		e.Fixed(leaf[:])
		o.erased++
		ev = nil
	} else {
		e.U8(recordEvent)
		e.Fixed(ev.Salt[:])
		e.Bytes(ev.Encode())
	}
	o.write(&e)
	if raw := o.transaction(ev); raw != nil {
		o.bytes(recordTransaction, raw)
		o.transactions++
	}
	if len(o.Notes) > 0 && o.Notes[0].Size == i+1 {
		o.bytes(recordCheckpoint, o.Notes[0].Raw)
		o.checkpoints++
		o.Notes = o.Notes[1:]
	}
	if _, err := o.w.Write(nil); err != nil { // the reader has gone
		return err
	}
	return nil
}

// transaction returns what a person signed to cause an event. What nodes sign
// is of the day's work, and would be most of the file.
func (o *logWriter) transaction(ev *ledger.Event) []byte {
	if ev == nil || o.Transaction == nil || ev.Request == o.last || !byMember(ev) {
		return nil
	}
	raw := o.Transaction(ev.Height, ev.Request)
	if raw != nil {
		o.last = ev.Request
	}
	return raw
}
