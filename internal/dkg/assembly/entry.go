package assembly

import (
	"fmt"

	"github.com/quorate/quorate/internal/wire"
)

// Entry is what an archive says next: a block began, or a seat's message was
// taken. It is cut out, and nothing about it is checked.
type Entry struct {
	Raw     []byte
	Time    uint64 // of a block
	Seat    int    // 0 for a block
	Message []byte
}

// ReadEntries cuts entries that follow one another, so that whoever reads an
// archive can compare its links with what others say before it believes it. With
// an error come the entries before the one that is none.
func ReadEntries(raw []byte) (out []Entry, err error) {
	for d := wire.NewDecoder(raw); d.Len() > 0; {
		from := len(raw) - d.Len()
		var e Entry
		switch kind := d.U8(); kind {
		case entryTick:
			e.Time = d.U64()
			var random [32]byte
			d.Fixed(random[:])
		case entryPost:
			e.Seat, e.Message = int(d.U16()), d.Bytes(wire.MaxTx)
			d.Bytes(maxSignature)
			if e.Seat == 0 {
				d.Fail(errSeat)
			}
		default:
			d.Fail(errKind)
		}
		if err := d.Err(); err != nil {
			return out, fmt.Errorf("read entry %d, at byte %d: %w", len(out), from, err)
		}
		e.Raw = raw[from : len(raw)-d.Len()]
		out = append(out, e)
	}
	return out, nil
}

// Link returns the link behind the entry, from the one before it.
func (e *Entry) Link(before [32]byte) [32]byte {
	return nextLink(before, e.Raw)
}

// MessageParts and SealParts are what a seat signs, for signers that are no
// private key in memory.
func MessageParts(seat int, message []byte) (wire.Tag, [][]byte) {
	return wire.TagAssemblyMessage, [][]byte{be16(seat), message}
}

func SealParts(link [32]byte) (wire.Tag, [][]byte) {
	return wire.TagAssemblySeal, [][]byte{link[:]}
}

// IsLetter tells whether a letter is what a dealer committed to send to a
// participant.
func (b *Board) IsLetter(dealer, to int, l *Letter) bool {
	return b.isDealer(dealer) && b.header(dealer) != nil && to >= 1 && to <= int(b.params.N) && b.at(to).joined && b.isLetter(dealer, to, l)
}
