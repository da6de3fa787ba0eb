package opsapi

import (
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/hall"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/wire"
)

// Ceremonies among participants that are not nodes. Nobody needs a token: the
// log is public, and what is posted is signed.

// Assembly is where such a ceremony stands.
type Assembly struct {
	ID           string    `json:"id"`
	Purpose      string    `json:"purpose,omitempty"`
	Exercise     bool      `json:"exercise"`
	Hybrid       bool      `json:"hybrid"`
	Participants int       `json:"n"`
	Threshold    int       `json:"t"`
	CohortCount  int       `json:"cohort_count"`
	Dealers      int       `json:"dealers"` // of each cohort; 0: everybody deals
	MinVersion   string    `json:"min_version,omitempty"`
	By           string    `json:"by"`
	Opened       time.Time `json:"opened"`

	Phase      string     `json:"phase"`
	Deadline   *time.Time `json:"deadline,omitempty"` // of the phase, in block time
	DeadlineMS uint64     `json:"deadline_ms,omitempty"`
	Entries    uint64     `json:"entries"`
	Link       string     `json:"link"` // after the last of them
	Seals      int        `json:"seals"`
	Sealed     bool       `json:"sealed"` // enough of them for an archive
	PublicKey  string     `json:"public_key,omitempty"`

	// Of a single ceremony.
	DepositSafe bool             `json:"deposit_safe,omitempty"` // so many confirmed that f liars among them do no harm
	Seats       []AssemblySeat   `json:"seats,omitempty"`
	Cohorts     []AssemblyCohort `json:"cohorts,omitempty"`
	Faults      []Fault          `json:"faults,omitempty"`
}

// AssemblySeat is a participant.
type AssemblySeat struct {
	Seat      int    `json:"seat"`
	Name      string `json:"name"`
	Region    string `json:"region"`
	Member    string `json:"member,omitempty"`
	Key       string `json:"key"`
	Cohort    int    `json:"cohort,omitempty"`
	Joined    bool   `json:"joined"`
	Dealer    bool   `json:"dealer"`
	Dealt     bool   `json:"dealt"`
	Reported  bool   `json:"reported"`
	Voted     bool   `json:"voted"`
	Confirmed bool   `json:"confirmed"`
	Blamed    bool   `json:"blamed"`
}

// AssemblyCohort is how far a cohort has come; 0 are those who are in none.
type AssemblyCohort struct {
	Cohort    int             `json:"cohort"`
	Regions   []string        `json:"regions"`
	Seats     int             `json:"seats"`
	Joined    int             `json:"joined"`
	Dealers   int             `json:"dealers"`
	Dealt     int             `json:"dealt"`
	Reported  int             `json:"reported"`
	Voted     int             `json:"voted"`
	Confirmed int             `json:"confirmed"`
	Refused   int             `json:"refused"` // messages brought to this node that the ledger did not take
	Latency   map[string]Pace `json:"latency"` // by phase
}

// Pace is how long after a phase began its participants were heard, in
// milliseconds of block time.
type Pace struct {
	Heard int    `json:"heard"`
	P50   uint64 `json:"p50_ms"`
	P90   uint64 `json:"p90_ms"`
}

// AssemblyPost is a message that a seat signed.
type AssemblyPost struct {
	Seat      int    `json:"seat"`
	Message   []byte `json:"message"`
	Signature []byte `json:"signature"`
}

// AssemblyPosted answers it, once a block has it.
type AssemblyPosted struct {
	Entry uint64 `json:"entry"`
}

// AssemblySeal is a participant's word for the whole log.
type AssemblySeal struct {
	Seat      int    `json:"seat"`
	Signature []byte `json:"signature"`
}

// AssemblyLetter is what a dealer sent to one seat, with its path to the
// header's mail root.
type AssemblyLetter struct {
	Ciphertext []byte   `json:"ciphertext"`
	Path       [][]byte `json:"path"`
}

// OpenAssembly has the node ask for a ceremony among participants.
type OpenAssembly struct {
	Action string `json:"action"` // canonical, in hex
	Seats  []byte `json:"seats"`  // the list of participants that it names
}

// headerNext says which entry of a log comes next.
const headerNext = "Quorate-Next"

const maxPost = 4*wire.MaxTx/3 + 16<<10 // in base64, and a signature

func (s *Server) assemblyRoutes() map[string]route {
	free := func(body int64) bounds { return bounds{body: body, time: requestTime, open: true} }
	long := free(maxRequest)
	long.time = importTime
	return map[string]route{
		"GET /v1/assemblies":                              {free(maxRequest), s.assemblies},
		"POST /v1/assemblies":                             {bounds{body: 2 * wire.MaxTx, time: requestTime}, s.openAssembly},
		"GET /v1/assemblies/{id}":                         {free(maxRequest), of(s.assembly)},
		"GET /v1/assemblies/{id}/log":                     {free(maxRequest), of(s.assemblyLog)},
		"GET /v1/assemblies/{id}/proof":                   {free(maxRequest), of(s.assemblyProof)},
		"POST /v1/assemblies/{id}/messages":               {free(maxPost), of(s.postAssembly)},
		"POST /v1/assemblies/{id}/seals":                  {free(maxRequest), of(s.sealAssembly)},
		"PUT /v1/assemblies/{id}/letters/{dealer}":        {free(wire.MaxLetters), of(s.putLetters)},
		"GET /v1/assemblies/{id}/letters/{dealer}/{seat}": {free(maxRequest), of(s.letter)},
		"GET /v1/assemblies/{id}/archive":                 {long, of(s.assemblyArchive)},
		"GET /v1/assemblies/{id}/certificate":             {free(maxRequest), of(s.assemblyCertificate)},
	}
}

// ofHall gives refusals of the hall their status.
func ofHall(err error) error {
	for _, known := range []struct {
		err    error
		status int
		hint   string
	}{
		{hall.ErrUnknown, http.StatusNotFound, "quorate ceremony list"},
		{hall.ErrUnsealed, http.StatusConflict, "it is there once the ceremony has ended and its participants have sealed it"},
		{hall.ErrNoMail, http.StatusNotFound, "ask another node, or report it as withheld"},
		{hall.ErrNotMail, http.StatusBadRequest, "send all ciphertexts, in order of who joined, behind the header"},
		{hall.ErrBusy, http.StatusTooManyRequests, "wait until the ledger has taken what was sent before"},
		{assembly.ErrPhase, http.StatusConflict, "there is a certificate of a ceremony that is done"},
	} {
		if errors.Is(err, known.err) {
			return &Error{known.status, err.Error(), known.hint}
		}
	}
	return err
}

// of reads the ceremony's id for a handler, and gives its errors their status.
func of(handle func(r *http.Request, id [32]byte) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		raw, err := parseHex(r.PathValue("id"), 32)
		if err != nil {
			return nil, err
		}
		v, err := handle(r, [32]byte(raw))
		return v, ofHall(err)
	}
}

func (s *Server) assemblies(*http.Request) (any, error) {
	view, err := s.config.Ledger.View()
	if err != nil {
		return nil, err
	}
	all := []Assembly{}
	view.Assemblies(func(id [32]byte, r *action.AssemblyRecord) bool {
		all = append(all, assemblyOf(id, r))
		return true
	})
	slices.SortStableFunc(all, func(a, b Assembly) int { return b.Opened.Compare(a.Opened) })
	return all, nil
}

// assemblyOf is what the record alone says.
func assemblyOf(id [32]byte, r *action.AssemblyRecord) Assembly {
	p, err := assembly.ParseParams(r.Params)
	if err != nil {
		panic("opsapi: the ledger's record is damaged: " + err.Error())
	}
	a := Assembly{
		ID: hex.EncodeToString(id[:]), Purpose: r.Purpose, Exercise: p.Exercise, Hybrid: p.Hybrid, Participants: int(p.N), Threshold: int(p.T),
		CohortCount: int(p.Cohorts), Dealers: int(p.Dealers), MinVersion: r.Software, By: r.By, Opened: blockTime(r.Opened),
		Phase: assembly.Phase(r.Phase).String(), DeadlineMS: r.Deadline, Entries: r.Entries, Link: hex.EncodeToString(r.Link[:]),
		Seals: int(r.Seals), Sealed: r.Sealed,
	}
	if r.Deadline != 0 {
		a.Deadline = new(blockTime(r.Deadline))
	}
	if len(r.PublicKey) > 0 {
		a.PublicKey = "0x" + hex.EncodeToString(r.PublicKey)
	}
	return a
}

// assembly describes one ceremony; seats=false leaves the participants out.
func (s *Server) assembly(r *http.Request, id [32]byte) (any, error) {
	view, err := s.config.Ledger.View()
	if err != nil {
		return nil, err
	}
	var a Assembly
	err = s.config.Hall.Read(id, func(room *hall.Room) error {
		a = assemblyOf(id, room.Record)
		b := room.Follower.Board()
		a.DepositSafe = b.DepositSafe()
		for _, f := range b.Faults() {
			a.Faults = append(a.Faults, Fault{Seat: f.Seat, Kind: f.Kind.String(), Attributable: f.Kind.Attributable()})
		}
		for seat := 1; seat <= a.Participants; seat++ {
			p, ok := view.Participant(id, seat)
			if !ok {
				return errors.New("a participant is missing beside the ledger's record")
			}
			st := b.Standing(seat)
			a.Seats = append(a.Seats, AssemblySeat{Seat: seat, Name: p.Name, Region: p.Region, Member: p.Member, Key: "0x" + hex.EncodeToString(p.Key.Bytes()),
				Cohort: st.Cohort, Joined: st.Joined, Dealer: st.Dealer, Dealt: st.Dealt, Reported: st.Reported, Voted: st.Voted, Confirmed: st.Confirmed, Blamed: st.Blamed})
		}
		a.Cohorts = cohortsOf(room, a.Seats)
		return nil
	})
	if r.URL.Query().Get("seats") == "false" {
		a.Seats = nil
	}
	return a, err
}

func cohortsOf(room *hall.Room, seats []AssemblySeat) (out []AssemblyCohort) {
	for _, c := range room.Follower.Cohorts() {
		v := AssemblyCohort{Cohort: c.Cohort, Regions: []string{}, Seats: c.Seats, Joined: c.Joined, Dealers: c.Dealers, Dealt: c.Dealt,
			Reported: c.Reported, Voted: c.Voted, Confirmed: c.Confirmed, Latency: map[string]Pace{}}
		for _, seat := range seats {
			if seat.Cohort == c.Cohort {
				v.Refused += room.Refused[seat.Seat]
				v.Regions = append(v.Regions, seat.Region)
			}
		}
		slices.Sort(v.Regions)
		v.Regions = slices.Compact(v.Regions)
		for phase, took := range c.Took {
			v.Latency[phase.String()] = Pace{len(took), assembly.Quantile(took, 50), assembly.Quantile(took, 90)}
		}
		out = append(out, v)
	}
	return out
}

func (s *Server) assemblyLog(r *http.Request, id [32]byte) (any, error) {
	from, err := number(r, "from", 0)
	if err != nil {
		return nil, err
	}
	entries, next, err := s.config.Hall.Log(id, from)
	if err != nil {
		return nil, err
	}
	return file{kind: kindBinary, header: map[string]string{headerNext: strconv.FormatUint(next, 10)}, write: func(w io.Writer) error {
		_, err := w.Write(entries)
		return err
	}}, nil
}

func (s *Server) assemblyProof(r *http.Request, id [32]byte) (any, error) {
	view, err := s.config.Ledger.View()
	if err != nil {
		return nil, err
	}
	if _, ok := view.Assembly(id); !ok {
		return nil, hall.ErrUnknown
	}
	raw, err := s.config.Evidence.Prove(r.Context(), func(ns proof.Namespace) []proof.Path { return []proof.Path{ns.Assembly(id[:])} })
	return fileOf(kindBinary, raw, err)
}

func (s *Server) postAssembly(r *http.Request, id [32]byte) (any, error) {
	var req AssemblyPost
	if err := decode(r, &req, `{"seat":1,"message":"…","signature":"…"}`); err != nil {
		return nil, err
	}
	if err := checkSeat(req.Seat); err != nil {
		return nil, err
	}
	entry, err := s.config.Hall.Say(r.Context(), ledger.AssemblyMessage{Ceremony: id, Seat: uint16(req.Seat), Message: req.Message, Signature: req.Signature})
	return AssemblyPosted{entry}, err
}

func checkSeat(seat int) error {
	if seat < 1 || seat > wire.MaxParticipants {
		return &Error{http.StatusBadRequest, "no such seat", "seats count from 1"}
	}
	return nil
}

func (s *Server) sealAssembly(r *http.Request, id [32]byte) (any, error) {
	var req AssemblySeal
	if err := decode(r, &req, `{"seat":1,"signature":"…"}`); err != nil {
		return nil, err
	}
	if err := checkSeat(req.Seat); err != nil {
		return nil, err
	}
	return struct{}{}, s.config.Hall.Seal(r.Context(), ledger.AssemblySeal{Ceremony: id, Seat: uint16(req.Seat), Signature: req.Signature})
}

func pathNumber(r *http.Request, name string) (int, error) {
	n, err := strconv.Atoi(r.PathValue(name))
	if err != nil {
		return 0, &Error{Status: http.StatusBadRequest, Text: name + " is not a number"}
	}
	return n, checkSeat(n)
}

func (s *Server) putLetters(r *http.Request, id [32]byte) (any, error) {
	dealer, err := pathNumber(r, "dealer")
	if err != nil {
		return nil, err
	}
	letters, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, &Error{Status: http.StatusRequestEntityTooLarge, Text: "read ciphertexts: " + err.Error()}
	}
	return struct{}{}, s.config.Hall.PutMail(id, dealer, letters)
}

func (s *Server) letter(r *http.Request, id [32]byte) (any, error) {
	dealer, err := pathNumber(r, "dealer")
	if err != nil {
		return nil, err
	}
	seat, err := pathNumber(r, "seat")
	if err != nil {
		return nil, err
	}
	l, err := s.config.Hall.Mail(id, dealer, seat)
	if err != nil {
		return nil, err
	}
	out := AssemblyLetter{Ciphertext: l.Ciphertext}
	for i := range l.Path {
		out.Path = append(out.Path, l.Path[i][:])
	}
	return out, nil
}

func (s *Server) assemblyArchive(r *http.Request, id [32]byte) (any, error) {
	write, err := s.config.Hall.Archive(id)
	if err != nil {
		return nil, err
	}
	return file{kind: kindBinary, write: write}, nil
}

func (s *Server) assemblyCertificate(r *http.Request, id [32]byte) (any, error) {
	raw, err := s.config.Hall.Certificate(id)
	return fileOf(kindBinary, raw, err)
}

func (s *Server) openAssembly(r *http.Request) (any, error) {
	var req OpenAssembly
	if err := decode(r, &req, `{"action":"…","seats":"…"}`); err != nil {
		return nil, err
	}
	raw, err := hex.DecodeString(req.Action)
	if err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Text: "action is not hex"}
	}
	a, err := action.ParseAction(raw)
	if err != nil || a.Rule != action.RuleAssembly {
		return nil, &Error{Status: http.StatusBadRequest, Text: "action is none of kind " + string(action.RuleAssembly)}
	}
	p, err := assembly.ParseParams(a.Assembly.Params)
	if err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Text: err.Error()}
	}
	if err := s.config.Ledger.Ask(r.Context(), ledger.Ask{Action: a, Purpose: a.Assembly.Purpose, Seats: req.Seats}); err != nil {
		return nil, err
	}
	id := p.ID()
	return Opened{ID: hex.EncodeToString(id[:])}, nil
}
