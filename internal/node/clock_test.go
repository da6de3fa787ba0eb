package node

import (
	"context"
	"strings"
	"testing"
	"time"

	cmttypes "github.com/cometbft/cometbft/types"
	cmttime "github.com/cometbft/cometbft/types/time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/wire"
)

// The ledger's time is the weighted median of a commit's votes. Whatever f of
// the clocks say, it lies between those of the others, for every commit that a
// proposer can choose, and it moves on.
func TestLiarsDoNotMoveBlockTime(t *testing.T) {
	const hour, tenYears = time.Hour, 10 * 365 * 24 * time.Hour
	for _, skew := range []time.Duration{hour, -hour, tenYears, -tenYears} {
		t.Run(skew.String(), func(t *testing.T) {
			t.Parallel()
			liar := func(i int, c *Config) {
				if i == 3 { // f of four
					c.Clock = func() time.Time { return time.Now().Add(skew) }
				}
			}
			began := time.Now().Truncate(time.Second) // as the genesis
			p := newPeople(t, 2)
			nodes := startClusterWith(t, 4, liar, func(g *action.Genesis) {
				g.Policy, g.Members = strings.Replace(twoAgree, "{time: 1s,", "{time: 2s,", 1), p.records
			})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			// Each node in turn, for the liar proposes, too.
			lied := 0
			var last time.Time
			for round := range 12 {
				n := nodes[round%4]
				if _, err := n.Submit(ctx, action.KindTick, nil); err != nil {
					t.Fatalf("round %d, %s: %v", round, n.Name(), err)
				}
				height, at := n.Height()
				if at.Before(began) || at.After(time.Now()) {
					t.Fatalf("block %d has the time %s, at %s", height, at, time.Now())
				}
				if at.Before(last) {
					t.Errorf("block %d is of %s, an earlier one of %s", height, at, last)
				}
				last = at
			}
			if late := time.Since(last); late > hour/2 {
				t.Errorf("the ledger's time is %s behind", late)
			}
			blocks := nodes[0].engine.Load().BlockStore()
			for h := int64(2); h <= blocks.Height(); h++ {
				for _, vote := range blocks.LoadBlockCommit(h - 1).Signatures {
					if vote.BlockIDFlag == cmttypes.BlockIDFlagCommit && time.Since(vote.Timestamp).Abs() > hour/2 {
						lied++
					}
				}
			}
			p.locked(t, ctx, nodes, 2*time.Second)
			if lied == 0 {
				t.Error("no commit holds a vote of the liar: the test has shown nothing")
			}
			t.Logf("%d blocks, %d commits with the liar's vote", blocks.Height(), lied)
		})
	}
}

// locked has a request agreed on, at the liar last, and fails where it is
// executed before its time lock has passed by the test's own clock.
func (p people) locked(t *testing.T, ctx context.Context, nodes []*Node, lock time.Duration) {
	newcomer := newPeople(t, 1).records[0]
	newcomer.ID = "new"
	asked, err := p.say(ctx, nodes[0], 0, action.KindRequest, ledger.Ask{Action: &action.Action{Rule: action.RuleEnrol, Member: &newcomer}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.approve(ctx, nodes[1], 0, asked.Request); err != nil {
		t.Fatal(err)
	}
	agreed := time.Now() // or a little later
	if _, err := p.approve(ctx, nodes[3], 1, asked.Request); err != nil {
		t.Fatal(err)
	}
	r := awaitEnd(t, ctx, nodes[0], asked.Request)
	if after := time.Since(agreed); r.State != ledger.RequestExecuted || after < lock {
		t.Errorf("%s %s after it was agreed on; its lock is of %s", r.State, after, lock)
	} else {
		t.Logf("a lock of %s opened after %s", lock, after)
	}
}

// Whichever votes a proposer puts into a commit, and whatever time liars among
// them say, their median lies between the times of honest ones.
func TestMedianOfEveryCommit(t *testing.T) {
	const tenYears, spread = 10 * 365 * 24 * time.Hour, time.Second
	honest := time.Unix(1_700_000_000, 0)
	for n := 4; n <= wire.MaxNodes; n++ {
		for votes := n*2/3 + 1; votes <= n; votes++ {
			for low := range (n-1)/3 + 1 {
				for high := range (n-1)/3 + 1 - low {
					var times []*cmttime.WeightedTime
					for i := range votes {
						at := honest.Add(spread * time.Duration(i) / time.Duration(votes))
						switch {
						case i < low:
							at = honest.Add(-tenYears)
						case i < low+high:
							at = honest.Add(tenYears)
						}
						times = append(times, cmttime.NewWeightedTime(at, proof.VotePower))
					}
					at := cmttime.WeightedMedian(times, proof.VotePower*int64(votes))
					if at.Before(honest) || at.After(honest.Add(spread)) {
						t.Errorf("%d votes of %d, %d far back and %d far ahead: the block is of %s", votes, n, low, high, at)
					}
				}
			}
		}
	}
}
