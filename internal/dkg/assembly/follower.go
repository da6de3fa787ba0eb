package assembly

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/wire"
)

// Follower is a board that follows an archive as it grows. It believes no
// entry: every signature is checked, every link computed. Whoever compares
// [Follower.Link] with one that is proven knows that nothing was left out,
// moved or added.
//
// It is for use by one goroutine.
type Follower struct {
	// Examine has the follower make its own finding before the votes count,
	// and refuse the vote by which n-f come to another.
	Examine bool

	roster  Roster
	board   *Board
	link    [32]byte
	entries uint64
	pace    Pace
}

var errVotes = errors.New("n-f participants voted for what does not follow from the dealings")

// Follow begins at the head of an archive: all of it before the entries.
func Follow(head []byte) (*Follower, error) {
	f, rest, err := Begin(head)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes behind its head", len(rest))
	}
	if err != nil {
		return nil, fmt.Errorf("follow ceremony: %w", err)
	}
	return f, nil
}

// Begin reads the head of an archive, and returns what is behind it, for Take.
func Begin(raw []byte) (f *Follower, rest []byte, err error) {
	if !begins(raw, archiveMagic) {
		return nil, nil, errNotArchive
	}
	d := wire.NewDecoder(raw[len(archiveMagic):])
	p := readParams(d)
	if err := d.Err(); err != nil {
		return nil, nil, err
	}
	f = &Follower{pace: Pace{}}
	for range p.N {
		key, err := ident.ParsePublicKey(d.Bytes(wire.MaxSealedKey))
		if err != nil {
			return nil, nil, err
		}
		f.roster = append(f.roster, key)
	}
	if err := f.roster.check(p); err != nil {
		return nil, nil, err
	}
	opened := d.U64()
	if err := d.Err(); err != nil {
		return nil, nil, err
	}
	f.link = wire.Hash(wire.TagAssemblyArchive, raw[:len(raw)-d.Len()])
	f.board, err = NewBoard(p, opened)
	return f, raw[len(raw)-d.Len():], err
}

// check reports whether the keys are those of a ceremony.
func (r Roster) check(p Params) error {
	for _, key := range r {
		if key.Ed25519() == nil {
			return errors.New("an identity key of a suite for people")
		}
	}
	if len(r) != int(p.N) || r.Hash() != p.Roster {
		return errors.New("the identity keys are not those of the ceremony")
	}
	return nil
}

// Take follows whole entries, in order. After an error the follower stands
// before the entry that it did not take, and can go on with another; after a
// vote that its own finding contradicts it is of no more use.
func (f *Follower) Take(entries []byte) error {
	rest, err := f.take(entries)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("kind %d: %w", rest[0], errKind)
	}
	if err != nil {
		return fmt.Errorf("follow ceremony: entry %d: %w", f.entries+1, err)
	}
	return nil
}

// Try takes a message, behind a tick where one is given: both or neither.
// Nothing may be due at the tick.
func (f *Follower) Try(tick, post []byte) error {
	link, entries, now := f.link, f.entries, f.board.now
	err := f.Take(tick)
	if err == nil {
		err = f.Take(post)
	}
	if err != nil {
		f.link, f.entries, f.board.now = link, entries, now
	}
	return err
}

// take follows entries up to one of another kind, and returns what is left.
func (f *Follower) take(raw []byte) (rest []byte, err error) {
	for len(raw) > 0 {
		d := wire.NewDecoder(raw)
		switch d.U8() {
		case entryTick:
			err = f.takeTick(d)
		case entryPost:
			err = f.takePost(d)
		default:
			return raw, nil
		}
		if err != nil {
			return raw, err
		}
		rest := raw[len(raw)-d.Len():]
		f.link = nextLink(f.link, raw[:len(raw)-len(rest)])
		f.entries++
		raw = rest
	}
	return nil, nil
}

func (f *Follower) takeTick(d *wire.Decoder) error {
	now := d.U64()
	var random [32]byte
	d.Fixed(random[:])
	if d.Err() == nil {
		f.board.Tick(now, random)
	}
	return d.Err()
}

func (f *Follower) takePost(d *wire.Decoder) error {
	seat, message, signature := int(d.U16()), d.Bytes(wire.MaxTx), d.Bytes(maxSignature)
	if d.Err() != nil {
		return d.Err()
	}
	m, err := f.roster.CheckMessage(seat, message, signature)
	if err != nil {
		return err
	}
	phase, after := f.board.phase, f.board.now-f.board.since
	if err := f.apply(seat, m); err != nil {
		return err
	}
	f.pace.heard(phase, seat, after)
	return nil
}

// apply takes a message. Who examines looks at the dealings before the votes
// about them count.
func (f *Follower) apply(seat int, m Message) error {
	if f.Examine && f.board.phase == PhaseReplay {
		if _, err := f.Finding(); err != nil {
			return err
		}
	}
	if err := f.board.Apply(seat, m); err != nil {
		return err
	}
	if v := f.board.agreed; v != nil && f.board.finding != nil && !f.board.finding.supports(v) {
		return errVotes
	}
	return nil
}

// Finding returns what the follower's own replay of the dealings comes to. It
// is made once, in the phase of the votes, and the votes are compared with it.
func (f *Follower) Finding() (*Finding, error) {
	if f.board.finding == nil {
		found, err := f.board.Examine()
		if err != nil {
			return nil, err
		}
		f.board.finding = found
	}
	return f.board.finding, nil
}

// Board returns the board as it is now. It changes with the next entry, and is
// for the follower alone to change.
func (f *Follower) Board() *Board { return f.board }

// Link returns the last link.
func (f *Follower) Link() [32]byte { return f.link }

// Entries returns how many entries there were.
func (f *Follower) Entries() uint64 { return f.entries }

// Roster returns the identity keys of the seats.
func (f *Follower) Roster() Roster { return f.roster }
