package ledger

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/wire"
)

// RequestState is how far a request has come.
type RequestState uint8

const (
	RequestOpen      RequestState = 1 // waits for approvals
	RequestLocked    RequestState = 2 // enough agree; a time lock or a window holds it back
	RequestExecuted  RequestState = 3
	RequestFailed    RequestState = 4 // enough agreed, and it was impossible by then
	RequestVetoed    RequestState = 5
	RequestCancelled RequestState = 6
	RequestExpired   RequestState = 7
	RequestStale     RequestState = 8 // the policy that it was opened under is no longer in force
)

func (s RequestState) String() string {
	names := [...]string{"unknown", "open", "locked", "executed", "failed", "vetoed", "cancelled", "expired", "stale"}
	if int(s) < len(names) {
		return names[s]
	}
	return names[0]
}

// RequestStates are all that there are.
func RequestStates() (all []RequestState) {
	for s := RequestOpen; s <= RequestStale; s++ {
		all = append(all, s)
	}
	return all
}

// Live reports whether something can still come of the request.
func (s RequestState) Live() bool { return s == RequestOpen || s == RequestLocked }

// Request is what the ledger knows of a request.
type Request struct {
	action.Request
	State    RequestState
	Behind   string // who set the timer that asks; "" where no timer does
	Purpose  string
	Tier     string // of the policy, that says who has to agree
	Need     action.Need
	Height   uint64 // when it was opened
	Opened   uint64 // milliseconds of block time, of the block after once that is there
	Running  bool   // that block is there: until then its times are not to be relied upon
	Deadline uint64 // when it lapses, if not enough agree by then
	Escalate uint64 // when backups may approve; 0: never
	Lock     uint64 // how long the time lock is, from when enough agree
	Blocks   uint64 // and how many heights

	Approvals    []Approval
	Agreed       uint64 // height at which enough agreed; 0: not enough do
	Unlock       uint64 // when the time lock ends; 0: it begins with the next block
	UnlockHeight uint64
	Escalated    bool
	Closed       uint64 // milliseconds of block time
	Reason       string // why it came to an end
}

// requester is the name, without its class, of whoever asks or has a timer ask:
// nobody agrees with himself through one.
func (r *Request) requester() string {
	_, id, _ := strings.Cut(cmp.Or(r.Behind, r.By), "/")
	return id
}

// Approval is one member's word.
type Approval struct {
	Member string
	Tx     [32]byte // the transaction that says so
	Key    [32]byte // hash of the credential that signed it: it counts while the member has it
	Time   uint64   // milliseconds of block time
}

func (r *Request) encode() []byte {
	var e wire.Encoder
	e.U8(1)
	e.Bytes(r.Action)
	e.Fixed(r.Nonce[:])
	e.Fixed(r.Policy[:])
	for _, s := range []string{r.By, r.Behind, r.Purpose, r.Tier, r.Reason} {
		e.String(s)
	}
	e.U8(uint8(r.State))
	for _, n := range []uint16{r.Need.Approvals, r.Need.Operators, r.Need.Regions} {
		e.U16(n)
	}
	for _, n := range []uint64{r.Height, r.Opened, r.Deadline, r.Escalate, r.Lock, r.Blocks, r.Agreed, r.Unlock, r.UnlockHeight, r.Closed} {
		e.U64(n)
	}
	e.Bool(r.Running)
	e.Bool(r.Escalated)
	e.Count(len(r.Approvals))
	for _, a := range r.Approvals {
		e.String(a.Member)
		e.Fixed(a.Tx[:])
		e.Fixed(a.Key[:])
		e.U64(a.Time)
	}
	return e.Out()
}

func parseRequest(b []byte) (*Request, error) {
	var r Request
	d := wire.NewDecoder(b)
	if v := d.U8(); d.Err() == nil && v != 1 {
		d.Fail(fmt.Errorf("version %d", v))
	}
	r.Action = d.Bytes(action.MaxAction)
	d.Fixed(r.Nonce[:])
	d.Fixed(r.Policy[:])
	for _, s := range []*string{&r.By, &r.Behind, &r.Purpose, &r.Tier, &r.Reason} {
		*s = d.String(maxEventField)
	}
	r.State = RequestState(d.U8())
	for _, n := range []*uint16{&r.Need.Approvals, &r.Need.Operators, &r.Need.Regions} {
		*n = d.U16()
	}
	for _, n := range []*uint64{&r.Height, &r.Opened, &r.Deadline, &r.Escalate, &r.Lock, &r.Blocks, &r.Agreed, &r.Unlock, &r.UnlockHeight, &r.Closed} {
		*n = d.U64()
	}
	r.Running = d.Bool()
	r.Escalated = d.Bool()
	for range d.Count(action.MaxApprovals, 76) {
		a := Approval{Member: d.String(wire.MaxName)}
		d.Fixed(a.Tx[:])
		d.Fixed(a.Key[:])
		a.Time = d.U64()
		r.Approvals = append(r.Approvals, a)
	}
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse request: %w", err)
	}
	return &r, nil
}

// Request returns a request by its id.
func (s *State) Request(id [32]byte) (*Request, bool) {
	raw := s.Get(s.ns.Request(id[:]))
	if raw == nil {
		return nil, false
	}
	return mustParse(parseRequest(raw)), true
}

// LiveRequests visits those that wait, in order of their ids.
func (s *State) LiveRequests(visit func(id [32]byte, r *Request) bool) {
	s.iterate(s.ns.Prefix("live"), func(_, v []byte) bool { return s.visit(v, visit) })
}

// RequestsAfter visits the requests that there ever were, the latest first,
// from the one after a request on; from the first if that is nil.
func (s *State) RequestsAfter(after *[32]byte, visit func(id [32]byte, r *Request) bool) {
	var from proof.Path
	if after != nil {
		r, ok := s.Request(*after)
		if !ok {
			return
		}
		from = s.openedPath(*after, r) + "\x00"
	}
	s.iterateFrom(s.ns.Prefix("opened"), from, func(_, v []byte) bool { return s.visit(v, visit) })
}

// RequestsNamed visits the requests whose ids begin with hex digits.
func (s *State) RequestsNamed(digits string, visit func(id [32]byte, r *Request) bool) {
	s.iterate(s.ns.Prefix("request")+proof.Path(digits), func(_, v []byte) bool {
		r := mustParse(parseRequest(v))
		return visit(r.ID(s.cluster), r)
	})
}

func (s *State) visit(raw []byte, visit func(id [32]byte, r *Request) bool) bool {
	id := [32]byte(raw)
	r, _ := s.Request(id)
	return visit(id, r)
}

// openedPath is in an index that has the latest first.
func (s *State) openedPath(id [32]byte, r *Request) proof.Path {
	return s.ns.Path("opened", fmt.Sprintf("%016x", ^r.Height), proof.Hex(id[:]))
}

func (s *State) askedPath(r *Request) proof.Path {
	hash := action.HashAction(s.cluster, r.Action)
	return s.ns.Path("asked", proof.Hex(hash[:]), r.By)
}

func (s *State) livePath(id [32]byte) proof.Path { return s.ns.Path("live", proof.Hex(id[:])) }

func (s *State) putRequest(id [32]byte, r *Request) { s.set(s.ns.Request(id[:]), r.encode()) }

// maxLive bounds how many requests of one asker wait at a time.
const maxLive = 256

func (s *State) liveCountPath(by string) proof.Path { return s.ns.Path("live-count", by) }

func (s *State) countLive(by string, change int) error {
	n := int(wire.NewDecoder(s.Get(s.liveCountPath(by))).U64()) + change
	if n > maxLive {
		return refuse(CodeBusy, "%d requests of %s wait already", maxLive, by)
	}
	if n == 0 {
		s.delete(s.liveCountPath(by))
		return nil
	}
	var e wire.Encoder
	e.U64(uint64(n))
	s.set(s.liveCountPath(by), e.Out())
	return nil
}

// TxPath is where the bytes of a transaction that somebody may have to show
// again lie, by its hash.
func TxPath(hash [32]byte) []byte { return append([]byte("tx/"), hash[:]...) }

// askPath is where what the ledger itself asked for lies, by the request's
// nonce, if it came with keys.
func askPath(nonce [32]byte) []byte { return append([]byte("ask/"), nonce[:]...) }

// Tx returns such a transaction, nil when there is none.
func (s *State) Tx(hash [32]byte) []byte { return s.getBody(TxPath(hash)) }
