package transcript

import (
	"errors"
	"fmt"
)

// Kinds of an archive's entries.
const (
	entrySeals = 0
	entryTick  = 1
	entryPost  = 2
)

// replay judges an archive: a ceremony among thousands, held again.
func replay(r *reader) (*Outcome, error) {
	p, err := readParams(r)
	if err != nil {
		return nil, err
	}
	ids, parts := make([]identity, p.n), make([][]byte, p.n)
	for i := range ids {
		ids[i] = readIdentity(r)
		parts[i] = ids[i].raw
	}
	opened := r.time()
	if r.err == nil && h(prefix+"/seats", parts...) != p.document {
		return nil, errors.New("the identity keys are not those of the ceremony")
	}
	b := newBoard(p, opened)
	link := h(prefix+"/archive", r.all[:r.at])
	for entry := 1; r.err == nil; entry++ {
		from := r.at
		switch kind := r.number(1); kind {
		case entrySeals:
			if err := b.sealed(r, ids, link); err != nil {
				return nil, err
			}
			return b.outcome(), nil
		case entryTick:
			if now, randomness := r.time(), r.digest(); r.err == nil {
				b.tick(now, randomness)
			}
		case entryPost:
			if err := b.post(r, ids); err != nil {
				return nil, fmt.Errorf("entry %d: %w", entry, err)
			}
		default:
			return nil, fmt.Errorf("entry %d is of kind %d", entry, kind)
		}
		link = h(prefix+"/archive", link[:], r.all[from:r.at])
	}
	return nil, r.err
}

func (r *reader) time() (ms uint64) {
	high, low := r.number(4), r.number(4)
	return uint64(high)<<32 | uint64(low)
}

func (b *board) post(r *reader, ids []identity) error {
	i, message, signature := r.number(2), r.string(mostMessage), r.string(mostSignature)
	switch {
	case r.err != nil:
		return r.err
	case i < 1 || i > b.n:
		return fmt.Errorf("there is no participant %d", i)
	case !ids[i-1].signed(signature, prefix+"/message", u16(i), message):
		return fmt.Errorf("participant %d did not sign it", i)
	}
	if err := b.take(i, message); err != nil {
		return fmt.Errorf("what participant %d says: %w", i, err)
	}
	return nil
}

// sealed checks the seals under the last link, and that enough are there.
func (b *board) sealed(r *reader, ids []identity, link digest) error {
	last, count := 0, r.count(b.n, 3)
	for range count {
		i, signature := r.number(2), r.string(mostSignature)
		switch {
		case r.err != nil:
			return r.err
		case i <= last || i > b.n:
			return errOrder
		case !ids[i-1].signed(signature, prefix+"/seal", link[:]):
			return fmt.Errorf("participant %d did not seal it", i)
		}
		last = i
	}
	want := b.quorum()
	switch b.phase {
	case phaseDone:
	case phaseAborted:
		want = b.params.faults() + 1
	default:
		return fmt.Errorf("it ends in phase %s", b.phase)
	}
	if r.err == nil && count < want {
		return fmt.Errorf("%d participants sealed it, want %d", count, want)
	}
	return r.end()
}
