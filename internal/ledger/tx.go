package ledger

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/wire"
)

// Code is the outcome of a transaction. Numbers are never used again. The text
// is for people, and in no hash but where the audit log repeats it: of denials,
// and of requests that fail. Other words there are another rule.
type Code uint32

const (
	OK            Code = 0
	CodeMalformed Code = 1 // shape: it could never have been valid
	CodeCluster   Code = 2 // made for another cluster
	CodeSigner    Code = 3 // unknown signer, or not his signature
	CodeNonce     Code = 4 // seen before, or too old
	CodeDenied    Code = 5 // no rule allows it
	CodeNotFound  Code = 6
	CodeConflict  Code = 7 // contradicts what the ledger holds
	CodePhase     Code = 8 // too late or too early for its ceremony
	CodeBusy      Code = 9 // a limit of open things is reached
)

func (c Code) String() string {
	names := [...]string{"ok", "malformed", "wrong cluster", "bad signature", "replayed", "denied", "not found", "conflict", "wrong phase", "busy"}
	if int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("code %d", uint32(c))
}

// Error says why a transaction is refused.
type Error struct {
	Code Code
	Err  error
}

func (e *Error) Error() string { return e.Code.String() + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

func refuse(code Code, format string, args ...any) *Error {
	return &Error{code, fmt.Errorf(format, args...)}
}

// Tx is a transaction of a known kind and right shape.
type Tx struct {
	env  *action.Tx
	raw  []byte
	hash [32]byte
	body any // one of the body types below
}

// Hash names the transaction.
func (tx *Tx) Hash() [32]byte { return tx.hash }

// Envelope returns the outer part.
func (tx *Tx) Envelope() *action.Tx { return tx.env }

// Bodies, one for each kind.
type (
	// Freshness sets the nonce of a custody process of the signing node.
	Freshness struct {
		Domain action.Domain
		Nonce  [32]byte
	}
	// CeremonyMessage posts what a custody process says in a ceremony. The
	// custody process signs it; which node carries it does not matter.
	CeremonyMessage struct {
		Ceremony  [32]byte
		Seat      uint16
		Message   []byte
		Signature []byte
	}
	// AssemblyMessage is the same of a participant that is no node.
	AssemblyMessage CeremonyMessage
	// DealerMessage is what such a participant says in the ceremony among nodes
	// that takes its key over.
	DealerMessage CeremonyMessage
	// AssemblySeal is a participant's word for the log of a ceremony that ended.
	AssemblySeal struct {
		Ceremony  [32]byte
		Seat      uint16
		Signature []byte
	}
	// UsageReport anchors what the custody process of the signing node signed.
	UsageReport struct {
		Domain      action.Domain
		Incarnation [16]byte
		Sequence    uint64   // last entry of custody's log
		Chain       [32]byte // its hash chain up to there
		Keys        [][]byte // keys used since the report before
	}
	// Registration begins an incarnation of a custody process of the signing
	// node, under the id that the process drew at its start.
	Registration struct {
		Domain action.Domain
		ID     [32]byte
		Anchor action.SignedAnchor // of the record as the process opened it
	}
	// Lease raises the ceiling of the present incarnation: sources up to
	// Source, slots and targets as far as the block's time allows. Nothing is
	// leased without a word on how far the record has come.
	Lease struct {
		Domain action.Domain
		ID     [32]byte
		Source uint64
		Anchor action.SignedAnchor
	}
	// Stopped is the word of the signing node's custody process that it signs
	// no more with shares that a reshare replaced.
	Stopped struct {
		Domain   action.Domain
		Ceremony [32]byte
		Stop     action.Stop
		Marks    []byte // what Stop.Marks names
	}
	// Ask asks for an action. It happens at once where nobody else has to
	// agree; else a request waits for those who have to.
	Ask struct {
		Action  *action.Action
		Purpose string
		Keys    [][]byte // for which the parameters of a ceremony stand
		Seats   []byte   // list of participants, of an assembly alone
	}
	// Decide is what a member says to a request.
	Decide struct{ action.Decision }
	// RoundOutput brings a beacon's output. Whoever brings it: it verifies.
	RoundOutput struct {
		Height    uint64
		Signature [bls.SignatureSize]byte
	}
	// Tick asks for nothing: the block that carries it lets time pass.
	Tick struct{}
)

// MaxUsageKeys bounds the keys of one usage report.
const MaxUsageKeys = 8192

// maxStopRecord bounds the record of a stop: two hashes and a signature.
const maxStopRecord = 256

// Encode methods return canonical bodies.

func (b Freshness) Encode() []byte {
	var e wire.Encoder
	e.String(string(b.Domain))
	e.Fixed(b.Nonce[:])
	return e.Out()
}

func (b CeremonyMessage) Encode() []byte {
	var e wire.Encoder
	e.Fixed(b.Ceremony[:])
	e.U16(b.Seat)
	e.Bytes(b.Message)
	e.Bytes(b.Signature)
	return e.Out()
}

func (b AssemblyMessage) Encode() []byte { return CeremonyMessage(b).Encode() }
func (b DealerMessage) Encode() []byte   { return CeremonyMessage(b).Encode() }

func (b AssemblySeal) Encode() []byte {
	var e wire.Encoder
	e.Fixed(b.Ceremony[:])
	e.U16(b.Seat)
	e.Bytes(b.Signature)
	return e.Out()
}

func (b UsageReport) Encode() []byte {
	var e wire.Encoder
	e.String(string(b.Domain))
	e.Fixed(b.Incarnation[:])
	e.U64(b.Sequence)
	e.Fixed(b.Chain[:])
	e.Count(len(b.Keys))
	for _, k := range b.Keys {
		e.Bytes(k)
	}
	return e.Out()
}

func (b Registration) Encode() []byte {
	var e wire.Encoder
	e.String(string(b.Domain))
	e.Fixed(b.ID[:])
	b.Anchor.EncodeTo(&e)
	return e.Out()
}

func (b Lease) Encode() []byte {
	var e wire.Encoder
	e.String(string(b.Domain))
	e.Fixed(b.ID[:])
	e.U64(b.Source)
	b.Anchor.EncodeTo(&e)
	return e.Out()
}

func (b Stopped) Encode() []byte {
	var e wire.Encoder
	e.String(string(b.Domain))
	e.Fixed(b.Ceremony[:])
	e.Bytes(b.Stop.Encode())
	e.Bytes(b.Marks)
	return e.Out()
}

func (b Ask) Encode() []byte {
	var e wire.Encoder
	e.Bytes(b.Action.Encode())
	e.String(b.Purpose)
	e.Count(len(b.Keys))
	for _, k := range b.Keys {
		e.Bytes(k)
	}
	if b.Action.Rule == action.RuleAssembly {
		e.Bytes(b.Seats)
	}
	return e.Out()
}

func (b RoundOutput) Encode() []byte {
	var e wire.Encoder
	e.U64(b.Height)
	e.Fixed(b.Signature[:])
	return e.Out()
}

func (b Tick) Encode() []byte { return nil }

// Parse reads a transaction and checks its shape, without any state.
func Parse(raw []byte) (*Tx, error) {
	env, err := action.ParseTx(raw)
	if err != nil {
		return nil, refuse(CodeMalformed, "%w", err)
	}
	tx := &Tx{env: env, raw: raw, hash: action.HashTx(raw)}
	d := wire.NewDecoder(env.Body)
	switch env.Kind {
	case action.KindFreshness:
		var b Freshness
		b.Domain = action.Domain(d.String(wire.MaxName))
		d.Fixed(b.Nonce[:])
		tx.body = b
	case action.KindCeremonyMessage:
		tx.body = decodeCeremonyMessage(d)
	case action.KindAssembly:
		tx.body = AssemblyMessage(decodeCeremonyMessage(d))
	case action.KindDealing:
		tx.body = DealerMessage(decodeCeremonyMessage(d))
	case action.KindAssemblySeal:
		var b AssemblySeal
		d.Fixed(b.Ceremony[:])
		b.Seat, b.Signature = d.U16(), d.Bytes(ident.MaxSignature)
		tx.body = b
	case action.KindUsage:
		var b UsageReport
		b.Domain = action.Domain(d.String(wire.MaxName))
		d.Fixed(b.Incarnation[:])
		b.Sequence = d.U64()
		d.Fixed(b.Chain[:])
		for range d.Count(MaxUsageKeys, 4) {
			b.Keys = append(b.Keys, d.Bytes(64))
		}
		tx.body = b
	case action.KindRegistration:
		var b Registration
		b.Domain = action.Domain(d.String(wire.MaxName))
		d.Fixed(b.ID[:])
		b.Anchor = action.DecodeSignedAnchor(d)
		tx.body = b
	case action.KindLease:
		var b Lease
		b.Domain = action.Domain(d.String(wire.MaxName))
		d.Fixed(b.ID[:])
		b.Source = d.U64()
		b.Anchor = action.DecodeSignedAnchor(d)
		tx.body = b
	case action.KindStop:
		var b Stopped
		b.Domain = action.Domain(d.String(wire.MaxName))
		d.Fixed(b.Ceremony[:])
		raw := d.Bytes(maxStopRecord)
		b.Marks = d.Bytes(wire.MaxTx)
		if d.Err() == nil {
			b.Stop, err = action.ParseStop(raw)
			d.Fail(err)
		}
		tx.body = b
	case action.KindRequest:
		b, err := parseAsk(d.Rest())
		d.Fail(err)
		tx.body = b
	case action.KindDecision:
		v, err := action.ParseDecision(d.Rest())
		d.Fail(err)
		tx.body = Decide{v}
	case action.KindOutput:
		b := RoundOutput{Height: d.U64()}
		d.Fixed(b.Signature[:])
		tx.body = b
	case action.KindTick:
		tx.body = Tick{}
	default:
		d.Fail(errors.New("unknown kind of transaction"))
	}
	if err := d.Finish(); err != nil {
		return nil, refuse(CodeMalformed, "parse transaction of kind %d: %w", env.Kind, err)
	}
	return tx, nil
}

func decodeCeremonyMessage(d *wire.Decoder) (b CeremonyMessage) {
	d.Fixed(b.Ceremony[:])
	b.Seat = d.U16()
	b.Message = d.Bytes(wire.MaxTx)
	b.Signature = d.Bytes(ident.MaxSignature)
	return b
}

func parseAsk(raw []byte) (b Ask, err error) {
	d := wire.NewDecoder(raw)
	canonical := d.Bytes(action.MaxAction)
	b.Purpose = d.String(wire.MaxName)
	for range d.Count(wire.MaxKeysPerBatch, 4) {
		b.Keys = append(b.Keys, d.Bytes(64))
	}
	if d.Err() == nil {
		b.Action, err = action.ParseAction(canonical)
		d.Fail(err)
	}
	if b.Action != nil && b.Action.Rule == action.RuleAssembly {
		b.Seats = d.Bytes(wire.MaxTx)
	}
	return b, d.Finish()
}

// VerifiedTx is a transaction whose signature and nonce hold in a state. It
// is the only thing that can be applied.
type VerifiedTx struct {
	*Tx
	who principal
	key [32]byte // the credential that signed, as credentialID names it
}

// Verify checks that the signer is known, signed it, and has not sent it
// before. It changes nothing but seen, which may be nil.
func (s *State) Verify(tx *Tx, seen *Seen) (VerifiedTx, error) {
	if tx.env.Cluster != s.cluster {
		return VerifiedTx{}, refuse(CodeCluster, "transaction was made for cluster %s", tx.env.Cluster)
	}
	who, keys, ok := s.signer(tx.env.Signer)
	if !ok {
		return VerifiedTx{}, refuse(CodeSigner, "%s is not on the ledger", tx.env.Signer)
	}
	v := VerifiedTx{Tx: tx, who: who}
	if !s.nonces(tx.env.Signer).fresh(tx.env.Nonce) {
		return VerifiedTx{}, refuse(CodeNonce, "nonce %d of %s was used or is too old", tx.env.Nonce, tx.env.Signer)
	}
	for _, k := range keys {
		if seen.check(tx.hash, signed, k.Bytes(), func() bool { return tx.env.VerifySignature(k) == nil }) {
			v.key = credentialID(k)
			return v, s.verifyInner(tx, seen)
		}
	}
	return VerifiedTx{}, refuse(CodeSigner, "signature of %s does not verify", tx.env.Signer)
}

// verifyInner checks the signature of those whose word a node carries.
func (s *State) verifyInner(tx *Tx, seen *Seen) error {
	switch b := tx.body.(type) {
	case CeremonyMessage:
		return s.verifySaid(tx, b, seen)
	case AssemblyMessage:
		return s.verifyParticipant(tx, b.Ceremony, b.Seat, seen, func(p *action.Participant) bool {
			return assembly.CheckSignature(p.Key, int(b.Seat), b.Message, b.Signature) == nil
		})
	case DealerMessage:
		return s.verifyDealer(tx, b, seen)
	case AssemblySeal:
		// What has verified once counts as verified: only a link that stays is
		// compared with.
		r, ok := s.Assembly(b.Ceremony)
		if ok && !assembly.Phase(r.Phase).Ended() {
			return refuse(CodePhase, "the ceremony has not ended")
		}
		return s.verifyParticipant(tx, b.Ceremony, b.Seat, seen, func(p *action.Participant) bool {
			return assembly.CheckSeal(p.Key, r.Link, b.Signature) == nil
		})
	case Registration:
		return s.verifyAnchor(tx, b.Domain, b.ID, b.Anchor, seen)
	case Lease:
		return s.verifyAnchor(tx, b.Domain, b.ID, b.Anchor, seen)
	case Stopped:
		return s.verifyStop(tx, b, seen)
	case RoundOutput:
		return s.verifyOutput(tx, b, seen)
	}
	return nil
}

func (s *State) verifyAnchor(tx *Tx, domain action.Domain, id [32]byte, a action.SignedAnchor, seen *Seen) error {
	if !seen.check(tx.hash, carried, id[:], func() bool { return a.Verify(s.cluster, domain, id) }) {
		return refuse(CodeSigner, "incarnation %x did not sign the anchor", id[:8])
	}
	return nil
}

func (s *State) verifySaid(tx *Tx, b CeremonyMessage, seen *Seen) error {
	board := s.board(b.Ceremony)
	if board == nil {
		return refuse(CodeNotFound, "ceremony %x is not on the ledger", b.Ceremony)
	}
	seat, err := s.seat(board, b.Seat)
	if err != nil {
		return err
	}
	if !seen.check(tx.hash, carried, seat.Identity.Bytes(), func() bool {
		return seat.Identity.Verify(b.Signature, wire.TagCeremonyMessage, action.CeremonyParts(b.Ceremony, b.Seat, b.Message)...) == nil
	}) {
		return refuse(CodeSigner, "the signature of seat %d does not verify", b.Seat)
	}
	return nil
}

// verifyParticipant checks what a participant that is no node signed.
func (s *State) verifyParticipant(tx *Tx, id [32]byte, seat uint16, seen *Seen, holds func(*action.Participant) bool) error {
	p, ok := s.Participant(id, int(seat))
	if !ok {
		return refuse(CodeNotFound, "no ceremony %x with a seat %d is on the ledger", id, seat)
	}
	if !seen.check(tx.hash, carried, p.Key.Bytes(), func() bool { return holds(p) }) {
		return refuse(CodeSigner, "the signature of participant %d does not verify", seat)
	}
	return nil
}

// Seen remembers which signatures have verified, so that one that was checked
// when it entered the mempool is not checked again in the proposal and in the
// block. It remembers the last maxSeen at least, more than the mempool holds:
// a miss costs time, never safety.
type Seen struct{ young, old map[[32]byte]struct{} }

const maxSeen = 16384

// Whose signature it is: of who sends the transaction, or of those whose word
// it carries. One key may be both, and signs each apart.
const (
	signed  byte = 1
	carried byte = 2
)

func (s *Seen) check(tx [32]byte, of byte, key []byte, verify func() bool) bool {
	if s == nil {
		return verify()
	}
	id := sha256.Sum256(append(append(tx[:], of), key...))
	if _, ok := s.young[id]; ok {
		return true
	}
	if _, ok := s.old[id]; !ok && !verify() {
		return false
	}
	if s.young == nil || len(s.young) >= maxSeen {
		s.young, s.old = make(map[[32]byte]struct{}), s.young
	}
	s.young[id] = struct{}{}
	return true
}

// nonceWindow accepts each number once, out of order within 64 of the
// highest, as RFC 4303 does for packets: a signer can have many transactions
// under way.
type nonceWindow struct {
	top  uint64
	seen uint64 // bit i: top - i was used
}

func (w nonceWindow) fresh(n uint64) bool {
	switch {
	case n > w.top:
		return n-w.top <= 1<<32 // a wild jump would burn the signer's numbers
	case w.top-n < 64:
		return w.seen&(1<<(w.top-n)) == 0
	}
	return false
}

func (w nonceWindow) use(n uint64) nonceWindow {
	if n > w.top {
		shift := n - w.top
		if shift >= 64 {
			w.seen = 0
		} else {
			w.seen <<= shift
		}
		w.top = n
	}
	w.seen |= 1 << (w.top - n)
	return w
}

func (s *State) nonces(signer action.Signer) nonceWindow {
	raw := s.Get(s.ns.Nonce([]byte(signer.String())))
	if raw == nil {
		return nonceWindow{}
	}
	d := wire.NewDecoder(raw)
	w := nonceWindow{top: d.U64(), seen: d.U64()}
	return mustParse(w, d.Finish())
}

func (s *State) useNonce(signer action.Signer, n uint64) {
	w := s.nonces(signer).use(n)
	var e wire.Encoder
	e.U64(w.top)
	e.U64(w.seen)
	s.set(s.ns.Nonce([]byte(signer.String())), e.Out())
}

// NextNonce returns a number that the signer has not used, given the highest
// that it knows to be under way.
func (s *State) NextNonce(signer action.Signer) uint64 { return s.nonces(signer).top + 1 }
