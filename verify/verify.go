package verify

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"
)

// Report is what a file was found to prove.
type Report struct {
	Kind         string       `json:"kind"`
	Cluster      string       `json:"cluster"`
	Events       uint64       `json:"events,omitempty"`
	Erased       uint64       `json:"erased,omitempty"` // events of which only the commitment is there
	Checkpoints  uint64       `json:"checkpoints,omitempty"`
	Cosignatures uint64       `json:"cosignatures,omitempty"`
	Transactions Transactions `json:"transactions"`
	Height       uint64       `json:"height,omitempty"` // of the header that proves it
	Time         time.Time    `json:"time,omitzero"`    // of that header
}

// Transactions counts the signatures of those who asked and approved. They are
// apart from the rest: the log stands without them.
type Transactions struct {
	Verified   uint64 `json:"verified"`
	Unverified uint64 `json:"unverified"` // under credentials that neither the genesis nor an enrolment in the file shows
}

// ErrUnknownKind: the file is nothing that this program checks.
var ErrUnknownKind = errors.New("no audit log, receipt, checkpoint or transcript, nor a round of a beacon")

// How files begin.
const (
	logMagic        = "QUORLOG\n"
	receiptMagic    = "QUORRCT\n"
	checkpointMagic = "quorate/"
)

// Is tells whether a file that begins so says that it is evidence.
func Is(beginning []byte) bool {
	for _, magic := range []string{logMagic, receiptMagic, checkpointMagic} {
		if bytes.HasPrefix(beginning, []byte(magic)) {
			return true
		}
	}
	return false
}

// Check verifies a file of any kind. The error of one that does not verify
// gives the reason and where.
func (g *Genesis) Check(file io.Reader) (*Report, error) {
	in := bufio.NewReaderSize(file, window)
	r := &Report{Cluster: hex.EncodeToString(g.Cluster[:])}
	magic, err := in.Peek(len(logMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch string(magic) {
	case logMagic:
		r.Kind = "audit log"
		err = g.log(in, r)
	case receiptMagic:
		r.Kind = "receipt"
		err = whole(in, maxReceipt, func(raw []byte) error { return g.receipt(raw, r) })
	case checkpointMagic:
		r.Kind = "checkpoint"
		err = whole(in, maxCheckpoint, func(raw []byte) error {
			c, err := g.checkpoint(raw)
			r.Events, r.Checkpoints, r.Cosignatures = c.size, 1, c.cosignatures
			return err
		})
	default:
		err = ErrUnknownKind
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

func whole(in io.Reader, limit int64, check func([]byte) error) error {
	raw, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return err
	}
	if int64(len(raw)) > limit {
		return fmt.Errorf("byte %d: the file is over the limit of %d", limit, limit)
	}
	return check(raw)
}
