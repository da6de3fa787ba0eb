package cli

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/opsapi"
)

// renewal is a proposal of new shares of keys that are shared 3 of 4, after
// change had its way with the parameters.
func (l *liar) renewal(t *testing.T, mode dkg.Mode, change func(*dkg.Params), keys ...byte) opsapi.Proposal {
	t.Helper()
	p := dkg.Params{Mode: mode, Suite: dkg.SuiteG1, N: 4, T: 3, Epoch: 1, Keys: uint32(len(keys)), Cluster: l.cluster,
		Old: dkg.Old{T: 3, Dealers: dkg.AllSeats(4)}, Deadlines: dkg.Deadlines{Join: 1, Deal: 1, Verify: 1, Answer: 1, Confirm: 1, Publish: 1}}
	if change != nil {
		change(&p)
	}
	var out opsapi.Proposal
	var commitments [][]byte
	for _, k := range keys {
		c := append(publicKey(k), make([]byte, 48*(int(p.Old.T)-1))...)
		commitments, out.Commitments = append(commitments, c), append(out.Commitments, hex.EncodeToString(c))
	}
	root, _, err := p.Prior(commitments)
	if err != nil {
		t.Fatal(err)
	}
	p.Expected = root
	out.Action = hex.EncodeToString(ledger.CeremonyOpen{Params: p}.Ask().Action.Encode())
	return out
}

// handover is the same for a key that participants hand over.
func (l *liar) handover(key byte, change func(*dkg.Params)) []opsapi.Proposal {
	p := dkg.Params{Mode: dkg.ModeReshare, Suite: dkg.SuiteG1, N: 4, T: 3, Epoch: 1, Keys: 1, Cluster: l.cluster, Expected: [32]byte{1},
		Old: dkg.Old{T: 4, N: 5, Assembly: [32]byte{2}}, Deadlines: dkg.Deadlines{Join: 1, Deal: 2, Verify: 1, Answer: 2, Confirm: 1, Publish: 1}}
	if change != nil {
		change(&p)
	}
	return []opsapi.Proposal{{Action: hex.EncodeToString(ledger.CeremonyOpen{Params: p, Keys: [][]byte{publicKey(key)}}.Ask().Action.Encode())}}
}

func publicKey(k byte) []byte { return bytes.Repeat([]byte{k}, 48) }

// TestRenewalAsWanted: a member signs for new shares of the very keys that were
// named, as they were wanted, and for nothing else that a node proposes.
func TestRenewalAsWanted(t *testing.T) {
	identity, public := keyFile(t)
	l := newLiar(t, public)
	one := fmt.Sprintf("0x%x", publicKey(1))
	two := fmt.Sprintf("0x%x,%X", publicKey(2), publicKey(1))
	named := func(keys ...byte) opsapi.Proposal { return l.renewal(t, dkg.ModeRefresh, nil, keys...) }
	reshare := func(change func(*dkg.Params)) []opsapi.Proposal {
		return []opsapi.Proposal{l.renewal(t, dkg.ModeReshare, change, 1, 2)}
	}
	without := func(seat int) func(*dkg.Params) {
		return func(p *dkg.Params) { p.N, p.Without = 5, dkg.Seats(0).With(seat) }
	}
	ask := func(flags ...string) (code int, stderr string) {
		l.prepared, l.body = 0, nil
		code, _, stderr = l.run(identity, append([]string{"ceremony", "open", "--yes"}, flags...)...)
		return code, stderr
	}
	for name, c := range map[string]struct {
		flags    []string
		proposed []opsapi.Proposal
	}{
		"refresh of two":         {[]string{"--mode=refresh", "--keys=" + two}, []opsapi.Proposal{named(1, 2)}},
		"refresh of all":         {[]string{"--mode=refresh", "--all"}, []opsapi.Proposal{named(1, 2)}},
		"two ceremonies":         {[]string{"--mode=refresh", "--keys=" + two}, []opsapi.Proposal{named(1), named(2)}},
		"the same seats":         {[]string{"--mode=reshare", "--keys=" + two}, reshare(nil)},
		"other seats":            {[]string{"--mode=reshare", "--all", "--seats=1,2,3,5"}, reshare(without(4))},
		"one that lost them":     {[]string{"--mode=reshare", "--all", "--lost=3"}, reshare(func(p *dkg.Params) { p.Old.Dealers = dkg.AllSeats(4).Without(1 << 3) })},
		"hand-over":              {[]string{"--mode=handover", "--keys=" + one}, l.handover(1, nil)},
		"of seats, in time":      {[]string{"--mode=handover", "--keys=" + one, "--seats=1,2,3,5", "--phase-timeout=1ms", "--deal-timeout=2ms"}, l.handover(1, without(4))},
		"as long as they wanted": {[]string{"--mode=refresh", "--all", "--phase-timeout=1ms"}, []opsapi.Proposal{named(1, 2)}},
	} {
		l.proposed = c.proposed
		code, stderr := ask(c.flags...)
		if code != int(exitUnavailable) || l.prepared != 1 || !strings.Contains(stderr, fmt.Sprintf("0x%x", publicKey(1))) || !bytes.Contains(l.body, []byte(hex.EncodeToString(publicKey(1)))) {
			t.Errorf("%s: exit %d, prepared %d:\n%s", name, code, l.prepared, stderr)
		}
	}
	swapped := named(1, 2)
	swapped.Commitments = named(1, 3).Commitments
	newKeys := named(1, 2)
	newKeys.Action = hex.EncodeToString((&action.Action{Rule: action.RuleArchive, Domain: action.DomainValidator, PublicKey: publicKey(1)}).Encode())
	refresh, moved := []string{"--mode=refresh", "--keys=" + two}, []string{"--mode=reshare", "--keys=" + two}
	taken := []string{"--mode=handover", "--keys=" + one, "--phase-timeout=1ms"}
	changed := func(change func(*dkg.Params)) []opsapi.Proposal {
		return []opsapi.Proposal{l.renewal(t, dkg.ModeRefresh, change, 1, 2)}
	}
	for name, c := range map[string]struct {
		flags    []string
		proposed []opsapi.Proposal
	}{
		"another key":            {refresh, []opsapi.Proposal{named(1, 3)}},
		"one more":               {refresh, []opsapi.Proposal{named(1, 2, 3)}},
		"one less":               {refresh, []opsapi.Proposal{named(1)}},
		"one twice":              {refresh, []opsapi.Proposal{named(1), named(1)}},
		"one of all twice":       {[]string{"--mode=refresh", "--all"}, []opsapi.Proposal{named(1, 2), named(2)}},
		"others than it shows":   {refresh, []opsapi.Proposal{swapped}},
		"none":                   {refresh, nil},
		"another action":         {refresh, []opsapi.Proposal{newKeys}},
		"a bad one comes second": {refresh, []opsapi.Proposal{named(1), named(3)}},
		"reshare":                {refresh, reshare(nil)},
		"refresh":                {moved, []opsapi.Proposal{named(1, 2)}},
		"another cluster":        {refresh, changed(func(p *dkg.Params) { p.Cluster[0]++ })},
		"hybrid":                 {refresh, changed(func(p *dkg.Params) { p.Hybrid = true })},
		"not hybrid":             {append(slices.Clone(refresh), "--hybrid"), []opsapi.Proposal{named(1, 2)}},
		"another purpose":        {append(slices.Clone(refresh), "--purpose=yearly"), []opsapi.Proposal{named(1, 2)}},
		"another time":           {append(slices.Clone(refresh), "--phase-timeout=2ms"), []opsapi.Proposal{named(1, 2)}},
		"another threshold":      {moved, reshare(func(p *dkg.Params) { p.N, p.T, p.Old.Dealers = 7, 4, dkg.AllSeats(7) })},
		"default threshold":      {append(slices.Clone(moved), "--threshold=4"), reshare(nil)},
		"one is left out":        {moved, reshare(func(p *dkg.Params) { p.N, p.Without, p.Old.Dealers = 5, 1<<5, dkg.AllSeats(5) })},
		"other seats":            {append(slices.Clone(moved), "--seats=1,2,3,5"), reshare(without(3))},
		"another handed over":    {taken, l.handover(2, nil)},
		"handed to fewer":        {taken, l.handover(1, without(4))},
		"of one who hands over":  {taken, []opsapi.Proposal{named(1)}},
		"a handover, not asked":  {[]string{"--mode=reshare", "--keys=" + one}, l.handover(1, nil)},
		"too little time":        {append(slices.Clone(taken), "--deal-timeout=3ms"), l.handover(1, nil)},
		"answers in less":        {taken, l.handover(1, func(p *dkg.Params) { p.Deadlines.Answer = 1 })},
		"answers in more":        {taken[:len(taken)-1], l.handover(1, func(p *dkg.Params) { p.Deadlines.Answer = 3 })},
		"answers for a week": {append(slices.Clone(taken), "--deal-timeout=168h"), l.handover(1, func(p *dkg.Params) {
			p.Deadlines.Deal, p.Deadlines.Answer = 7*24*3_600_000, 7*24*3_600_000
		})},
		"who lost them deals": {append(slices.Clone(moved), "--lost=3"), reshare(nil)},
	} {
		l.proposed = c.proposed
		if code, stderr := ask(c.flags...); code == 0 || code == int(exitUnavailable) || l.prepared != 0 || !strings.Contains(stderr, "nothing is signed") {
			t.Errorf("%s: exit %d, prepared %d:\n%s", name, code, l.prepared, stderr)
		}
	}
}
