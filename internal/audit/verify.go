package audit

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/wire"
)

// ErrEvidence is wrapped by every reason to refuse a file.
var ErrEvidence = errors.New("evidence refused")

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
	Entries      []Entry      `json:"-"`                // that a receipt proves
}

// Transactions counts the signatures of those who asked and approved.
type Transactions struct {
	Verified   uint64 `json:"verified"`
	Unverified uint64 `json:"unverified"` // under credentials that neither the genesis nor an enrolment in the file shows
}

// Verifier checks files of one cluster.
type Verifier struct{ v *verifier }

// NewVerifier takes the genesis document.
func NewVerifier(genesis []byte) (*Verifier, error) {
	v, err := newVerifier(genesis)
	if err != nil {
		return nil, err
	}
	return &Verifier{v}, nil
}

// verifier knows what the genesis says, and while a file is read what that
// says of members.
type verifier struct {
	cluster     action.ClusterID
	namespace   proof.Namespace
	signatories *Signatories
	client      proof.Client
	keys        map[string][]ident.PublicKey // by signer
	asked       map[string][]ident.PublicKey // for members, by requests that the file shows
	waiting     int                          // of them
}

func newVerifier(genesis []byte) (*verifier, error) {
	g, id, err := action.ParseGenesis(genesis)
	if err != nil {
		return nil, err
	}
	v := &verifier{cluster: id, namespace: proof.Namespace(g.Namespace), signatories: NewSignatories(g, id), keys: map[string][]ident.PublicKey{}}
	var vals []proof.Validator
	for _, n := range g.Nodes {
		vals = append(vals, proof.Validator{PubKey: ed25519.PublicKey(n.Vote[:]), Power: proof.VotePower})
		v.keys[action.Signer{Class: action.SignerNode, Name: n.Name}.String()] = []ident.PublicKey{n.Identity}
	}
	for _, m := range g.Members {
		v.keys[action.Signer{Class: action.SignerMember, Name: m.ID}.String()] = m.Keys
	}
	set, err := proof.NewValidatorSet(vals)
	if err != nil {
		return nil, err
	}
	// Evidence does not expire: what the validators of then signed, they signed.
	v.client, err = proof.NewClient(proof.Trust{Cluster: id, ChainID: id.ChainID(), Validators: set, TrustingPeriod: math.MaxInt64})
	return v, err
}

// certificate returns the state that a certificate proves.
func (v *verifier) certificate(raw []byte, r *Report) (proof.State, error) {
	proven, err := v.certified(raw, 0)
	if err != nil {
		return proof.State{}, err
	}
	r.Height, r.Time = proven.Height(), proven.Time()
	return proven.State(), nil
}

// certified returns what a certificate with so many claims proves.
func (v *verifier) certified(raw []byte, claims int) (none proof.Verified, err error) {
	cert, err := proof.Parse(raw)
	if err != nil {
		return none, err
	}
	if len(cert.Claims) != claims {
		return none, fmt.Errorf("the certificate has %d claims, want %d", len(cert.Claims), claims)
	}
	last := uint64(0)
	for _, l := range cert.Links { // the client passes over what it need not see
		if l.Header.Height <= last || bytes.Equal(l.Header.ValidatorsHash, l.Header.NextValidatorsHash) {
			return none, errors.New("the certificate leads over what is no change of validators")
		}
		last = l.Header.Height
	}
	_, proven, err := v.client.Verify(cert)
	return proven, err
}

// transaction checks a signed transaction against an event that it caused.
func (v *verifier) transaction(raw []byte, ev *ledger.Event, r *Report) error {
	tx, err := action.ParseTx(raw)
	switch {
	case err != nil:
		return err
	case action.HashTx(raw) != ev.Request:
		return errors.New("the transaction is not the one that caused the event")
	case tx.Cluster != v.cluster || tx.Signer.String() != ev.Actor:
		return fmt.Errorf("the transaction is of %s, the event of %s", tx.Signer, ev.Actor)
	}
	if slices.ContainsFunc(v.keys[ev.Actor], func(k ident.PublicKey) bool { return tx.VerifySignature(k) == nil }) {
		r.Transactions.Verified++
	} else {
		r.Transactions.Unverified++
	}
	v.noteEnrolment(tx)
	v.enrol(ev) // what happened at once is the event before
	return nil
}

// maxAsked bounds the credentials that wait for their enrolment.
const maxAsked = 1 << 12

// noteEnrolment remembers the credentials that a transaction asks to give a
// member. They count once the log says that the member was enrolled or changed.
func (v *verifier) noteEnrolment(tx *action.Tx) {
	if tx.Kind != action.KindRequest {
		return
	}
	d := wire.NewDecoder(tx.Body)
	a, err := action.ParseAction(d.Bytes(action.MaxAction))
	if err != nil || a.Member == nil || v.waiting+len(a.Member.Keys) > maxAsked {
		return
	}
	who := action.Signer{Class: action.SignerMember, Name: a.Member.ID}.String()
	v.asked[who] = append(v.asked[who], a.Member.Keys...)
	v.waiting += len(a.Member.Keys)
}

// enrol takes into account what an event says of a member.
func (v *verifier) enrol(ev *ledger.Event) {
	if ev.Kind == ledger.EventMember && (ev.Detail == ledger.MemberEnrolled || ev.Detail == ledger.MemberChanged) {
		v.keys[ev.Object] = slices.Concat(v.keys[ev.Object], v.asked[ev.Object])
		v.waiting -= len(v.asked[ev.Object])
		delete(v.asked, ev.Object)
	}
}

// Verify checks a file of evidence against the genesis document.
func Verify(file io.Reader, genesis []byte) (*Report, error) {
	v, err := NewVerifier(genesis)
	if err != nil {
		return nil, err
	}
	return v.Verify(file)
}

// Verify checks a file of evidence of any kind.
func (w *Verifier) Verify(file io.Reader) (*Report, error) {
	v := *w.v
	v.keys, v.asked = maps.Clone(v.keys), map[string][]ident.PublicKey{}
	var err error
	in := bufio.NewReaderSize(file, 1<<16)
	r := &Report{Cluster: v.cluster.String()}
	switch magic, _ := in.Peek(8); string(magic) {
	case logMagic:
		r.Kind = "audit log"
		err = v.log(in, r)
	case receiptMagic:
		r.Kind = "receipt"
		err = v.whole(in, wire.MaxReceipt, r, v.receipt)
	case "quorate/":
		r.Kind = "checkpoint"
		err = v.whole(in, wire.MaxCheckpoint, r, func(raw []byte, r *Report) error {
			c, signed, err := v.signatories.Parse(raw)
			r.Events, r.Checkpoints, r.Cosignatures = c.Size, 1, uint64(len(signed.Cosignatures))
			return err
		})
	default:
		err = errors.New("it is no audit log, receipt or checkpoint")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	return r, nil
}

func (v *verifier) whole(in io.Reader, limit int64, r *Report, check func([]byte, *Report) error) error {
	raw, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return err
	}
	if int64(len(raw)) > limit {
		return fmt.Errorf("it is over the limit of %d bytes", limit)
	}
	return check(raw, r)
}

// logReader is how far an audit log file was read.
type logReader struct {
	v     *verifier
	in    *bufio.Reader
	read  int64
	err   error
	r     *Report
	tree  *compact.Range
	event *ledger.Event // that a transaction may follow
	lastC uint64        // size of the last checkpoint
	lastT [32]byte      // last transaction
	txs   uint64
}

func (v *verifier) log(in *bufio.Reader, r *Report) error {
	f := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	l := &logReader{v: v, in: in, r: r, tree: f.NewEmptyRange(0)}
	l.fixed(len(logMagic))
	if version := l.fixed(2); l.err == nil && binary.BigEndian.Uint16(version) != fileVersion {
		return fmt.Errorf("format version %d is unknown", binary.BigEndian.Uint16(version))
	}
	if cluster := l.fixed(32); l.err == nil && action.ClusterID(cluster) != v.cluster {
		return fmt.Errorf("it is of cluster %x", cluster)
	}
	for l.err == nil {
		at := l.read
		done, err := l.record()
		if l.err != nil {
			break
		}
		if err != nil {
			return fmt.Errorf("byte %d, after event %d: %w", at, r.Events, err)
		}
		if done {
			return nil
		}
	}
	return fmt.Errorf("byte %d, after event %d: %w", l.read, r.Events, l.err)
}

// fixed and bytes read a field; the first error sticks, and what they return
// after it is not to be used.
func (l *logReader) fixed(n int) []byte {
	b := make([]byte, n)
	if l.err == nil {
		var got int
		got, l.err = io.ReadFull(l.in, b)
		l.read += int64(got)
	}
	return b
}

func (l *logReader) bytes(limit int) []byte {
	n := binary.BigEndian.Uint32(l.fixed(4))
	if l.err == nil && uint64(n) > uint64(limit) {
		l.err = fmt.Errorf("length %d over the limit of %d", n, limit)
	}
	if l.err != nil {
		return nil
	}
	return l.fixed(int(n))
}

func (l *logReader) record() (done bool, err error) {
	kind := l.fixed(1)[0]
	if l.err != nil {
		return false, nil
	}
	switch kind {
	case recordEvent:
		salt, body := l.fixed(16), l.bytes(wire.MaxEvent)
		if l.err != nil {
			return false, nil
		}
		if l.event, err = ledger.ParseEvent(append(salt, body...)); err != nil {
			return false, err
		}
		l.v.enrol(l.event)
		return false, l.append(l.event.Leaf())
	case recordErased:
		leaf := l.fixed(32)
		l.event = nil
		l.r.Erased++
		return false, l.append([32]byte(leaf))
	case recordCheckpoint:
		raw := l.bytes(wire.MaxCheckpoint)
		l.event = nil
		return false, l.checkpoint(raw)
	case recordTransaction:
		raw := l.bytes(wire.MaxTx)
		return false, l.transaction(raw)
	case recordEnd:
		return true, l.end()
	}
	return false, fmt.Errorf("record of unknown type %d", kind)
}

func (l *logReader) append(leaf [32]byte) error {
	l.r.Events++
	return l.tree.Append(rfc6962.DefaultHasher.HashLeaf(leaf[:]), nil)
}

func (l *logReader) root() ([32]byte, error) {
	if l.r.Events == 0 {
		return [32]byte(rfc6962.DefaultHasher.EmptyRoot()), nil
	}
	root, err := l.tree.GetRootHash(nil)
	return [32]byte(root), err
}

func (l *logReader) checkpoint(raw []byte) error {
	if l.err != nil {
		return nil
	}
	c, signed, err := l.v.signatories.Parse(raw)
	if err != nil {
		return err
	}
	root, err := l.root()
	if err != nil {
		return err
	}
	if c.Size != l.r.Events || c.Root != root || c.Size == l.lastC {
		return fmt.Errorf("%w: it is not of the events before it, or the second one", ErrCheckpoint)
	}
	l.lastC = c.Size
	l.r.Checkpoints++
	l.r.Cosignatures += uint64(len(signed.Cosignatures))
	return nil
}

func (l *logReader) transaction(raw []byte) error {
	switch {
	case l.err != nil:
		return nil
	case l.event == nil:
		return errors.New("a transaction follows no event")
	case l.event.Request == l.lastT:
		return errors.New("a transaction stands twice")
	}
	l.lastT = l.event.Request
	l.txs++
	err := l.v.transaction(raw, l.event, l.r)
	l.event = nil
	return err
}

func (l *logReader) end() error {
	var stated [4]uint64
	for i := range stated {
		stated[i] = binary.BigEndian.Uint64(l.fixed(8))
	}
	raw := l.bytes(wire.MaxProof)
	if l.err != nil {
		return nil
	}
	if _, err := l.in.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the end")
	}
	if stated != [4]uint64{l.r.Events, l.r.Erased, l.r.Checkpoints, l.txs} {
		return errors.New("the file does not hold as many records as its end says")
	}
	state, err := l.v.certificate(raw, l.r)
	if err != nil {
		return err
	}
	root, err := l.root()
	if err != nil {
		return err
	}
	if state.LogSize != l.r.Events || state.LogRoot != root {
		return fmt.Errorf("the ledger proved %d events with another root", state.LogSize)
	}
	return nil
}
