package hall

import (
	"errors"
	"io"

	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/wire"
)

// Log returns whole entries of a ceremony's log from a number on, as many as
// fit, and the number of the next. Entries count from 1; before them, at 0,
// stands the head.
func (h *Hall) Log(id [32]byte, from uint64) (entries []byte, next uint64, err error) {
	view, err := h.config.View()
	if err != nil {
		return nil, 0, err
	}
	record, ok := view.Assembly(id)
	if !ok {
		return nil, 0, ErrUnknown
	}
	for next = from; next <= record.Entries; next++ {
		entry := view.AssemblyEntry(id, next)
		if len(entries) > 0 && len(entries)+len(entry) > wire.MaxLogPage {
			break
		}
		entries = append(entries, entry...)
	}
	return entries, next, nil
}

// ErrUnsealed is returned for the archive of a ceremony that has not ended, or
// that too few participants have sealed.
var ErrUnsealed = errors.New("too few participants have sealed the ceremony's log")

// Archive writes the archive of a ceremony that has ended and that enough
// participants have sealed.
func (h *Hall) Archive(id [32]byte) (write func(w io.Writer) error, err error) {
	view, err := h.config.View()
	if err != nil {
		return nil, err
	}
	record, ok := view.Assembly(id)
	switch {
	case !ok:
		return nil, ErrUnknown
	case !record.Sealed:
		return nil, ErrUnsealed
	}
	return func(w io.Writer) error {
		for number := uint64(0); number <= record.Entries; number++ {
			if _, err := w.Write(view.AssemblyEntry(id, number)); err != nil {
				return err
			}
		}
		_, err := w.Write(assembly.Tail(seals(view, id)))
		return err
	}, nil
}

func seals(view *ledger.State, id [32]byte) (out []assembly.Seal) {
	for seat := 1; ; seat++ {
		if _, ok := view.Participant(id, seat); !ok {
			return out
		}
		if s := view.AssemblySealOf(id, seat); s != nil {
			out = append(out, assembly.Seal{Seat: seat, Signature: s})
		}
	}
}

// Certificate returns the light transcript of a ceremony that is done.
func (h *Hall) Certificate(id [32]byte) (raw []byte, err error) {
	return raw, h.Read(id, func(r *Room) error {
		c, err := r.Follower.Board().Certificate()
		if err != nil {
			return err
		}
		raw = c.Encode()
		return nil
	})
}
