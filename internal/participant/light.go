package participant

import (
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/proof"
)

// light is a participant's view of the ledger: what certificates prove, and
// never what is older than what it has seen.
type light struct {
	ns     proof.Namespace
	client proof.Client
	height uint64    // of the newest proof
	now    time.Time // its time
	record *action.AssemblyRecord
}

// Reasons why what was brought is refused. They speak of who brought it: a
// node that lies, or that is behind the others.
var (
	// ErrUnknown may be true until the block after the one that opened it.
	ErrUnknown = errors.New("the ledger holds no such ceremony")

	ErrOld   = errors.New("the ledger's word is older than what was seen before")
	ErrShort = errors.New("entries of the log that the ledger proves are missing")
	ErrLog   = errors.New("the log is not the one that the ledger proves")
	ErrGap   = errors.New("entries between what was followed and the bundle are missing")
)

func newLight(inv *Invitation) (light, error) {
	trust, ns, err := inv.trust()
	if err != nil {
		return light{}, err
	}
	client, err := proof.NewClient(trust)
	return light{ns: ns, client: client}, err
}

// prove verifies a certificate about the ceremony's record.
func (l light) prove(cid [32]byte, certificate []byte) (light, error) {
	next, v, err := l.verify(certificate)
	if err != nil {
		return l, err
	}
	raw, ok := v.Get(l.ns.Assembly(cid[:]))
	if !ok {
		return l, ErrUnknown
	}
	next.record, err = action.ParseAssemblyRecord(raw)
	return next, err
}

// verify returns what a certificate proves, whatever it is about.
func (l light) verify(certificate []byte) (light, proof.Verified, error) {
	c, err := proof.Parse(certificate)
	if err != nil {
		return l, proof.Verified{}, err
	}
	next, v, err := l.client.Verify(c)
	if err != nil {
		return l, v, err
	}
	if v.Height() < l.height {
		return l, v, fmt.Errorf("height %d, seen %d: %w", v.Height(), l.height, ErrOld)
	}
	l.client, l.height, l.now = next, v.Height(), v.Time()
	return l, v, nil
}
