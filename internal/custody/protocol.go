package custody

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/wire"
)

// Methods of the socket. Numbers are never used again.
const (
	MethodStatus         uint16 = 1
	MethodSign           uint16 = 2
	MethodChallenge      uint16 = 3
	MethodCeremony       uint16 = 4
	MethodBlob           uint16 = 5
	MethodKeystore       uint16 = 6
	MethodExportSlashing uint16 = 7
	MethodImportSlashing uint16 = 8
	MethodStop           uint16 = 9
	MethodUsage          uint16 = 10
	MethodAnchor         uint16 = 11
	MethodForget         uint16 = 12
	MethodLease          uint16 = 13
	MethodClose          uint16 = 14
	MethodWitness        uint16 = 15
	MethodTestify        uint16 = 16
	MethodProve          uint16 = 17
	MethodRecordAnchor   uint16 = 18
	MethodRound          uint16 = 21
)

// MaxHistoryKeys is for how many keys a history fits into a frame: one takes
// some 600 bytes of JSON.
const MaxHistoryKeys = wire.MaxFrame / 1024

// SignRequest asks for a partial signature. A validator's everyday duty needs
// no certificate; what else there is to sign needs one (see Process.sign).
// Nodes hand the encoded request on to each other's custody unopened.
type SignRequest struct {
	Key      [bls.PublicKeySize]byte
	Epoch    uint32 // of the shares that are to be combined
	Duty     []byte // eth.EncodeDuty
	Evidence        // empty for a duty
}

// Encode returns the canonical bytes.
func (r SignRequest) Encode() []byte {
	e := wire.NewEncoder(make([]byte, 0, len(r.Key)+12+len(r.Duty)+len(r.Certificate)))
	e.Fixed(r.Key[:])
	e.U32(r.Epoch)
	e.Bytes(r.Duty)
	r.Evidence.encode(e)
	return e.Out()
}

// ParseSignRequest reads what Encode returned.
func ParseSignRequest(b []byte) (r SignRequest, err error) {
	d := wire.NewDecoder(b)
	d.Fixed(r.Key[:])
	r.Epoch = d.U32()
	r.Duty = d.Bytes(eth.MaxDuty)
	r.Evidence = decodeEvidence(d)
	if err := d.Finish(); err != nil {
		return SignRequest{}, fmt.Errorf("parse sign request: %w", err)
	}
	return r, nil
}

// SignResponse is a partial signature, of which epoch it is (partials of two
// epochs never combine), and which life of the holder made it: the ledger and
// the peers listen to the newest only.
type SignResponse struct {
	Partial     [bls.PartialSize]byte
	Epoch       uint32
	Incarnation [32]byte
}

// Encode returns the canonical bytes.
func (r SignResponse) Encode() []byte {
	var e wire.Encoder
	e.Fixed(r.Partial[:])
	e.U32(r.Epoch)
	e.Fixed(r.Incarnation[:])
	return e.Out()
}

// ParseSignResponse reads what Encode returned.
func ParseSignResponse(b []byte) (r SignResponse, err error) {
	d := wire.NewDecoder(b)
	d.Fixed(r.Partial[:])
	r.Epoch = d.U32()
	d.Fixed(r.Incarnation[:])
	if err := d.Finish(); err != nil {
		return SignResponse{}, fmt.Errorf("parse partial signature: %w", err)
	}
	return r, nil
}

// Status is what custody says of itself.
type Status struct {
	Identity    []byte // its public key
	Keys        uint32 // shares that can sign
	Incarnation [32]byte
	Registered  bool           // the ledger has shown the incarnation's registration
	Ended       bool           // the ledger has shown a newer one
	Fenced      bool           // there are keys to which the floor applies
	Floor       action.Ceiling // above it older keys sign slashable duties
	Ceiling     action.Ceiling // up to it
	Handovers   uint64         // reshares that replaced shares of this process and that it carried out
	Source      uint64         // highest source epoch that a duty asked for
	Lost        uint64         // by how many entries the record was rolled back before this life, at least
	Anchored    uint64         // height of the header that last proved this process's nonce; 0: none
	// Pending lists ceremonies that custody takes part in and has not finished.
	Pending [][32]byte
}

func (s Status) encode() []byte {
	var e wire.Encoder
	e.Bytes(s.Identity)
	e.U32(s.Keys)
	e.Fixed(s.Incarnation[:])
	e.Bool(s.Registered)
	e.Bool(s.Ended)
	e.Bool(s.Fenced)
	for _, c := range []action.Ceiling{s.Floor, s.Ceiling} {
		e.U64(c.Slot)
		e.U64(c.Source)
		e.U64(c.Target)
	}
	e.U64(s.Handovers)
	e.U64(s.Source)
	e.U64(s.Lost)
	e.U64(s.Anchored)
	e.Count(len(s.Pending))
	for _, id := range s.Pending {
		e.Fixed(id[:])
	}
	return e.Out()
}

func parseStatus(b []byte) (s Status, err error) {
	d := wire.NewDecoder(b)
	s.Identity = d.Bytes(4 << 10)
	s.Keys = d.U32()
	d.Fixed(s.Incarnation[:])
	s.Registered, s.Ended, s.Fenced = d.Bool(), d.Bool(), d.Bool()
	for _, c := range []*action.Ceiling{&s.Floor, &s.Ceiling} {
		c.Slot, c.Source, c.Target = d.U64(), d.U64(), d.U64()
	}
	s.Handovers = d.U64()
	s.Source, s.Lost = d.U64(), d.U64()
	s.Anchored = d.U64()
	for range d.Count(maxPending, 32) {
		var id [32]byte
		d.Fixed(id[:])
		s.Pending = append(s.Pending, id)
	}
	return s, d.Finish()
}

// Post is a ceremony message that custody wants on the ledger, signed by its
// identity key over the ceremony's id, the seat and the message.
type Post struct {
	Seat      uint16
	Message   []byte
	Signature []byte
}

// StepResult is what custody answers to a proven state of a ceremony.
type StepResult struct {
	Posts []Post
	// Need names the bodies that custody has to see first.
	Need [][32]byte
	// Active lists keys whose shares can sign from now on.
	Active [][]byte
	// Stop is for the ledger: where this seat stopped with shares that the
	// ceremony replaced. Nil: nothing to say.
	Stop *LastWord
}

// LastWord is what custody says of shares that a reshare replaced.
type LastWord struct {
	Stop  action.Stop
	Marks []byte // what Stop.Marks names: action.EncodeMarks, of all keys of the ceremony
}

// Limits of a step's answer.
const (
	maxPosts   = 4096
	maxPending = 256
	maxNeed    = 1 << 16
)

func (r StepResult) encode() []byte {
	var e wire.Encoder
	e.Count(len(r.Posts))
	for _, p := range r.Posts {
		e.U16(p.Seat)
		e.Bytes(p.Message)
		e.Bytes(p.Signature)
	}
	e.Count(len(r.Need))
	for _, c := range r.Need {
		e.Fixed(c[:])
	}
	e.Count(len(r.Active))
	for _, k := range r.Active {
		e.Bytes(k)
	}
	e.Bool(r.Stop != nil)
	if r.Stop != nil {
		e.Bytes(r.Stop.Stop.Encode())
		e.Bytes(r.Stop.Marks)
	}
	return e.Out()
}

func parseStepResult(b []byte) (r StepResult, err error) {
	d := wire.NewDecoder(b)
	for range d.Count(maxPosts, 10) {
		r.Posts = append(r.Posts, Post{d.U16(), d.Bytes(wire.MaxTx), d.Bytes(8 << 10)})
	}
	for range d.Count(maxNeed, 32) {
		var name [32]byte
		d.Fixed(name[:])
		r.Need = append(r.Need, name)
	}
	for range d.Count(wire.MaxKeysPerBatch, 4) {
		r.Active = append(r.Active, d.Bytes(64))
	}
	if d.Bool() {
		stop, err := action.ParseStop(d.Bytes(256))
		d.Fail(err)
		r.Stop = &LastWord{Stop: stop, Marks: d.Bytes(wire.MaxTx)}
	}
	return r, d.Finish()
}

// Usage is how far custody's own log of signatures has come.
type Usage struct {
	Incarnation [16]byte
	Sequence    uint64
	Chain       [32]byte
	Keys        [][]byte // used since the sequence that was asked about
}

func (u Usage) encode() []byte {
	var e wire.Encoder
	e.Fixed(u.Incarnation[:])
	e.U64(u.Sequence)
	e.Fixed(u.Chain[:])
	e.Count(len(u.Keys))
	for _, k := range u.Keys {
		e.Bytes(k)
	}
	return e.Out()
}

func parseUsage(b []byte) (u Usage, err error) {
	d := wire.NewDecoder(b)
	d.Fixed(u.Incarnation[:])
	u.Sequence = d.U64()
	d.Fixed(u.Chain[:])
	for range d.Count(wire.MaxKeysPerBatch, 4) {
		u.Keys = append(u.Keys, d.Bytes(64))
	}
	return u, d.Finish()
}

// EncodeKeys returns a list of keys, as nodes ask custody, and each other, about them.
func EncodeKeys(keys [][bls.PublicKeySize]byte) []byte {
	var e wire.Encoder
	e.Count(len(keys))
	for _, k := range keys {
		e.Fixed(k[:])
	}
	return e.Out()
}

// DecodeKeys reads what EncodeKeys returned: one key at least, and so many at
// the most.
func DecodeKeys(b []byte, most int) (keys [][bls.PublicKeySize]byte, err error) {
	d := wire.NewDecoder(b)
	for range d.Count(most, bls.PublicKeySize) {
		var k [bls.PublicKeySize]byte
		d.Fixed(k[:])
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		d.Fail(errors.New("no keys"))
	}
	return keys, d.Finish()
}
