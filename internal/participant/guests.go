package participant

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/policy"
	"github.com/quorate/quorate/internal/wire"
)

// Guest is who is asked to a ceremony: a line of the coordinator's file.
type Guest struct {
	Name   string          `yaml:"name"`
	Region string          `yaml:"region"`
	Zone   string          `yaml:"zone"`   // such as Europe/Paris; none is UTC
	Window string          `yaml:"window"` // such as sun-thu 08:00-16:00; none is everybody's
	Member string          `yaml:"member"` // whose enrolled credential the key is, if anybody's
	Key    ident.PublicKey `yaml:"-"`
	Text   string          `yaml:"key"`
}

// MaxGuests bounds a file of guests: hybrid keys are 4 KB of text.
const MaxGuests = wire.MaxParticipants * 8 << 10

var guestColumns = []string{"name", "region", "zone", "window", "key", "member"}

// ParseGuests reads a file of guests, in order of their seats: CSV whose first
// line names the columns, or a YAML list.
func ParseGuests(raw []byte) (guests []Guest, err error) {
	if len(raw) > MaxGuests {
		return nil, fmt.Errorf("read participants: %d bytes are over the limit of %d", len(raw), MaxGuests)
	}
	if trimmed := bytes.TrimSpace(raw); bytes.HasPrefix(trimmed, []byte("-")) || bytes.HasPrefix(trimmed, []byte("[")) {
		dec := yaml.NewDecoder(bytes.NewReader(raw))
		dec.KnownFields(true)
		err = dec.Decode(&guests)
	} else {
		guests, err = guestLines(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("read participants: %w", err)
	}
	if len(guests) > wire.MaxParticipants {
		return nil, fmt.Errorf("read participants: %d are over the limit of %d", len(guests), wire.MaxParticipants)
	}
	for i := range guests {
		g := &guests[i]
		if err := g.Key.UnmarshalText([]byte(g.Text)); err != nil {
			return nil, fmt.Errorf("read participants: seat %d, %s: its key: %w", i+1, g.Name, err)
		}
		if _, err := time.LoadLocation(g.Zone); err != nil {
			return nil, fmt.Errorf("read participants: seat %d, %s: time zone %q is unknown", i+1, g.Name, g.Zone)
		}
		if g.Window != "" {
			if _, err := policy.ParseWeek(g.Window); err != nil {
				return nil, fmt.Errorf("read participants: seat %d, %s: %w", i+1, g.Name, err)
			}
		}
	}
	if err := Seats(guests).Check(); err != nil {
		return nil, fmt.Errorf("read participants: %w", err)
	}
	return guests, nil
}

func guestLines(raw []byte) (guests []Guest, err error) {
	r := csv.NewReader(bytes.NewReader(raw))
	r.TrimLeadingSpace, r.Comment = true, '#'
	columns, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty")
	}
	if err != nil {
		return nil, err
	}
	for _, c := range columns {
		if !slices.Contains(guestColumns, c) {
			return nil, fmt.Errorf("column %q is unknown: the first line names some of %s", c, strings.Join(guestColumns, ","))
		}
	}
	for {
		line, err := r.Read()
		if errors.Is(err, io.EOF) {
			return guests, nil
		}
		if err != nil {
			return nil, err
		}
		var g Guest
		into := map[string]*string{"name": &g.Name, "region": &g.Region, "zone": &g.Zone, "window": &g.Window, "key": &g.Text, "member": &g.Member}
		for i, c := range columns {
			*into[c] = strings.TrimSpace(line[i])
		}
		guests = append(guests, g)
	}
}

// Seats is what the ledger gets to know of guests.
func Seats(guests []Guest) (out action.Participants) {
	for _, g := range guests {
		out = append(out, action.Participant{Name: g.Name, Region: g.Region, Member: g.Member, Key: g.Key})
	}
	return out
}

// Desks returns when guests are there, each zone and window once; who has no
// window of his own has everybody's.
func Desks(guests []Guest, everybodys policy.Week, away *Away) (out []Desk) {
	seen := map[string]bool{}
	for _, g := range guests {
		zone, err := time.LoadLocation(g.Zone)
		if id := g.Zone + " " + g.Window; err != nil || seen[id] {
			continue
		} else {
			seen[id] = true
		}
		week := everybodys
		if own, err := policy.ParseWeek(g.Window); err == nil {
			week = own
		}
		out = append(out, Desk{week, zone, away})
	}
	return out
}
