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

// CheckSignature checks that a seat's key signed a message in its name.
func CheckSignature(key ident.PublicKey, seat int, message, signature []byte) error {
	return key.Verify(signature, wire.TagAssemblyMessage, be16(seat), message)
}

// CheckMessage parses a message that a seat is said to have signed.
func (r Roster) CheckMessage(seat int, message, signature []byte) (Message, error) {
	if seat < 1 || seat > len(r) {
		return nil, fmt.Errorf("check message of participant %d: %w", seat, errSeat)
	}
	if err := CheckSignature(r[seat-1], seat, message, signature); err != nil {
		return nil, fmt.Errorf("check message of participant %d: %w", seat, err)
	}
	return ParseMessage(message)
}

// The first lines of the two kinds of files.
const (
	archiveMagic     = "quorate ceremony archive v1\n"
	certificateMagic = "quorate ceremony certificate v2\n"
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

// Head returns the first bytes of the archive of a ceremony that opened at a time.
func Head(p Params, roster Roster, opened uint64) []byte {
	var e wire.Encoder
	e.Fixed([]byte(archiveMagic))
	e.Fixed(p.Encode())
	for _, key := range roster {
		e.Bytes(key.Bytes())
	}
	e.U64(opened)
	return e.Out()
}

// TickEntry and PostEntry are what an archive says of something that the
// board took.
func TickEntry(now uint64, random [32]byte) []byte {
	var e wire.Encoder
	e.U8(entryTick)
	e.U64(now)
	e.Fixed(random[:])
	return e.Out()
}

func PostEntry(seat int, message, signature []byte) []byte {
	var e wire.Encoder
	e.U8(entryPost)
	e.U16(uint16(seat))
	e.Bytes(message)
	e.Bytes(signature)
	return e.Out()
}

// NewArchive begins the archive of a ceremony that opened at a time.
func NewArchive(p Params, roster Roster, opened uint64) *Archive {
	head := Head(p, roster, opened)
	return &Archive{wire.NewEncoder(head), wire.Hash(wire.TagAssemblyArchive, head)}
}

// Tick and Post add what the board took.
func (a *Archive) Tick(now uint64, random [32]byte) { a.add(TickEntry(now, random)) }

func (a *Archive) Post(seat int, message, signature []byte) {
	a.add(PostEntry(seat, message, signature))
}

func (a *Archive) add(entry []byte) {
	a.link = nextLink(a.link, entry)
	a.e.Fixed(entry)
}

func nextLink(link [32]byte, entry []byte) [32]byte {
	return wire.Hash(wire.TagAssemblyArchive, link[:], entry)
}

// Seal is a participant's word that an archive is what it saw.
type Seal struct {
	Seat      int
	Signature []byte
}

// Seal signs the archive as it is now.
func (a *Archive) Seal(key ident.PrivateKey, seat int) Seal {
	return Seal{seat, SignSeal(key, a.link)}
}

// Close returns the bytes of the archive with its seals, in ascending order.
func (a *Archive) Close(seals []Seal) []byte {
	a.e.Fixed(Tail(seals))
	return a.e.Out()
}

var (
	errNotArchive = errors.New("not a ceremony's archive")
	errSeals      = errors.New("too few participants sealed it")
	errOpen       = errors.New("the ceremony has not ended")
)

// Replay rebuilds a ceremony from its archive, believing nothing that it can
// compute: signatures, proofs, every point of every dealing, complaints,
// votes, confirmations.
func Replay(raw []byte) (*Board, error) {
	fail := func(err error) (*Board, error) { return nil, fmt.Errorf("replay archive: %w", err) }
	if len(raw) > wire.MaxArchive {
		return fail(errNotArchive)
	}
	f, entries, err := Begin(raw)
	if err != nil {
		return fail(err)
	}
	f.Examine = true
	rest, err := f.take(entries)
	if err != nil {
		return fail(fmt.Errorf("entry %d, at byte %d: %w", f.entries+1, len(raw)-len(rest), err))
	}
	if err := f.end(wire.NewDecoder(rest)); err != nil {
		return fail(err)
	}
	return f.board, nil
}

// end checks the seals, and that nothing follows them.
func (f *Follower) end(d *wire.Decoder) error {
	if kind := d.U8(); d.Err() == nil && kind != entryEnd {
		return fmt.Errorf("kind %d: %w", kind, errKind)
	}
	last, n := 0, d.Count(len(f.roster), 3)
	for range n {
		s := Seal{int(d.U16()), d.Bytes(maxSignature)}
		if s.Seat <= last {
			return errOrder
		}
		last = s.Seat
		if err := f.CheckSeal(s); err != nil {
			return err
		}
	}
	if err := d.Finish(); err != nil {
		return err
	}
	if want := f.board.params.SealsWanted(f.board.phase); want == 0 {
		return errOpen
	} else if n < want {
		return errSeals
	}
	return nil
}

// CheckSeal checks a participant's word for the archive as it is now.
func (f *Follower) CheckSeal(s Seal) error {
	if s.Seat < 1 || s.Seat > len(f.roster) {
		return fmt.Errorf("check seal of participant %d: %w", s.Seat, errSeat)
	}
	if err := CheckSeal(f.roster[s.Seat-1], f.link, s.Signature); err != nil {
		return fmt.Errorf("check seal of participant %d: %w", s.Seat, err)
	}
	return nil
}

// CheckSeal checks a seal of an archive that ends with a link.
func CheckSeal(key ident.PublicKey, link [32]byte, signature []byte) error {
	return key.Verify(signature, wire.TagAssemblySeal, link[:])
}

// SignSeal seals an archive that ends with a link.
func SignSeal(key ident.PrivateKey, link [32]byte) []byte {
	return key.Sign(wire.TagAssemblySeal, link[:])
}

// Tail is what closes an archive behind its entries: seals in ascending order.
func Tail(seals []Seal) []byte {
	var e wire.Encoder
	e.U8(entryEnd)
	e.Count(len(seals))
	for _, s := range seals {
		e.U16(uint16(s.Seat))
		e.Bytes(s.Signature)
	}
	return e.Out()
}

// SealsWanted returns how many seals an archive needs of a ceremony that ended
// in a phase; 0 of one that has not ended.
func (p *Params) SealsWanted(phase Phase) int {
	switch phase {
	case PhaseDone:
		return p.quorum()
	case PhaseAborted: // perhaps because n-f were not there; one of f+1 is honest
		return p.faults() + 1
	}
	return 0
}
