package assembly

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/wire"
)

// Roster is who may sit in a ceremony: the identity keys of seats 1, …, n.
type Roster []ident.PublicKey

// Hash returns what Params.Roster is.
func (r Roster) Hash() [32]byte {
	parts := make([][]byte, len(r))
	for i, key := range r {
		parts[i] = key.Bytes()
	}
	return wire.Hash(wire.TagAssemblySeats, parts...)
}

// SignMessage signs a message in a seat's name.
func SignMessage(key ident.PrivateKey, seat int, message []byte) []byte {
	return key.Sign(wire.TagAssemblyMessage, be16(seat), message)
}

// CheckMessage parses a message that a seat is said to have signed.
func (r Roster) CheckMessage(seat int, message, signature []byte) (Message, error) {
	if seat < 1 || seat > len(r) {
		return nil, fmt.Errorf("check message of participant %d: %w", seat, errSeat)
	}
	if err := r[seat-1].Verify(signature, wire.TagAssemblyMessage, be16(seat), message); err != nil {
		return nil, fmt.Errorf("check message of participant %d: %w", seat, err)
	}
	return ParseMessage(message)
}

// The first lines of the two kinds of files.
const (
	archiveMagic     = "quorate ceremony archive v1\n"
	certificateMagic = "quorate ceremony certificate v1\n"
)

// Kinds of an archive's entries; numbers are never used again.
const (
	entryEnd byte = iota
	entryTick
	entryPost
)

const maxSignature = 1 + 64 + 3309 // suite, Ed25519, ML-DSA-65

// Archive is everything that a ceremony's board was made from, in order. Each
// entry is linked to those before it, and participants seal the last link, n-f
// of them if a key was made: nothing can be left out, moved or added later.
type Archive struct {
	e    *wire.Encoder
	link [32]byte
}

// NewArchive begins the archive of a ceremony that opened at a time.
func NewArchive(p Params, roster Roster, opened uint64) *Archive {
	a := &Archive{e: wire.NewEncoder(nil)}
	a.e.Fixed([]byte(archiveMagic))
	a.e.Fixed(p.Encode())
	for _, key := range roster {
		a.e.Bytes(key.Bytes())
	}
	a.e.U64(opened)
	a.link = wire.Hash(wire.TagAssemblyArchive, a.e.Out())
	return a
}

// Tick and Post add what the board took.
func (a *Archive) Tick(now uint64, random [32]byte) {
	var e wire.Encoder
	e.U8(entryTick)
	e.U64(now)
	e.Fixed(random[:])
	a.add(e.Out())
}

func (a *Archive) Post(seat int, message, signature []byte) {
	var e wire.Encoder
	e.U8(entryPost)
	e.U16(uint16(seat))
	e.Bytes(message)
	e.Bytes(signature)
	a.add(e.Out())
}

func (a *Archive) add(entry []byte) {
	a.link = wire.Hash(wire.TagAssemblyArchive, a.link[:], entry)
	a.e.Fixed(entry)
}

// Seal is a participant's word that an archive is what it saw.
type Seal struct {
	Seat      int
	Signature []byte
}

// Seal signs the archive as it is now.
func (a *Archive) Seal(key ident.PrivateKey, seat int) Seal {
	return Seal{seat, key.Sign(wire.TagAssemblySeal, a.link[:])}
}

// Close returns the bytes of the archive with its seals, in ascending order.
func (a *Archive) Close(seals []Seal) []byte {
	a.e.U8(entryEnd)
	a.e.Count(len(seals))
	for _, s := range seals {
		a.e.U16(uint16(s.Seat))
		a.e.Bytes(s.Signature)
	}
	return a.e.Out()
}

var (
	errNotArchive = errors.New("not a ceremony's archive")
	errSeals      = errors.New("too few participants sealed it")
	errVotes      = errors.New("n-f participants voted for what does not follow from the dealings")
	errOpen       = errors.New("the ceremony has not ended")
)

// Replay rebuilds a ceremony from its archive, believing nothing that it can
// compute: signatures, proofs, every point of every dealing, complaints,
// votes, confirmations.
func Replay(raw []byte) (*Board, error) {
	if len(raw) > wire.MaxArchive || !begins(raw, archiveMagic) {
		return nil, fmt.Errorf("replay archive: %w", errNotArchive)
	}
	r := replayer(raw)
	if err := r.run(); err != nil {
		return nil, fmt.Errorf("replay archive: entry %d, at byte %d: %w", r.entry, len(raw)-r.d.Len(), err)
	}
	return r.board, nil
}

// replayer stands behind the first line.
func replayer(raw []byte) *replay {
	return &replay{raw: raw, d: wire.NewDecoder(raw[len(archiveMagic):])}
}

type replay struct {
	raw    []byte
	d      *wire.Decoder
	roster Roster
	board  *Board
	link   [32]byte
	entry  int
	vote   *Finding // what the votes should say
}

func (r *replay) run() error {
	if err := r.open(); err != nil {
		return err
	}
	for {
		from := len(r.raw) - r.d.Len()
		kind := r.d.U8()
		if r.entry++; r.d.Err() != nil {
			return r.d.Err()
		}
		if kind == entryEnd {
			return r.end()
		}
		if err := r.take(kind); err != nil {
			return err
		}
		r.link = wire.Hash(wire.TagAssemblyArchive, r.link[:], r.raw[from:len(r.raw)-r.d.Len()])
	}
}

func (r *replay) open() error {
	p := readParams(r.d)
	if err := r.d.Err(); err != nil {
		return err
	}
	for range p.N {
		key, err := ident.ParsePublicKey(r.d.Bytes(wire.MaxSealedKey))
		if err != nil {
			return err
		}
		if key.Ed25519() == nil {
			return errors.New("an identity key of a suite for people")
		}
		r.roster = append(r.roster, key)
	}
	if r.roster.Hash() != p.Roster {
		return errors.New("the identity keys are not those of the ceremony")
	}
	opened := r.d.U64()
	if err := r.d.Err(); err != nil {
		return err
	}
	r.link = wire.Hash(wire.TagAssemblyArchive, r.raw[:len(r.raw)-r.d.Len()])
	var err error
	r.board, err = NewBoard(p, opened)
	return err
}

func (r *replay) take(kind byte) error {
	switch kind {
	case entryTick:
		now := r.d.U64()
		var random [32]byte
		r.d.Fixed(random[:])
		if r.d.Err() != nil {
			return r.d.Err()
		}
		r.board.Tick(now, random)
		return nil
	case entryPost:
		seat, message, signature := int(r.d.U16()), r.d.Bytes(wire.MaxTx), r.d.Bytes(maxSignature)
		if r.d.Err() != nil {
			return r.d.Err()
		}
		m, err := r.roster.CheckMessage(seat, message, signature)
		if err != nil {
			return err
		}
		return r.apply(seat, m)
	}
	return fmt.Errorf("kind %d: %w", kind, errKind)
}

// apply takes a message, and looks at the dealings itself before the votes
// about them count.
func (r *replay) apply(seat int, m Message) (err error) {
	if r.board.phase == PhaseReplay && r.vote == nil {
		if r.vote, err = r.board.Examine(); err != nil {
			return err
		}
	}
	if err := r.board.Apply(seat, m); err != nil {
		return err
	}
	if v := r.board.agreed; v != nil && !r.vote.supports(v) {
		return errVotes
	}
	return nil
}

// end checks the seals, and that nothing follows them.
func (r *replay) end() error {
	last, n := 0, r.d.Count(len(r.roster), 3)
	for range n {
		seat, signature := int(r.d.U16()), r.d.Bytes(maxSignature)
		if seat <= last || seat > len(r.roster) {
			return errOrder
		}
		last = seat
		if err := r.roster[seat-1].Verify(signature, wire.TagAssemblySeal, r.link[:]); err != nil {
			return fmt.Errorf("check seal of participant %d: %w", seat, err)
		}
	}
	if err := r.d.Finish(); err != nil {
		return err
	}
	switch p := &r.board.params; r.board.phase {
	case PhaseDone:
		if n < p.quorum() {
			return errSeals
		}
	case PhaseAborted: // perhaps because n-f were not there; one of f+1 is honest
		if n <= p.faults() {
			return errSeals
		}
	default:
		return errOpen
	}
	return nil
}
