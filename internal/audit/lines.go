package audit

import (
	"bufio"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/quorate/quorate/internal/ledger"
)

// Entry is an event for people and their programs.
type Entry struct {
	Index    uint64    `json:"index"`
	Kind     string    `json:"kind"`
	Height   uint64    `json:"height"`
	Time     time.Time `json:"time"`
	Actor    string    `json:"actor"`
	Human    string    `json:"human,omitempty"`
	Operator string    `json:"operator,omitempty"`
	Region   string    `json:"region,omitempty"`
	Purpose  string    `json:"purpose,omitempty"`
	Object   string    `json:"object,omitempty"`
	Request  string    `json:"request,omitempty"` // hash of the transaction
	Cause    *uint64   `json:"cause,omitempty"`   // index of the event that caused this one
	Exercise bool      `json:"exercise,omitempty"`
	Detail   string    `json:"detail,omitempty"`
	Erased   bool      `json:"erased,omitempty"` // only the commitment is left
}

// EntryOf describes event number i; nil is one that was erased.
func EntryOf(i uint64, ev *ledger.Event) Entry {
	if ev == nil {
		return Entry{Index: i, Erased: true}
	}
	out := Entry{
		Index: i, Kind: ev.Kind.String(), Height: ev.Height, Time: time.UnixMilli(int64(ev.Time)).UTC(),
		Actor: ev.Actor, Human: ev.Human, Operator: ev.Operator, Region: ev.Region,
		Purpose: ev.Purpose, Object: ev.Object, Exercise: ev.Exercise, Detail: ev.Detail,
	}
	if ev.Request != ([32]byte{}) {
		out.Request = hex.EncodeToString(ev.Request[:])
	}
	if ev.Cause > 0 {
		out.Cause = new(ev.Cause - 1)
	}
	return out
}

// Filter selects events. A field at its zero value selects all.
type Filter struct {
	Key    string // public key in hex, with or without 0x
	Origin string // with Key: what made it, as ledger.Origin names it; its events are the key's, too
	Member string // who acted, or the human behind it
	Region string
	Kind   string
	From   time.Time // at or after, in block time
	To     time.Time // before
}

// Match says whether an event is selected.
func (f Filter) Match(ev *ledger.Event) bool {
	at := time.UnixMilli(int64(ev.Time))
	key := strings.ToLower(strings.TrimPrefix(f.Key, "0x"))
	return (key == "" || ev.Object == key || strings.HasSuffix(ev.Object, "/"+key) || f.Origin != "" && ev.Object == f.Origin) &&
		(f.Member == "" || ev.Actor == "member/"+f.Member || ev.Human == f.Member) &&
		(f.Region == "" || ev.Region == f.Region) &&
		(f.Kind == "" || ev.Kind.String() == f.Kind) &&
		(f.From.IsZero() || !at.Before(f.From)) && (f.To.IsZero() || at.Before(f.To))
}

func byMember(ev *ledger.Event) bool { return strings.HasPrefix(ev.Actor, "member/") }

// each visits the selected events among the first size.
func each(log Log, size uint64, f Filter, visit func(Entry) error) error {
	for i := range size {
		ev := log.Event(i)
		if ev == nil || !f.Match(ev) {
			continue
		}
		if err := visit(EntryOf(i, ev)); err != nil {
			return fmt.Errorf("write event %d: %w", i, err)
		}
	}
	return nil
}

// WriteLines writes the selected events as JSON Lines.
func WriteLines(w io.Writer, log Log, size uint64, f Filter) error {
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	if err := each(log, size, f, func(e Entry) error { return enc.Encode(e) }); err != nil {
		return err
	}
	return out.Flush()
}

// WriteCSV writes the selected events as RFC 4180, with a line of names.
func WriteCSV(w io.Writer, log Log, size uint64, f Filter) error {
	out := csv.NewWriter(w)
	out.Write([]string{"index", "kind", "height", "time", "actor", "human", "operator", "region", "purpose", "object", "request", "cause", "exercise", "detail"}) //nolint:errcheck // Error returns it
	err := each(log, size, f, func(e Entry) error {
		cause := ""
		if e.Cause != nil {
			cause = strconv.FormatUint(*e.Cause, 10)
		}
		row := []string{strconv.FormatUint(e.Index, 10), e.Kind, strconv.FormatUint(e.Height, 10), e.Time.Format(time.RFC3339Nano),
			e.Actor, e.Human, e.Operator, e.Region, e.Purpose, e.Object, e.Request, cause, strconv.FormatBool(e.Exercise), e.Detail}
		for i := range row {
			row[i] = inert(row[i])
		}
		return out.Write(row)
	})
	if err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

// inert keeps a spreadsheet from taking what somebody wrote for a formula.
func inert(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
