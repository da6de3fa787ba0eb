package ledger

import (
	"fmt"
	"strconv"
	"sync"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/policy"
	"github.com/quorate/quorate/internal/proof"
)

// Cache keeps what follows from the state alone, so that to have it or not
// changes no result: the compiled form of the policy in force, and the boards
// of open assemblies.
type Cache struct {
	mu       sync.Mutex
	version  [32]byte
	compiled *policy.Policy
	boards   []*assembly.Follower
}

func (c *Cache) policy(version [32]byte, compile func() *policy.Policy) *policy.Policy {
	if c == nil {
		return compile()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.compiled == nil || c.version != version {
		c.version, c.compiled = version, compile()
	}
	return c.compiled
}

func (s *State) documentPath(version [32]byte) proof.Path {
	return s.ns.Path("policy-document", proof.Hex(version[:]))
}

// policy returns the policy in force and its version.
func (s *State) policy() (*policy.Policy, [32]byte) {
	version := [32]byte(s.Get(s.ns.Policy()))
	return s.cache.policy(version, func() *policy.Policy { return mustParse(policy.Compile(s.PolicyDocument(version))) }), version
}

// PolicyVersion names the policy in force.
func (s *State) PolicyVersion() [32]byte { return [32]byte(s.Get(s.ns.Policy())) }

// PolicyDocument returns the text of a version that was ever in force.
func (s *State) PolicyDocument(version [32]byte) []byte { return s.Get(s.documentPath(version)) }

func (s *State) floorPath(r action.Rule) proof.Path { return s.ns.Path("floor", string(r)) }

// floor is what no policy can go below.
func (s *State) floor(r action.Rule) (n action.Need) {
	if raw := s.Get(s.floorPath(r)); raw != nil {
		if _, err := fmt.Sscan(string(raw), &n.Approvals, &n.Operators, &n.Regions); err != nil {
			panic("ledger: own state is damaged: floor: " + err.Error())
		}
	}
	return n
}

// foundPolicy writes the genesis's policy.
func (s *State) foundPolicy(g *action.Genesis) error {
	for rule, n := range g.Floors {
		s.set(s.floorPath(rule), fmt.Appendf(nil, "%d %d %d", n.Approvals, n.Operators, n.Regions))
	}
	p, err := policy.Compile([]byte(g.Policy))
	if err != nil {
		return fmt.Errorf("read the genesis's policy: %w", err)
	}
	s.putPolicy(p.Hash(), []byte(g.Policy))
	return nil
}

// LockedOut says why nobody whom a genesis names could ever change its policy.
// Nodes start from such a genesis all the same; who assembles one wants to know.
func LockedOut(g *action.Genesis) error {
	p, err := policy.Compile([]byte(g.Policy))
	if err != nil {
		return fmt.Errorf("read the genesis's policy: %w", err)
	}
	var all []policy.Principal
	for i := range g.Nodes {
		all = append(all, ofNode(&g.Nodes[i]).policy())
	}
	for i := range g.Members {
		all = append(all, ofMember(&g.Members[i]).policy())
	}
	return p.Lockout(all)
}

func (s *State) putPolicy(version [32]byte, document []byte) {
	s.set(s.documentPath(version), document)
	s.set(s.ns.Policy(), version[:])
}

// maxDrafts bounds how many policies one asker has the ledger read in a block:
// a long one takes every node a sixth of a second, refused or not.
const maxDrafts = 2

func (s *State) readDraft(by string) error {
	if s.drafts[by] == maxDrafts {
		return refuse(CodeBusy, "%s asked for %d policies in this block already", by, maxDrafts)
	}
	s.drafts[by]++
	return nil
}

// changePolicy puts another policy in force, on the request by. One that does not compile, or
// under which nobody could change it again, never is.
func (s *State) changePolicy(ctx txContext, document []byte, by [32]byte) error {
	p, err := policy.Compile(document)
	if err != nil {
		return refuse(CodeMalformed, "%w", err)
	}
	if err := s.locksOut(p, ctx.block.Time); err != nil {
		return refuse(CodeConflict, "%w", err)
	}
	version := p.Hash()
	if version == s.PolicyVersion() {
		return refuse(CodeConflict, "this policy is in force already")
	}
	s.putPolicy(version, document)
	s.record(ctx, Event{Kind: EventPolicy, Object: fmt.Sprintf("policy/%x", version)})
	s.rulesChanged(ctx)
	// What was opened under the old one nobody agrees to under the new one.
	s.LiveRequests(func(id [32]byte, r *Request) bool {
		if id != by {
			s.progress(ctx, id, r)
		}
		return true
	})
	return nil
}

// rulesChanged has the next block act on what a policy states as data.
func (s *State) rulesChanged(ctx txContext) {
	next := uint64(ctx.block.Height) + 1
	s.wakeAtHeight(next, dueSharings, "0")
	s.wakeAtHeight(next, dueErase, eraseName)
}

// query is an action as a policy sees it.
func (s *State) query(ctx txContext, a *action.Action, who principal) (policy.Query, error) {
	q := policy.Query{Action: string(a.Rule), Principal: who.policy(), Time: ctx.block.Time, Params: map[string]string{}}
	number := func(name string, n uint64) { q.Params[name] = strconv.FormatUint(n, 10) }
	switch {
	case a.Rule.OfKey():
		key, err := s.Key(a.Domain, a.PublicKey)
		if err != nil {
			return q, err
		}
		q.Resource = keyResource(key)
		if a.Rule == action.RuleSettings {
			if f := a.Settings.Set.FeeRecipient; f != nil {
				q.Params["fee_recipient"] = fmt.Sprintf("0x%x", *f)
			}
			if g := a.Settings.Set.GasLimit; g != nil {
				number("gas_limit", *g)
			}
		}
		if a.Rule == action.RuleFreeze {
			number("for", a.Until-min(a.Until, ctx.block.Time))
		}
	case a.Rule.OfCeremony():
		p, err := dkg.ParseParams(a.Ceremony.Params)
		if err != nil {
			return q, refuse(CodeMalformed, "%w", err)
		}
		q.Resource = policy.Resource{Kind: "ceremony", ID: proof.Hex(id32(p.ID())), Domain: string(action.DomainValidator), Owner: who.operator, Purpose: a.Ceremony.Purpose}
		if a.Rule == action.RuleHandover {
			key, err := s.Key(action.DomainValidator, a.PublicKey)
			if err != nil {
				return q, err
			}
			q.Resource = keyResource(key)
		}
		number("keys", uint64(p.Keys))
		number("threshold", uint64(p.T))
		number("seats", uint64(p.N))
		q.Params["use"] = p.Use.String()
	case a.Rule == action.RuleAssembly:
		p, err := assembly.ParseParams(a.Assembly.Params)
		if err != nil {
			return q, refuse(CodeMalformed, "%w", err)
		}
		q.Resource = policy.Resource{Kind: "ceremony", ID: proof.Hex(id32(p.ID())), Domain: string(action.DomainValidator), Owner: who.operator,
			Purpose: a.Assembly.Purpose, Exercise: p.Exercise}
		number("keys", 1)
		number("threshold", uint64(p.T))
		number("seats", uint64(p.N))
	case a.Rule == action.RulePolicy:
		q.Resource = policy.PolicyResource()
	case a.Rule == action.RuleHistory:
		if a.Domain != action.DomainValidator {
			return q, refuse(CodeMalformed, "keys of the %s domain have no slashing history", a.Domain)
		}
		q.Resource = policy.Resource{Kind: "key", ID: fmt.Sprintf("history 0x%x", a.History.Hash), Domain: string(a.Domain)}
		number("keys", uint64(a.History.Keys))
	case a.Rule == action.RuleTimerSet:
		q.Resource = policy.Resource{Kind: "timer", ID: a.Timer.Name}
	case a.Rule == action.RuleTimerCancel:
		q.Resource = policy.Resource{Kind: "timer", ID: a.Name}
	default:
		q.Resource = s.memberResource(a)
		if a.Rule == action.RuleSuspend {
			number("for", a.Until-min(a.Until, ctx.block.Time))
		}
	}
	return q, nil
}

func (s *State) memberResource(a *action.Action) policy.Resource {
	m := a.Member
	if m == nil {
		m, _ = s.Member(a.Name)
	}
	if m == nil {
		return policy.Resource{Kind: "member", ID: a.Name}
	}
	return policy.Resource{Kind: "member", ID: m.ID, Owner: m.Operator}
}

func id32(id [32]byte) []byte { return id[:] }
