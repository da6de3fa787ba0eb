package opsapi

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/policy"
)

// Words say what an action is, for whoever has to agree to it. They follow
// from its canonical bytes alone: who signs calls ReadAction, and takes
// nobody's word for them.
type Words struct {
	Rule    string   `json:"rule"`
	Object  string   `json:"object"`
	Says    string   `json:"says"`
	Details []Detail `json:"details,omitempty"`
}

// Detail is one thing more to know.
type Detail struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ReadAction says what canonical bytes ask for.
func ReadAction(canonical []byte) (*action.Action, Words, error) {
	a, err := action.ParseAction(canonical)
	if err != nil {
		return nil, Words{}, err
	}
	w := Words{Rule: string(a.Rule)}
	switch {
	case a.Rule.OfKey():
		err = w.key(a)
	case a.Rule.OfCeremony():
		err = w.ceremony(a)
	case a.Rule == action.RuleAssembly:
		err = w.assembly(&a.Assembly)
	default:
		err = w.governance(a)
	}
	return a, w, err
}

func (w *Words) say(object, format string, args ...any) {
	w.Object, w.Says = object, fmt.Sprintf(format, args...)
}

// add keeps a value on its line: a name with a line break could pose as
// something else.
func (w *Words) add(name, format string, args ...any) {
	value := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, fmt.Sprintf(format, args...))
	w.Details = append(w.Details, Detail{name, value})
}

func (w *Words) key(a *action.Action) error {
	object := fmt.Sprintf("key 0x%x", a.PublicKey)
	switch a.Rule {
	case action.RuleExit, action.RuleDeposit:
		return w.duty(a, object)
	case action.RuleSettings:
		w.settings(object, a.Settings)
	case action.RuleArchive:
		w.say(object, "Stop the key for good. It never signs again; its history is kept.")
	case action.RuleFreeze:
		w.say(object, "Freeze the key until %s. It signs nothing before, and comes back by itself.", moment(a.Until))
	case action.RuleUnfreeze:
		w.say(object, "Unfreeze the key. It signs again at once.")
	}
	w.add("key", "0x%x", a.PublicKey)
	return nil
}

// settings names the fields that change, and no others.
func (w *Words) settings(object string, c action.SettingsChange) {
	w.say(object, "Change what the proposals and registrations of the key have to say.")
	const open = "left to the validator client again"
	if s := c.Set; s.FeeRecipient != nil {
		w.add("fee recipient", "0x%x", *s.FeeRecipient)
	} else if c.Open&action.FieldFeeRecipient != 0 {
		w.add("fee recipient", open)
	}
	if s := c.Set; s.GasLimit != nil {
		w.add("gas limit", "%d", *s.GasLimit)
	} else if c.Open&action.FieldGasLimit != 0 {
		w.add("gas limit", open)
	}
	if s := c.Set; s.Graffiti != nil {
		w.add("graffiti", "%q", *s.Graffiti)
	} else if c.Open&action.FieldGraffiti != 0 {
		w.add("graffiti", open)
	}
}

func (w *Words) duty(a *action.Action, object string) error {
	d, err := eth.DecodeDuty(a.Duty)
	if err != nil {
		return err
	}
	switch m := d.Message.(type) {
	case *eth.VoluntaryExit:
		if a.Rule == action.RuleExit {
			w.say(object, "Sign a voluntary exit of validator %d, valid from epoch %d on. Once it is published the validator stops for good.", m.ValidatorIndex, m.Epoch)
			w.add("key", "0x%x", a.PublicKey)
			w.add("fork", "version 0x%x, genesis validators root 0x%x", d.Fork.CurrentVersion, d.Fork.GenesisValidatorsRoot)
			return nil
		}
	case *eth.Deposit:
		if a.Rule == action.RuleDeposit {
			w.say(object, "Sign a deposit of %d gwei (%d ETH, rounded down).", m.Amount, m.Amount/1e9)
			w.add("key", "0x%x", a.PublicKey)
			w.add("withdrawal credentials", "0x%x", m.WithdrawalCredentials)
			w.add("genesis fork version", "0x%x", m.GenesisForkVersion)
			return nil
		}
	}
	return fmt.Errorf("read action: a duty of kind %s does not belong to %s", d.Kind(), a.Rule)
}

func (w *Words) ceremony(a *action.Action) error {
	p, err := dkg.ParseParams(a.Ceremony.Params)
	if err != nil {
		return err
	}
	id := p.ID()
	object := "ceremony " + hex.EncodeToString(id[:])
	if p.FromAssembly() {
		w.handover(a, p)
		return nil
	}
	what := map[action.Rule]string{action.RuleKeygen: "Make", action.RuleImport: "Deal, from whoever holds them whole,",
		action.RuleRefresh: "Make new shares of", action.RuleReshare: "Deal to other holders the shares of"}[a.Rule]
	keys := "1 key"
	if p.Keys != 1 {
		keys = fmt.Sprintf("%d keys", p.Keys)
	}
	if p.Use == action.UseBeacon {
		keys = "the key of a randomness beacon, which signs nothing else"
	}
	w.say(object, "%s %s: any %d of %d holders sign, fewer know nothing.", what, keys, p.T, p.Members().Len())
	w.add("ceremony", "%x", id)
	w.add("mode", "%s", p.Mode)
	if p.Mode.Renews() {
		w.add("keys", "%d, in epoch %d so far; the root of their commitments is %x", p.Keys, p.Old.Epoch, p.Expected)
		w.add("seats that deal", "%s", p.Old.Dealers)
		w.add("seats that hold shares afterwards", "%s", p.Members())
	}
	w.add("suite", "%s", suiteName(p.Suite))
	w.add("hybrid", "%t", p.Hybrid)
	w.add("purpose", "%s", a.Ceremony.Purpose)
	w.add("each phase takes", "at most %s", span(p.Deadlines.Deal))
	return nil
}

func (w *Words) handover(a *action.Action, p dkg.Params) {
	w.say(fmt.Sprintf("key 0x%x", a.PublicKey),
		"Have the participants of a ceremony hand their key over to nodes: any %d of %d nodes sign with it, validators' duties too, fewer know nothing. Any %d of the %d participants sign as well until more than %d of them have destroyed their shares.",
		p.T, p.Members().Len(), p.Old.T, p.Old.N, p.Old.N-p.Old.T)
	w.add("key", "0x%x", a.PublicKey)
	w.add("ceremony", "%x", p.ID())
	w.add("their ceremony", "%x", p.Old.Assembly)
	w.add("root of their points", "%x", p.Expected)
	w.add("seats that hold shares afterwards", "%s", p.Members())
	w.add("hybrid", "%t", p.Hybrid)
	w.add("purpose", "%s", a.Ceremony.Purpose)
	w.add("participants deal for", "at most %s", span(p.Deadlines.Deal))
	if p.Hybrid {
		w.add("those accused answer for", "at most %s", span(p.Deadlines.Answer))
	}
	w.add("each other phase takes", "at most %s", span(p.Deadlines.Verify))
}

func (w *Words) assembly(a *action.Assembly) error {
	p, err := assembly.ParseParams(a.Params)
	if err != nil {
		return err
	}
	id := p.ID()
	what := "Make 1 key"
	if p.Exercise {
		what = "Rehearse with a key that counts for nothing"
	}
	w.say("ceremony "+hex.EncodeToString(id[:]), "%s among participants that are not nodes: any %d of %d of them sign, fewer know nothing, and no node has a share.", what, p.T, p.N)
	w.add("ceremony", "%x", id)
	dealers := fmt.Sprintf("%d of each of %d cohorts, drawn", p.Dealers, p.Cohorts)
	if p.Dealers == 0 {
		dealers = "all participants"
	}
	w.add("who deals", "%s", dealers)
	w.add("list of participants", "%x", a.Seats)
	w.add("their identity keys", "%x", p.Roster)
	w.add("hybrid", "%t", p.Hybrid)
	w.add("purpose", "%s", a.Purpose)
	w.add("oldest software", "%s", cmp.Or(a.Software, "any"))
	d := p.Deadlines
	for _, phase := range []struct {
		name string
		ms   uint32
	}{{"joining", d.Join}, {"dealing", d.Deal}, {"verifying", d.Verify}, {"answering", d.Answer}, {"replaying", d.Replay}, {"publishing", d.Replay}, {"confirming", d.Confirm}} {
		w.add(phase.name+" takes", "at most %s", span(phase.ms))
	}
	return nil
}

func (w *Words) governance(a *action.Action) error {
	switch a.Rule {
	case action.RuleEnrol:
		w.say("member "+a.Member.ID, "Enrol %s.", a.Member.ID)
		w.member(a.Member)
	case action.RuleUpdate:
		w.say("member "+a.Member.ID, "Replace the record of %s by this one.", a.Member.ID)
		w.member(a.Member)
	case action.RuleRemove:
		w.say("member "+a.Name, "Remove %s. No approval of theirs counts any more, nor one already given to what still waits.", a.Name)
	case action.RuleSuspend:
		w.say("member "+a.Name, "Suspend %s until %s. Until then they may ask, approve and veto nothing.", a.Name, moment(a.Until))
	case action.RuleReinstate:
		w.say("member "+a.Name, "End the suspension of %s.", a.Name)
	case action.RulePolicy:
		return w.policy(a.Document)
	case action.RuleHistory:
		w.say(fmt.Sprintf("history %x", a.History.Hash), "Have all holders take over a slashing history of %d keys from elsewhere. It only ever raises what they refuse to sign.", a.History.Keys)
		w.add("hash of the document", "%x", a.History.Hash)
	case action.RuleTimerSet:
		return w.timer(&a.Timer)
	case action.RuleTimerCancel:
		w.say("timer "+a.Name, "Cancel the timer %s.", a.Name)
	default:
		return fmt.Errorf("read action: nothing here knows %s (hint: use a newer quorate)", a.Rule)
	}
	return nil
}

func (w *Words) member(m *action.MemberRecord) {
	kind := "a human"
	if m.Workload {
		kind = "a workload, which may ask and never approves"
	}
	w.add("name", "%s", m.Name)
	w.add("is", "%s", kind)
	w.add("operator", "%s", m.Operator)
	w.add("region", "%s", m.Region)
	w.add("roles", "%s", orNone(m.Roles))
	w.add("backups", "%s", orNone(m.Backups))
	for _, k := range m.Keys {
		w.add("credential", "%s 0x%x", k.Suite(), k.Bytes())
	}
}

func (w *Words) policy(doc []byte) error {
	p, err := policy.Compile(doc)
	if err != nil {
		return err
	}
	version := p.Hash()
	name := ""
	if p.Name() != "" {
		name = fmt.Sprintf(" %q", p.Name())
	}
	w.say("policy", "Put the policy%s in force. It decides who may do what, and who has to agree, from then on.", name)
	w.add("version", "%x", version)
	w.Details = append(w.Details, Detail{"means", p.Describe()})
	return nil
}

func (w *Words) timer(t *action.Timer) error {
	_, inner, err := ReadAction(t.Action)
	if err != nil {
		return err
	}
	often := "once"
	if t.Every != 0 {
		often = "every " + (time.Duration(t.Every) * time.Millisecond).String()
	}
	w.say("timer "+t.Name, "From %s on, %s, have the timer %s ask for: %s %s", moment(t.First), often, t.Name, inner.Rule, inner.Says)
	w.Details = inner.Details
	return nil
}

func moment(ms uint64) string { return blockTime(ms).Format("2006-01-02 15:04:05 UTC") }

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// Briefly is a duration without the zeros behind it.
func Briefly(d time.Duration) string {
	text := d.String()
	if rest, ok := strings.CutSuffix(text, "m0s"); ok {
		text = rest + "m"
	}
	if rest, ok := strings.CutSuffix(text, "h0m"); ok {
		text = rest + "h"
	}
	return text
}

// span is a time that an action has in milliseconds.
func span(ms uint32) string { return Briefly(time.Duration(ms) * time.Millisecond) }
