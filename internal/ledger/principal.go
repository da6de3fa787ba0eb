package ledger

import (
	"strings"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/policy"
)

// principal is on whose behalf something happens.
type principal struct {
	name             string // "node/…", "member/…", "timer/…", "ledger"
	kind             string
	operator, region string
	roles            []string
	suspended        uint64
	behind           string // who set the timer
}

// Kinds of principals, as policies name them.
const (
	kindHuman    = "human"
	kindWorkload = "workload"
	kindNode     = "node"
	kindTimer    = "timer"
)

var theLedger = principal{name: "ledger"}

// id is the name without its class.
func (p principal) id() string {
	_, id, _ := strings.Cut(p.name, "/")
	return id
}

// human is the enrolled human, "" where there is none.
func (p principal) human() string {
	if p.kind == kindHuman {
		return p.id()
	}
	return ""
}

// mayAct refuses whoever is suspended.
func (p principal) mayAct(now uint64) error {
	if now < p.suspended {
		return refuse(CodeDenied, "%s is suspended", p.name)
	}
	return nil
}

func (p principal) policy() policy.Principal {
	return policy.Principal{ID: p.id(), Kind: p.kind, Operator: p.operator, Region: p.region, Roles: p.roles}
}

func ofMember(m *action.MemberRecord) principal {
	p := principal{name: action.Signer{Class: action.SignerMember, Name: m.ID}.String(), kind: kindHuman,
		operator: m.Operator, region: m.Region, roles: m.Roles, suspended: m.Suspended}
	if m.Workload {
		p.kind = kindWorkload
	}
	return p
}

func ofNode(n *action.NodeRecord) principal {
	return principal{name: action.Signer{Class: action.SignerNode, Name: n.Name}.String(), kind: kindNode, operator: n.Operator, region: n.Region}
}

// signer returns who signs under a name, and with which keys.
func (s *State) signer(name action.Signer) (principal, []ident.PublicKey, bool) {
	switch name.Class {
	case action.SignerNode:
		if n, ok := s.Node(name.Name); ok {
			return ofNode(n), []ident.PublicKey{n.Identity}, true
		}
	case action.SignerMember:
		if m, ok := s.Member(name.Name); ok {
			return ofMember(m), m.Keys, true
		}
	}
	return principal{}, nil, false
}

// asker returns who asked for a request, as he is now; false when he has left.
func (s *State) asker(name string) (principal, bool) {
	class, id, _ := strings.Cut(name, "/")
	switch class {
	case "node":
		p, _, ok := s.signer(action.Signer{Class: action.SignerNode, Name: id})
		return p, ok
	case "member":
		p, _, ok := s.signer(action.Signer{Class: action.SignerMember, Name: id})
		return p, ok
	case "timer":
		return principal{name: name, kind: kindTimer}, true
	}
	return principal{}, false
}
