package custody

import (
	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/wire"
)

// Evidence is what custody wants to see before it does anything that is no
// duty: that the ledger granted it, and the words of those who agreed, which
// it checks itself. A node that is taken over has neither for what nobody
// agreed on.
type Evidence struct {
	Certificate []byte   // proves the grant, and the record of everybody who approved
	Approvals   [][]byte // their transactions, in the grant's order
}

func (ev Evidence) encode(e *wire.Encoder) {
	e.Bytes(ev.Certificate)
	e.Count(len(ev.Approvals))
	for _, tx := range ev.Approvals {
		e.Bytes(tx)
	}
}

func decodeEvidence(d *wire.Decoder) (ev Evidence) {
	ev.Certificate = d.Bytes(wire.MaxProof)
	for range d.Count(action.MaxApprovals, 4) {
		ev.Approvals = append(ev.Approvals, d.Bytes(maxApproval))
	}
	return ev
}

// maxApproval bounds the transaction of an approval: a signature, and little else.
const maxApproval = ident.MaxSignature + 1<<10

// grant returns the proven grant under a path, if the approvals that it names
// bear it and are no fewer than the genesis asks for.
func (p *Process) grant(v proof.Verified, path proof.Path, approvals [][]byte) (*action.Grant, *action.Action, error) {
	raw, ok := v.Get(path)
	if !ok {
		return nil, nil, rpc.Errorf(rpc.CodeNotGranted, "the certificate does not prove a grant")
	}
	g, err := action.ParseGrant(raw)
	if err != nil {
		return nil, nil, malformed(err)
	}
	a, err := action.ParseAction(g.Action)
	if err != nil {
		return nil, nil, malformed(err)
	}
	member := func(id string) *action.MemberRecord {
		raw, ok := v.Get(p.chain.ns.Member([]byte(id)))
		if !ok {
			return nil
		}
		m, err := action.ParseMemberRecord(raw)
		if err != nil || m.ID != id || uint64(v.Time().UnixMilli()) < m.Suspended {
			return nil
		}
		return m
	}
	if err := g.CheckApprovals(p.cluster, approvals, member, p.genesis.Floors[a.Rule]); err != nil {
		return nil, nil, rpc.Errorf(rpc.CodeNotGranted, "%v", err)
	}
	return g, a, nil
}
