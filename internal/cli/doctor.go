package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/opsapi"
)

// finding is one thing that doctor looked at.
type finding struct {
	Check string `json:"check"`
	OK    bool   `json:"ok"`
	Seen  string `json:"seen"`
	Hint  string `json:"hint,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{Use: "doctor", Short: "Look for what is wrong with a node and say what to do", Args: cobra.NoArgs, RunE: a.run(a.doctor)}
}

func (a *app) doctor(ctx context.Context, _ []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	st, err := c.Status(ctx)
	if err != nil {
		return err
	}
	findings := []finding{{Check: "ledger", OK: st.Height > 0, Seen: fmt.Sprintf("height %d, %s", st.Height, clock(st.Time)),
		Hint: "the ledger makes its first block when more than two thirds of the nodes run"}}
	if st.Height == 0 {
		findings[0].Seen = "no block yet"
	}
	up := 1
	for _, p := range st.Peers {
		f := finding{Check: "peer " + p.Name, OK: p.Connected, Seen: fmt.Sprintf("%s, %.1f ms", p.Address, p.RTT),
			Hint: "does it run? Its log there says why not; both sides must have the same genesis"}
		if p.Connected {
			up++
		} else {
			f.Seen = p.Error
		}
		findings = append(findings, f)
	}
	findings = append(findings, finding{Check: "quorum", OK: up >= st.Threshold, Seen: fmt.Sprintf("%d of %d nodes, %d needed", up, st.Nodes, st.Threshold),
		Hint: "no signature is made before enough nodes are connected"})
	for _, cu := range st.Custody {
		findings = append(findings, custodyFinding(cu), leaseFinding(cu, st.Time))
	}
	if st.RotationsDue > 0 {
		findings = append(findings, finding{Check: "rotation", OK: st.RotationsOverdue == 0, Seen: fmt.Sprintf("shares of %s are older than the policy says, %d of them overdue", plural(st.RotationsDue, "key"), st.RotationsOverdue),
			Hint: "approve what the ledger asks for: quorate request list --by timer/rotation; or ask: quorate ceremony open --mode refresh --all"})
	}
	return a.report(st.Node, findings)
}

// heartbeat is how often an idle ledger makes a block.
const heartbeat = time.Minute

func custodyFinding(cu opsapi.Custody) finding {
	f := finding{Check: "custody " + cu.Domain, OK: cu.Up && cu.RolledBack == 0, Seen: fmt.Sprintf("%s, %s slashing history", plural(cu.Keys, "key"), cu.SlashingStrategy),
		Hint: "look at the node's log; a missing slashing record is refused, never created"}
	switch {
	case !cu.Up:
		f.Seen = cu.Error
	case cu.RolledBack > 0:
		f.Seen = fmt.Sprintf("its slashing record was older at the start than the ledger knows, by %d entries or more", cu.RolledBack)
		f.Hint = "find out who restored the disk or copied the machine; the holder signs above its floor, and is well again after the next start"
	}
	return f
}

// leaseFinding is how long custody signs blocks and attestations if the ledger
// stays silent. While the ledger moves a duty that needs a longer lease gets it.
func leaseFinding(cu opsapi.Custody, block time.Time) finding {
	moves := time.Since(block) < 2*heartbeat
	f := finding{Check: "lease " + cu.Domain, OK: cu.LeaseLeft > 0 || cu.Keys == 0 || moves,
		Seen: fmt.Sprintf("%.0f s without the ledger", cu.LeaseLeft), Hint: "the ledger extends it with the next block, which takes more than two thirds of the nodes"}
	if u := cu.FencedUntil; u != nil {
		f.Seen += fmt.Sprintf("; after a restart, blocks above slot %d and attestations above epoch %d only", u.Slot, u.Epoch)
	}
	return f
}

func (a *app) report(node string, findings []finding) error {
	bad := 0
	for i := range findings {
		if findings[i].OK {
			findings[i].Hint = ""
		} else {
			bad++
		}
	}
	err := a.print(findings, func(t *table) {
		t.row(node)
		for _, f := range findings {
			mark := "ok"
			if !f.OK {
				mark = "BAD"
			}
			t.row(mark, f.Check, f.Seen)
			if f.Hint != "" {
				t.row("", "hint:", f.Hint)
			}
		}
	})
	if err == nil && bad > 0 {
		err = fail(exitFailed, "", "%d of %d checks of %s are bad", bad, len(findings), node)
	}
	return err
}
