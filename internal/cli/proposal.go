package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/opsapi"
)

// ceremonyAsMember asks for the ceremonies that the node proposes, if they are
// what was wanted: one for new keys, or for keys that are shared alike. All are
// looked at before anything is signed.
func (a *app) ceremonyAsMember(ctx context.Context, req opsapi.OpenCeremony, o askOptions) error {
	if a.compose != nil && req.Mode != dkg.ModeKeygen.String() {
		return fail(exitBadUse, "ask for it when it is due", "a timer asks for new keys only: what shares a %s will replace is not known yet", req.Mode)
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	all, err := a.proposedCeremonies(ctx, c, req)
	if err != nil {
		return err
	}
	var waits error
	for _, p := range all {
		o.keys, o.details = p.keys, p.details
		if err := a.ask(ctx, p.act, o); err != nil {
			if code, _ := explain(err); code != exitWaiting {
				return err
			}
			waits = err
		}
		if a.compose == nil {
			fmt.Fprintf(a.stderr, "once it is open: quorate ceremony watch %x\n", p.params.ID())
			if p.params.FromAssembly() {
				fmt.Fprintf(a.stderr, "the participants run: quorate ceremony hand-over INVITATION %x --identity KEYFILE\n", p.params.ID())
			}
		}
	}
	return waits
}

// proposedCeremony is a ceremony to ask for, as it was wanted.
type proposedCeremony struct {
	act     *action.Action
	params  dkg.Params
	keys    [][]byte // that there are already, and come with the action
	named   [][]byte // that there are already, and the action names
	details []opsapi.Detail
}

// proposedCeremonies has the node write out the ceremonies that a wish takes.
// It knows how keys are shared; what it says of that counts for nothing where
// it can be computed.
func (a *app) proposedCeremonies(ctx context.Context, c *opsapi.Client, req opsapi.OpenCeremony) ([]proposedCeremony, error) {
	req.Mode = cmp.Or(req.Mode, dkg.ModeKeygen.String())
	wanted := map[string]bool{}
	for _, text := range req.PublicKeys {
		key, err := parsePubkey(text)
		if err != nil {
			return nil, err
		}
		wanted[string(key)] = true
	}
	cluster, err := a.cluster(ctx, c)
	if err != nil {
		return nil, err
	}
	proposals, err := c.ProposeCeremony(ctx, req)
	if err != nil {
		return nil, err
	}
	var all []proposedCeremony
	var keys [][]byte
	for _, proposal := range proposals {
		one, err := readCeremony(cluster, req, proposal)
		if err != nil {
			return nil, fmt.Errorf("%w: nothing is signed", err)
		}
		all, keys = append(all, one), slices.Concat(keys, one.keys, one.named)
	}
	known := len(wanted) == 0 || len(wanted) == len(keys) && !slices.ContainsFunc(keys, func(k []byte) bool { return !wanted[string(k)] })
	slices.SortFunc(keys, bytes.Compare)
	if !known || len(slices.CompactFunc(slices.Clone(keys), bytes.Equal)) != len(keys) {
		return nil, errors.New("the node proposes a ceremony about other keys than it was asked for: nothing is signed")
	}
	if renews := req.Mode != dkg.ModeKeygen.String(); len(all) == 0 || !renews && len(all) > 1 {
		return nil, fmt.Errorf("the node proposes %d ceremonies: nothing is signed", len(all))
	}
	return all, nil
}

// readCeremony holds a proposal against what was wanted.
func readCeremony(cluster action.ClusterID, req opsapi.OpenCeremony, proposal opsapi.Proposal) (one proposedCeremony, err error) {
	canonical, err := hex.DecodeString(proposal.Action)
	if err != nil {
		return one, fmt.Errorf("ask node: read answer: %w", err)
	}
	act, words, err := opsapi.ReadAction(canonical)
	if err != nil {
		return one, err
	}
	p, err := dkg.ParseParams(act.Ceremony.Params)
	if err != nil {
		return one, err
	}
	if act.Rule != action.Rule("ceremony."+req.Mode) || opsapi.ModeOf(p) != req.Mode || p.Cluster != cluster || act.Ceremony.Purpose != req.Purpose || !fits(req, p) {
		return one, fmt.Errorf("the node was asked for another %s than it proposes (%s)", req.Mode, strings.TrimSuffix(words.Says, "."))
	}
	one = proposedCeremony{act: act, params: p, details: words.Details}
	if p.FromAssembly() {
		one.named = [][]byte{act.PublicKey}
		return one, nil
	}
	if one.keys, err = opsapi.RenewedKeys(p, proposal.Commitments); err != nil || one.keys == nil {
		return one, err
	}
	one.details = append(one.details, theseKeys(one.keys))
	return one, nil
}

func theseKeys(keys [][]byte) opsapi.Detail {
	var names strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&names, "0x%x\n", k)
	}
	return opsapi.Detail{Name: "these keys", Value: names.String()}
}

// renewed names the keys that a request is about and whose action has no more
// of them than a root. What the node says of them is held against that.
func renewed(a *action.Action, r *opsapi.Request) []opsapi.Detail {
	if a.Rule != action.RuleRefresh && a.Rule != action.RuleReshare || r.Waits == nil {
		return nil
	}
	p, err := dkg.ParseParams(a.Ceremony.Params)
	if err == nil && len(r.Commitments) == 0 {
		err = errors.New("the node does not say")
	}
	var keys [][]byte
	if err == nil {
		keys, err = opsapi.RenewedKeys(p, r.Commitments)
	}
	if err != nil {
		return []opsapi.Detail{{Name: "these keys", Value: "cannot be told: " + err.Error()}}
	}
	return []opsapi.Detail{theseKeys(keys)}
}

// fits reports whether a ceremony has the seats, the threshold and the rest as
// they were wanted. Whether the holders of before are who the ledger says, it
// checks itself.
func fits(req opsapi.OpenCeremony, p dkg.Params) bool {
	var seats, lost dkg.Seats
	for _, i := range req.Seats {
		seats = seats.With(i)
	}
	for _, i := range req.Lost {
		lost = lost.With(i)
	}
	th, err := action.DefaultThreshold(p.Members().Len())
	threshold := cmp.Or(req.Threshold, th.T())
	ms, deal := req.PhaseTimeout, cmp.Or(req.DealTimeout, req.PhaseTimeout)
	answer := deal
	if p.FromAssembly() { // people deal, and answer
		deal = cmp.Or(req.DealTimeout, p.Deadlines.Deal)
		answer = ledger.AnswerTime(deal)
	}
	switch {
	case p.Hybrid != req.Hybrid || ms != 0 && p.Deadlines != dkg.Deadlines{Join: ms, Deal: deal, Verify: ms, Answer: answer, Confirm: ms, Publish: ms}:
		return false
	case req.DealTimeout != 0 && p.Deadlines.Deal != deal, p.FromAssembly() && p.Deadlines.Answer != answer:
		return false
	case p.Mode == dkg.ModeRefresh: // keeps them, or is no refresh
		return true
	case err != nil || int(p.T) != threshold:
		return false
	case p.FromAssembly():
		return p.Members() == seats || seats == 0 && p.Without == 0
	case p.Mode == dkg.ModeKeygen:
		return int(p.Keys) == req.Keys && p.Use.String() == cmp.Or(req.Use, action.UseDuties.String()) && p.Without == 0
	case p.Old.Dealers.Without(lost) != p.Old.Dealers:
		return false
	}
	return p.Members() == seats || seats == 0 && p.Members().Without(lost) == p.Old.Dealers
}
