package quorum

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/rpc"
)

// Holder is one share-holder: our own custody process or that of a peer.
type Holder interface {
	// Name is the node's name on the roster.
	Name() string
	// Index is its x_i, from 1.
	Index() uint16
	// SignPartial returns once the holder has durably recorded the duty, or
	// with an error whose rpc.CodeOf says why not, or when ctx ends. The
	// partial need not be good. It is called concurrently.
	SignPartial(ctx context.Context, req Request) (bls.Partial, error)
}

// Request is what a holder needs in order to decide and sign.
type Request struct {
	Key     bls.PublicKey
	Epoch   uint32      // of the shares that are to sign
	Duty    []byte      // canonical encoding of a duty or a round; the holder computes the message from it
	Message bls.Message // what we will verify
}

// Key is a shared key as a ceremony left it.
type Key struct {
	PublicKey bls.PublicKey
	Epoch     uint32
	T         int
	Shares    []bls.PublicKey // Y_i at i-1; the zero key where seat i has no share
}

// holders counts the seats that have a share.
func (k Key) holders() (n int) {
	for _, y := range k.Shares {
		if !y.IsZero() {
			n++
		}
	}
	return n
}

func (k Key) check() error {
	switch {
	case k.PublicKey.IsZero():
		return errors.New("no public key")
	case k.T < 1 || k.T > k.holders():
		return fmt.Errorf("threshold %d among %d holders", k.T, k.holders())
	}
	return nil
}

// Config is what a Signer needs.
type Config struct {
	Local Holder // asked first; nil where this node holds no share
	Peers []Holder
	// Timeout bounds a signature whose context has no earlier deadline.
	// 0 means 4 s.
	Timeout time.Duration
	// Blame is told of every holder whose partial was proved bad. May be nil.
	Blame func(Fault)
}

// Fault is a partial signature that is not one.
type Fault struct {
	Holder  string
	Index   uint16
	Key     bls.PublicKey
	Message bls.Message
}

// Report says how a signature came about, or how far it came.
type Report struct {
	Asked    int       // holders
	Signers  []string  // whose partials were combined
	Hedged   bool      // more holders were asked because some were slow
	Blamed   []string  // who answered falsely
	Failures []Failure // who refused or was down
}

// Failure is a holder that gave no partial.
type Failure struct {
	Holder string
	Code   rpc.Code
	Err    error
}

func (f Failure) String() string { return f.Holder + ": " + f.Err.Error() }

// Signer signs with whichever t holders answer first. Its methods may be used
// concurrently.
type Signer struct {
	config   Config
	members  members
	verifier *verifier
	calls    sync.WaitGroup // holders being asked
}

// New checks that no two holders share an index.
func New(config Config) (*Signer, error) {
	if config.Timeout == 0 {
		config.Timeout = 4 * time.Second
	}
	if config.Blame == nil {
		config.Blame = func(Fault) {}
	}
	s := &Signer{config: config, verifier: newVerifier()}
	if config.Local != nil {
		s.members.add(config.Local, true)
	}
	for _, h := range config.Peers {
		s.members.add(h, false)
	}
	for i, m := range s.members.all {
		if m.Index() == 0 || slices.ContainsFunc(s.members.all[:i], func(o *member) bool { return o.Index() == m.Index() }) {
			return nil, fmt.Errorf("add holder %s: index %d is zero or taken", m.Name(), m.Index())
		}
	}
	return s, nil
}

// Close waits for the holders' last answers. No Sign may be in progress.
func (s *Signer) Close() {
	s.calls.Wait()
	s.verifier.close()
}

// Sign asks t holders for their partial signature of the duty, more when some
// fail or are slow, and returns the first combination that verifies. The error
// wraps a *BelowQuorumError when too few are willing. It ends with ctx.
//
// Leaders are the indices of holders to ask first, one after the other, for a
// duty that can be signed once: everybody who asks for it in the same order
// meets at the first leader, and votes do not split. None means no order.
func (s *Signer) Sign(ctx context.Context, key Key, duty []byte, message bls.Message, leaders ...uint16) (bls.Signature, Report, error) {
	if err := key.check(); err != nil {
		return bls.Signature{}, Report{}, fmt.Errorf("sign with %s: %w", key.PublicKey, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel() // withdraws what is still being asked
	r := &round{
		signer:  s,
		ctx:     ctx,
		key:     key,
		request: Request{Key: key.PublicKey, Epoch: key.Epoch, Duty: duty, Message: message},
		waiting: s.members.rank(key.Shares, time.Now()),
		answers: make(chan answer, len(s.members.all)),
	}
	r.lead(leaders)
	sig, err := r.run()
	if err != nil {
		return bls.Signature{}, r.report, fmt.Errorf("sign with %s: %w", key.PublicKey, err)
	}
	return sig, r.report, nil
}

// round is one signature in the making. Only the goroutine of Sign uses it.
type round struct {
	signer  *Signer
	ctx     context.Context // of this Sign alone
	key     Key
	request Request
	waiting []*member // not asked yet, best first
	asked   []*member // no answer yet
	answers chan answer
	good    []bls.Partial // for all we know
	report  Report
}

type answer struct {
	from    *member
	partial bls.Partial
	err     error
}

// leadTurn is how long a leader has before the next in rank is asked: longer
// than a signature takes, so that who came first to a leader has finished with
// the others when the second gets to them; short enough for a duty.
const leadTurn = 150 * time.Millisecond

// lead asks leaders in turn until one has signed. One that is down is passed
// over at once. One that calls the duty slashable has signed another, or lies: who got there first is given the turn to finish, then the next rank
// decides, so that no single holder can block a duty.
func (r *round) lead(leaders []uint16) {
	for _, index := range leaders {
		at := slices.IndexFunc(r.waiting, func(m *member) bool { return m.Index() == index })
		if at < 0 {
			continue
		}
		leader := r.waiting[at]
		if r.signer.members.late(leader) {
			continue // it let others' turns pass lately: the next in rank leads
		}
		r.waiting = append([]*member{leader}, slices.Delete(slices.Clone(r.waiting), at, at+1)...)
		r.ask(1)
		if r.follow(leader) {
			return
		}
	}
}

// follow waits for a leader's turn to end and reports whether it signed.
func (r *round) follow(leader *member) bool {
	turn := time.NewTimer(leadTurn)
	defer turn.Stop()
	for {
		select {
		case a := <-r.answers:
			r.file(a)
			switch {
			case a.from == leader && len(r.good) > 0:
				return true
			case a.from == leader && rpc.CodeOf(a.err) != rpc.CodeSlashable:
				return false
			}
		case <-turn.C:
			if slices.Contains(r.asked, leader) {
				r.signer.members.suspect([]*member{leader})
			}
			return len(r.good) > 0
		case <-r.ctx.Done():
			return true // run says why
		}
	}
}

func (r *round) run() (bls.Signature, error) {
	late := len(r.asked) // leaders whose turn is over: nobody waits for them again
	r.ask(r.key.T - len(r.good))
	hedge := time.NewTimer(r.signer.members.hedgeDelay(r.asked[late:]))
	defer hedge.Stop()
	for {
		if len(r.good) >= r.key.T {
			sig, ok, err := r.combine()
			if ok || err != nil {
				return sig, err
			}
			continue
		}
		if len(r.good)+len(r.asked) < r.key.T {
			return bls.Signature{}, r.belowQuorum(nil)
		}
		select {
		case a := <-r.answers:
			r.take(a)
		case <-hedge.C:
			r.signer.members.suspect(r.asked)
			r.report.Hedged = len(r.waiting) > 0
			r.ask(len(r.waiting))
		case <-r.ctx.Done():
			return bls.Signature{}, r.belowQuorum(r.ctx.Err())
		}
	}
}

// ask sends the request to the next n holders, or to all that are left.
func (r *round) ask(n int) {
	n = max(0, min(n, len(r.waiting)))
	ctx, answers, request := r.ctx, r.answers, r.request // the round may be over before the call
	for _, m := range r.waiting[:n] {
		r.asked = append(r.asked, m)
		ticket := r.signer.members.enter(m)
		r.signer.calls.Go(func() {
			partial, err := r.signer.members.call(ctx, m, ticket, request)
			answers <- answer{m, partial, err} // has room for every member
		})
	}
	r.waiting = r.waiting[n:]
	r.report.Asked += n
}

// take files an answer; a holder without a partial is replaced at once.
func (r *round) take(a answer) {
	if !r.file(a) {
		r.ask(1)
	}
}

// file puts an answer where it belongs and reports whether it is a partial.
func (r *round) file(a answer) bool {
	r.asked = slices.DeleteFunc(r.asked, func(m *member) bool { return m == a.from })
	switch {
	case a.err != nil:
		r.report.Failures = append(r.report.Failures, Failure{a.from.Name(), rpc.CodeOf(a.err), a.err})
		return false
	case a.partial.Index() != a.from.Index():
		r.blame(a.from)
		return false
	}
	r.good = append(r.good, a.partial)
	return true
}

// combine is the only source of signatures, and returns verified ones alone.
// When the combination is wrong it drops the bad partials, asks others in
// their place and reports false.
func (r *round) combine() (bls.Signature, bool, error) {
	sig, err := bls.Combine(r.key.T, r.good)
	if err == nil { // the error: bad partials can sum to the identity
		good, err := r.signer.verifier.verify(r.ctx, bls.Signed{Key: r.key.PublicKey, Message: r.request.Message, Sig: sig})
		if err != nil {
			return bls.Signature{}, false, r.belowQuorum(err)
		}
		if good {
			for _, p := range r.good[:r.key.T] {
				r.report.Signers = append(r.report.Signers, r.signer.members.at(p.Index()).Name())
			}
			return sig, true, nil
		}
	}
	bad, err := bls.VerifyPartials(rand.Reader, r.request.Message, r.key.Shares, r.good)
	if err != nil {
		return bls.Signature{}, false, err
	}
	if len(bad) == 0 {
		return bls.Signature{}, false, errors.New("public shares do not belong to the key")
	}
	for _, index := range bad {
		r.blame(r.signer.members.at(index))
	}
	r.good = slices.DeleteFunc(r.good, func(p bls.Partial) bool { return slices.Contains(bad, p.Index()) })
	r.ask(len(bad))
	return bls.Signature{}, false, nil
}

func (r *round) blame(m *member) {
	r.report.Blamed = append(r.report.Blamed, m.Name())
	r.signer.members.distrust(m)
	r.signer.config.Blame(Fault{m.Name(), m.Index(), r.key.PublicKey, r.request.Message})
}
