package participant

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/wire"
)

// Bundle brings a seat what happened: a piece of the ceremony's log, and the
// ledger's word for it. Nobody has to believe who carries it.
type Bundle struct {
	Ceremony    [32]byte
	From        uint64 // entries before those in Log; at 0 Log begins with the archive's head
	Log         []byte
	Certificate []byte // of the ledger, about the ceremony's record
	Letters     map[int]assembly.Letter
}

// MaxLog bounds the log in a bundle.
const MaxLog = wire.MaxArchive

// AddLetter puts in what a dealer sent to the seat.
func (b *Bundle) AddLetter(dealer int, l assembly.Letter) {
	if b.Letters == nil {
		b.Letters = map[int]assembly.Letter{}
	}
	b.Letters[dealer] = l
}

// Reply is what a seat has to say.
type Reply struct {
	Ceremony [32]byte
	Seat     int
	Entries  uint64         // that it has followed: the next bundle begins there
	Phase    assembly.Phase // in which it stood there
	Posts    []Post
	Mail     []byte // hybrid: what this dealer sends, one ciphertext after the other
	Seal     []byte // of the last link, once the ceremony has ended
}

// Post is a message with its seat's signature.
type Post struct {
	Message, Signature []byte
}

const (
	bundleMagic = "quorate ceremony bundle v1\n"
	replyMagic  = "quorate ceremony reply v1\n"
)

var (
	errNotBundle = errors.New("not a ceremony's bundle")
	errNotReply  = errors.New("not a ceremony's reply")
)

// Encode returns the file.
func (b *Bundle) Encode() []byte {
	e := wire.NewEncoder(make([]byte, 0, len(bundleMagic)+len(b.Log)+len(b.Certificate)+1<<10))
	e.Fixed([]byte(bundleMagic))
	e.Fixed(b.Ceremony[:])
	e.U64(b.From)
	e.Bytes(b.Log)
	e.Bytes(b.Certificate)
	e.Count(len(b.Letters))
	for dealer := 1; dealer <= wire.MaxParticipants; dealer++ {
		if l, ok := b.Letters[dealer]; ok {
			e.U16(uint16(dealer))
			e.Fixed(l.Ciphertext)
			e.Path(l.Path)
		}
	}
	return e.Out()
}

const maxPath = 13 // in a tree of MaxParticipants leaves

// ParseBundle reads the file, and checks nothing else.
func ParseBundle(raw []byte) (*Bundle, error) {
	rest, ok := bytes.CutPrefix(raw, []byte(bundleMagic))
	if !ok {
		return nil, fmt.Errorf("read bundle: %w", errNotBundle)
	}
	d := wire.NewDecoder(rest)
	b := &Bundle{}
	d.Fixed(b.Ceremony[:])
	b.From, b.Log, b.Certificate = d.U64(), d.Bytes(MaxLog), d.Bytes(wire.MaxProof)
	last := 0
	for range d.Count(wire.MaxDealers, 2+kem.CiphertextSize+4) {
		dealer := int(d.U16())
		if dealer <= last || dealer > wire.MaxParticipants {
			d.Fail(errors.New("letters are not in ascending order"))
		}
		last = dealer
		l := assembly.Letter{Ciphertext: make([]byte, kem.CiphertextSize)}
		d.Fixed(l.Ciphertext)
		l.Path = d.Path(maxPath)
		b.AddLetter(dealer, l)
	}
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	return b, nil
}

// Encode returns the file.
func (r *Reply) Encode() []byte {
	var e wire.Encoder
	e.Fixed([]byte(replyMagic))
	e.Fixed(r.Ceremony[:])
	e.U16(uint16(r.Seat))
	e.U64(r.Entries)
	e.U8(uint8(r.Phase))
	e.Count(len(r.Posts))
	for _, p := range r.Posts {
		e.Bytes(p.Message)
		e.Bytes(p.Signature)
	}
	e.Bytes(r.Mail)
	e.Bytes(r.Seal)
	return e.Out()
}

// maxPosts bounds the messages of one reply: a dealer answers everybody.
const maxPosts = 2*wire.MaxParticipants + 16

const maxSignature = 4 << 10

// ParseReply reads the file, and checks nothing else.
func ParseReply(raw []byte) (*Reply, error) {
	rest, ok := bytes.CutPrefix(raw, []byte(replyMagic))
	if !ok {
		return nil, fmt.Errorf("read reply: %w", errNotReply)
	}
	d := wire.NewDecoder(rest)
	r := &Reply{}
	d.Fixed(r.Ceremony[:])
	r.Seat, r.Entries, r.Phase = int(d.U16()), d.U64(), assembly.Phase(d.U8())
	for range d.Count(maxPosts, 8) {
		r.Posts = append(r.Posts, Post{d.Bytes(wire.MaxTx), d.Bytes(maxSignature)})
	}
	r.Mail, r.Seal = d.Bytes(wire.MaxParticipants*kem.CiphertextSize), d.Bytes(maxSignature)
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("read reply: %w", err)
	}
	return r, nil
}
