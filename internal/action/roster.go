package action

import (
	"slices"
	"strings"

	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/wire"
)

// Seat is a place in a ceremony: who holds share number Index.
type Seat struct {
	Index    uint16 // 1 … n
	Node     string
	Operator string
	Region   string
	Identity ident.PublicKey // of the custody process
}

// Roster seats every node that has a custody process of the domain, in order
// of the nodes' names. Its hash enters the ceremony's parameters, so that a
// participant that would seat others, or others' keys, joins nothing.
type Roster []Seat

// NewRoster seats the nodes.
func NewRoster(nodes []NodeRecord, domain Domain) Roster {
	var r Roster
	for _, n := range nodes {
		for _, c := range n.Custody {
			if c.Domain == domain {
				r = append(r, Seat{Node: n.Name, Operator: n.Operator, Region: n.Region, Identity: c.Identity})
			}
		}
	}
	slices.SortFunc(r, func(a, b Seat) int { return strings.Compare(a.Node, b.Node) })
	for i := range r {
		r[i].Index = uint16(i + 1)
	}
	return r
}

// Hash commits to every seat.
func (r Roster) Hash(cluster ClusterID) [32]byte {
	var e wire.Encoder
	e.Count(len(r))
	for _, s := range r {
		e.U16(s.Index)
		e.String(s.Node)
		e.Bytes(s.Identity.Bytes())
	}
	return wire.Hash(wire.TagSeats, cluster[:], e.Out())
}

// Of returns a node's seat.
func (r Roster) Of(node string) (Seat, bool) {
	for _, s := range r {
		if s.Node == node {
			return s, true
		}
	}
	return Seat{}, false
}
