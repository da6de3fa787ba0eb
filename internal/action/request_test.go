package action_test

import (
	"errors"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/action/actiontest"
)

// TestCheckApprovals: a grant that names forged approvals is worth nothing,
// and neither is an honest one beside other approvals than it names.
func TestCheckApprovals(t *testing.T) {
	c := actiontest.People()
	ask := func(name string, nonce byte) action.Request {
		a := action.Action{Rule: action.RulePolicy, Document: []byte(name)}
		return action.Request{Action: a.Encode(), Nonce: [32]byte{nonce}, Policy: [32]byte{2}, By: "member/ana"}
	}
	c.Cluster, c.Request, c.Other = action.ClusterID{7}, ask("one", 1), ask("another", 3)
	numbers := map[string]uint64{}
	c.Nonce = func(id string) uint64 { numbers[id]++; return numbers[id] }
	check := func(g *action.Grant, txs [][]byte, members map[string]*action.MemberRecord, floor action.Need) error {
		return g.CheckApprovals(c.Cluster, txs, func(id string) *action.MemberRecord {
			m := c.Member(id)
			if members[id] != nil {
				m = members[id]
			}
			if m == nil || m.Suspended > 0 { // whom the caller does not show
				return nil
			}
			return m
		}, floor)
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, action.ErrApprovals) {
			t.Errorf("%s: %v", what, err)
		}
	}
	forgeries := c.Forgeries()
	for _, f := range forgeries {
		refused(f.Name, check(c.Grant(f.Txs), f.Txs, f.Members, action.Need{}))
	}
	if len(forgeries) < 100 {
		t.Errorf("only %d forgeries", len(forgeries))
	}
	ana, bo, abe := c.Approve(c.Ana, 0, nil), c.Approve(c.Bo, 1, nil), c.Approve(c.Abe, 2, nil)
	g := c.Grant([][]byte{ana, bo})
	refused("in another order", check(g, [][]byte{bo, ana}, nil, action.Need{}))
	refused("fewer than it names", check(g, [][]byte{ana}, nil, action.Need{}))
	refused("more than it names", check(g, [][]byte{ana, bo, abe}, nil, action.Need{}))
	refused("another of the same human", check(g, [][]byte{ana, c.Approve(c.Bo, 1, nil)}, nil, action.Need{}))
	refused("no transaction", check(c.Grant([][]byte{ana, {1}}), [][]byte{ana, {1}}, nil, action.Need{}))
	refused("below the floor", check(g, [][]byte{ana, bo}, nil, action.Need{Approvals: 3}))
	if err := check(g, [][]byte{ana, bo}, nil, action.Need{Approvals: 1}); err != nil {
		t.Errorf("honest approvals: %v", err)
	}
	g = c.Grant([][]byte{ana, abe, bo})
	if err := check(g, [][]byte{ana, abe, bo}, nil, action.Need{Approvals: 3, Regions: 2}); err != nil {
		t.Errorf("honest approvals of three: %v", err)
	}
}

// TestNeed: humans, operators and regions count once each, and none makes up
// for another.
func TestNeed(t *testing.T) {
	person := func(id, operator, region string) *action.MemberRecord {
		return &action.MemberRecord{ID: id, Operator: operator, Region: region}
	}
	ana, abe, bo, cy := person("ana", "op0", "lisbon"), person("abe", "op0", "porto"), person("bo", "op1", "lisbon"), person("cy", "op2", "pune")
	for _, c := range []struct {
		name   string
		need   action.Need
		humans []*action.MemberRecord
		less   action.Need
	}{
		{"nothing is asked", action.Need{}, nil, action.Need{}},
		{"nobody", action.Need{Approvals: 2, Operators: 1, Regions: 1}, nil, action.Need{Approvals: 2, Operators: 1, Regions: 1}},
		{"one human twice", action.Need{Approvals: 2}, []*action.MemberRecord{ana, ana}, action.Need{Approvals: 1}},
		{"two of one operator", action.Need{Approvals: 2, Operators: 2, Regions: 2}, []*action.MemberRecord{ana, abe}, action.Need{Operators: 1}},
		{"two in one region", action.Need{Approvals: 2, Operators: 2, Regions: 2}, []*action.MemberRecord{ana, bo}, action.Need{Regions: 1}},
		{"two of three humans", action.Need{Approvals: 3, Operators: 2, Regions: 2}, []*action.MemberRecord{bo, cy}, action.Need{Approvals: 1}},
		{"as many as asked", action.Need{Approvals: 2, Operators: 2, Regions: 2}, []*action.MemberRecord{bo, cy}, action.Need{}},
		{"more than asked", action.Need{Approvals: 1, Operators: 1, Regions: 1}, []*action.MemberRecord{ana, bo, cy}, action.Need{}},
	} {
		if less := c.need.Missing(c.humans); less != c.less || c.need.Met(c.humans) != (less == action.Need{}) {
			t.Errorf("%s: missing %+v, want %+v", c.name, less, c.less)
		}
	}
	a, b := action.Need{Approvals: 1, Operators: 5, Regions: 2}, action.Need{Approvals: 3, Operators: 4, Regions: 6}
	if got, want := a.Max(b), (action.Need{Approvals: 3, Operators: 5, Regions: 6}); got != want || b.Max(a) != want {
		t.Errorf("the stricter of both is %+v, want %+v", got, want)
	}
}

// TestVerdicts: a word is one of three, or none.
func TestVerdicts(t *testing.T) {
	for v := range action.Verdict(6) {
		want := action.Decision{Request: [32]byte{1}, Action: [32]byte{2}, Policy: [32]byte{3}, Verdict: v}
		d, err := action.ParseDecision(want.Encode())
		known := v >= action.Approve && v <= action.Cancel
		if (err == nil) != known || known && d != want {
			t.Errorf("verdict %d: %+v, %v", v, d, err)
		}
	}
	d := action.Decision{Verdict: action.Approve}.Encode()
	for name, b := range map[string][]byte{"empty": nil, "cut": d[:len(d)-1], "longer": append(d, 0)} {
		if _, err := action.ParseDecision(b); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
}
