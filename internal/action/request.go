package action

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/wire"
)

// Request asks for an action on which others have to agree. Its id is what
// they sign, so that an agreement holds for this action, asked for this once,
// judged by this version of the policy, in this cluster.
type Request struct {
	Action []byte   // canonical
	Nonce  [32]byte // the hash of the transaction that asked; a timer's own
	Policy [32]byte // version of the policy that judges it
	By     string   // who asks: "member/…", "node/…", "timer/…"
}

// ID names the request.
func (r *Request) ID(cluster ClusterID) [32]byte {
	return wire.Hash(wire.TagRequest, cluster[:], r.Action, r.Nonce[:], r.Policy[:], []byte(r.By))
}

func (r *Request) encode(e *wire.Encoder) {
	e.Bytes(r.Action)
	e.Fixed(r.Nonce[:])
	e.Fixed(r.Policy[:])
	e.String(r.By)
}

func decodeRequest(d *wire.Decoder) (r Request) {
	r.Action = d.Bytes(MaxAction)
	d.Fixed(r.Nonce[:])
	d.Fixed(r.Policy[:])
	r.By = d.String(2 * wire.MaxName)
	return r
}

// Verdict is what somebody says to a request.
type Verdict uint8

const (
	Approve Verdict = 1
	Veto    Verdict = 2
	Cancel  Verdict = 3 // by who asked
)

func (v Verdict) String() string {
	switch v {
	case Approve:
		return "approve"
	case Veto:
		return "veto"
	case Cancel:
		return "cancel"
	}
	return "unknown"
}

// Decision is the body of the transaction in which a member decides. That
// transaction, under the member's own signature, is the approval: the ledger
// counts it and custody checks it again.
type Decision struct {
	Request [32]byte // id
	Action  [32]byte // hash: what the member saw
	Policy  [32]byte // version that the member saw
	Verdict Verdict
}

// Encode returns the canonical bytes.
func (d Decision) Encode() []byte {
	var e wire.Encoder
	e.Fixed(d.Request[:])
	e.Fixed(d.Action[:])
	e.Fixed(d.Policy[:])
	e.U8(uint8(d.Verdict))
	return e.Out()
}

// ParseDecision reads what Encode returned.
func ParseDecision(b []byte) (v Decision, err error) {
	d := wire.NewDecoder(b)
	d.Fixed(v.Request[:])
	d.Fixed(v.Action[:])
	d.Fixed(v.Policy[:])
	v.Verdict = Verdict(d.U8())
	if d.Err() == nil && (v.Verdict < Approve || v.Verdict > Cancel) {
		d.Fail(fmt.Errorf("verdict %d", v.Verdict))
	}
	if err := d.Finish(); err != nil {
		return Decision{}, fmt.Errorf("parse decision: %w", err)
	}
	return v, nil
}

// Need is how many have to agree: distinct humans, of distinct operators, in
// distinct regions.
type Need struct {
	Approvals uint16 `json:"approvals"`
	Operators uint16 `json:"operators,omitempty"`
	Regions   uint16 `json:"regions,omitempty"`
}

// Max is the stricter of two in every respect.
func (n Need) Max(o Need) Need {
	return Need{max(n.Approvals, o.Approvals), max(n.Operators, o.Operators), max(n.Regions, o.Regions)}
}

// Met counts humans, once each, and says whether they are enough.
func (n Need) Met(humans []*MemberRecord) bool { return n.Missing(humans) == Need{} }

// Missing counts humans, once each, and says what is needed beside them.
func (n Need) Missing(humans []*MemberRecord) Need {
	ids, operators, regions := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, m := range humans {
		ids[m.ID], operators[m.Operator], regions[m.Region] = true, true, true
	}
	less := func(need uint16, have int) uint16 { return uint16(max(0, int(need)-have)) }
	return Need{less(n.Approvals, len(ids)), less(n.Operators, len(operators)), less(n.Regions, len(regions))}
}

func (n Need) encode(e *wire.Encoder) {
	e.U16(n.Approvals)
	e.U16(n.Operators)
	e.U16(n.Regions)
}

func decodeNeed(d *wire.Decoder) Need { return Need{d.U16(), d.U16(), d.U16()} }

// Grant is the ledger's word that an action is allowed, and who agreed.
type Grant struct {
	Request
	Height    uint64
	Expires   uint64 // milliseconds of block time
	Need      Need
	Approvals [][32]byte // hashes of the transactions that approved
}

// Encode returns the canonical bytes.
func (g *Grant) Encode() []byte {
	var e wire.Encoder
	e.U8(1)
	g.Request.encode(&e)
	e.U64(g.Height)
	e.U64(g.Expires)
	g.Need.encode(&e)
	e.Count(len(g.Approvals))
	for _, h := range g.Approvals {
		e.Fixed(h[:])
	}
	return e.Out()
}

// ParseGrant reads what Encode returned.
func ParseGrant(b []byte) (*Grant, error) {
	var g Grant
	d := wire.NewDecoder(b)
	if v := d.U8(); d.Err() == nil && v != 1 {
		d.Fail(fmt.Errorf("version %d", v))
	}
	g.Request = decodeRequest(d)
	g.Height = d.U64()
	g.Expires = d.U64()
	g.Need = decodeNeed(d)
	for range d.Count(MaxApprovals, 32) {
		var h [32]byte
		d.Fixed(h[:])
		g.Approvals = append(g.Approvals, h)
	}
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse grant: %w", err)
	}
	return &g, nil
}

// MaxApprovals bounds how many humans can approve one request.
const MaxApprovals = 64

// ErrApprovals is returned when the approvals of a grant do not bear it.
var ErrApprovals = errors.New("the approvals do not bear the grant")

// CheckApprovals verifies that enough humans signed for the grant, whoever
// says so. The transactions are those that the grant names, in its order; member returns a member's
// record as the ledger holds it, nil when there is none; floor is what no
// policy can lower.
func (g *Grant) CheckApprovals(cluster ClusterID, txs [][]byte, member func(id string) *MemberRecord, floor Need) error {
	id := g.Request.ID(cluster)
	want := Decision{Request: id, Action: HashAction(cluster, g.Action), Policy: g.Policy, Verdict: Approve}.Encode()
	if len(txs) != len(g.Approvals) {
		return fmt.Errorf("%w: it names %d, %d were shown", ErrApprovals, len(g.Approvals), len(txs))
	}
	var humans []*MemberRecord
	for i, raw := range txs {
		tx, err := ParseTx(raw)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w", ErrApprovals, err)
		case tx.Hash() != g.Approvals[i]:
			return fmt.Errorf("%w: approval %d is another than the grant names", ErrApprovals, i)
		case tx.Cluster != cluster || tx.Kind != KindDecision || tx.Signer.Class != SignerMember || !bytes.Equal(tx.Body, want):
			return fmt.Errorf("%w: what %s signed approves something else", ErrApprovals, tx.Signer)
		}
		m := member(tx.Signer.Name)
		if m == nil || !m.Human() {
			return fmt.Errorf("%w: %s is no enrolled human", ErrApprovals, tx.Signer)
		}
		if err := m.Verify(tx); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrApprovals, tx.Signer, err)
		}
		humans = append(humans, m)
	}
	if need := g.Need.Max(floor); !need.Met(humans) {
		return fmt.Errorf("%w: %d humans approved, the action needs %d of %d operators in %d regions", ErrApprovals, len(humans), need.Approvals, need.Operators, need.Regions)
	}
	return nil
}
