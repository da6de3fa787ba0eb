package opsapi

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/audit"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/ledger"
)

func (s *Server) status(r *http.Request) (any, error) {
	return s.config.Self.Status(r.Context()), nil
}

func (s *Server) keys(*http.Request) (any, error) {
	view, err := s.config.Ledger.View()
	if err != nil {
		return nil, err
	}
	keys := []Key{}
	_, now := s.config.Ledger.Height()
	view.Keys(action.DomainValidator, func(k *action.KeyRecord) bool {
		keys = append(keys, keyOf(view, k, now))
		return true
	})
	return keys, nil
}

func (s *Server) key(r *http.Request) (any, error) {
	raw, err := parseHex(r.PathValue("pubkey"), 48)
	if err != nil {
		return nil, err
	}
	view, err := s.config.Ledger.View()
	if err != nil {
		return nil, err
	}
	k, err := view.Key(action.DomainValidator, raw)
	if err != nil {
		return nil, err
	}
	_, now := s.config.Ledger.Height()
	return keyOf(view, k, now), nil
}

func keyOf(view *ledger.State, k *action.KeyRecord, now time.Time) Key {
	out := Key{
		PublicKey: "0x" + hex.EncodeToString(k.PublicKey), Domain: string(k.Domain),
		State: k.State.String(), Provenance: k.Provenance.String(), Owner: k.Owner, Purpose: k.Purpose, Exercise: k.Exercise, Use: k.Use.String(),
		Epoch: k.Epoch, Threshold: int(k.T), Holders: k.Holders(), Ceremony: hex.EncodeToString(k.Ceremony[:]), Created: k.Created,
		GasLimit: k.Settings.GasLimit, Graffiti: k.Settings.Graffiti,
	}
	if a := k.Settings.FeeRecipient; a != nil {
		out.FeeRecipient = "0x" + hex.EncodeToString(a[:])
	}
	if from, ok := view.Assembled(k.PublicKey); ok && !k.Held() {
		out.From = &Former{hex.EncodeToString(from.Ceremony[:]), int(from.N), int(from.T)}
	}
	out.SharesSince = maybe(view.SharesSince(k))
	if due, overdue, ok := view.RotationOf(k); ok {
		switch ms := uint64(now.UnixMilli()); {
		case ms >= overdue:
			out.Rotation = "overdue"
		case ms >= due:
			out.Rotation = "due"
		}
		out.RotationDue = maybe(due)
	}
	if ms := view.LastUse(k.Domain, k.PublicKey); ms != 0 {
		out.LastUse = new(blockTime(ms))
	}
	return out
}

func (s *Server) ceremonies(*http.Request) (any, error) {
	view, err := s.config.Ledger.View()
	if err != nil {
		return nil, err
	}
	roster := view.Roster(action.DomainValidator)
	all := []Ceremony{}
	view.Ceremonies(func(b *dkg.Board, about ledger.About) bool {
		all = append(all, ceremonyOf(b, about, roster))
		return true
	})
	return all, nil
}

func (s *Server) ceremony(r *http.Request) (any, error) {
	view, board, about, err := s.board(r)
	if err != nil {
		return nil, err
	}
	c := ceremonyOf(board, about, view.Roster(action.DomainValidator))
	if h, stopped := view.Handover(board.ID()); h.Held != 0 {
		c.Handover = &Handover{Floor: h.Floor.Slot, Floored: slices.Collect(dkg.Seats(h.Floored).All()), Stopped: slices.Collect(stopped.All()),
			Needed: h.StopsNeeded(int(board.Params().Old.T))}
	}
	return c, nil
}

// board is that of the ceremony that a path names, and the state it is in.
func (s *Server) board(r *http.Request) (view *ledger.State, board *dkg.Board, about ledger.About, err error) {
	raw, err := parseHex(r.PathValue("id"), 32)
	if err != nil {
		return nil, nil, about, err
	}
	if view, err = s.config.Ledger.View(); err != nil {
		return nil, nil, about, err
	}
	if board, about = view.Ceremony([32]byte(raw)); board == nil {
		err = &Error{http.StatusNotFound, "no ceremony " + r.PathValue("id"), "quorate ceremony list"}
	}
	return view, board, about, err
}

func ceremonyOf(b *dkg.Board, about ledger.About, roster action.Roster) Ceremony {
	p, id := b.Params(), b.ID()
	c := Ceremony{
		ID: hex.EncodeToString(id[:]), Mode: ModeOf(p), Suite: suiteName(p.Suite), Use: p.Use.String(), Hybrid: p.Hybrid,
		Phase: b.Phase().String(), Keys: int(p.Keys), Threshold: int(p.T), Epoch: p.Epoch, Holders: p.Members().Len(),
		Purpose: about.Purpose, By: about.By, Opened: about.Opened,
	}
	if ms := b.Deadline(); ms != 0 && b.Phase() < dkg.PhaseDone {
		c.Deadline = new(blockTime(ms))
	}
	for i := 1; i <= int(p.N); i++ {
		seat := Seat{Index: i, Member: p.Members().Has(i), Joined: b.Joined().Has(i), Dealt: !p.FromAssembly() && b.Dealers().Has(i), Holds: b.Holders().Has(i)}
		if i <= len(roster) {
			seat.Node = roster[i-1].Node
		}
		c.Seats = append(c.Seats, seat)
	}
	for _, f := range b.Faults() {
		c.Faults = append(c.Faults, Fault{int(f.Seat), f.Kind.String(), f.Kind.Attributable(), p.FromAssembly() && f.Kind.OfDealer()})
	}
	if p.FromAssembly() {
		c.From = &FromAssembly{Ceremony: hex.EncodeToString(p.Old.Assembly[:]), PublicKey: "0x" + hex.EncodeToString(about.Keys[0]),
			Participants: int(p.Old.N), Threshold: int(p.Old.T), Dealt: b.Dealt().Len(), Dealers: slices.Collect(b.Dealers().All()), DepositSafe: b.DepositSafe()}
	}
	return c
}

// modeHandover is what a reshare is called in which participants deal.
const modeHandover = "handover"

// Modes are what people may call a ceremony among nodes that they open. An
// import is a call of its own.
func Modes() []string {
	return []string{dkg.ModeKeygen.String(), dkg.ModeRefresh.String(), dkg.ModeReshare.String(), modeHandover}
}

// ModeOf is what people call a ceremony with these parameters.
func ModeOf(p dkg.Params) string {
	if p.FromAssembly() {
		return modeHandover
	}
	return p.Mode.String()
}

func suiteName(s dkg.Suite) string {
	switch s {
	case dkg.SuiteG1:
		return "bls12-381"
	case dkg.SuiteRistretto:
		return "ristretto255"
	}
	return "unknown"
}

func (s *Server) events(r *http.Request) (any, error) {
	from, err := number(r, "from", 0)
	if err != nil {
		return nil, err
	}
	limit, err := number(r, "limit", 100)
	if err != nil {
		return nil, err
	}
	view, err := s.config.Ledger.View()
	if err != nil {
		return nil, err
	}
	size, root := view.LogRoot()
	out := Events{Size: size, Root: hex.EncodeToString(root[:]), Events: []Event{}}
	for i := from; i < size && i-from < min(limit, maxEvents); i++ {
		out.Events = append(out.Events, audit.EntryOf(i, view.Event(i)))
	}
	return out, nil
}

// blockTime turns milliseconds of block time into a time.
func blockTime(ms uint64) time.Time { return time.UnixMilli(int64(ms)).UTC() }

func parseHex(s string, size int) ([]byte, error) {
	raw, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil || len(raw) != size {
		return nil, &Error{Status: http.StatusBadRequest, Text: fmt.Sprintf("%.100q is not %d hex digits", s, 2*size)}
	}
	return raw, nil
}
