package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quorate/quorate/internal/action"
)

// A Verb is what somebody does with an action.
type Verb string

const (
	Request Verb = "request" // ask for it
	Approve Verb = "approve" // agree to a request
	Veto    Verb = "veto"    // end a request for good
	Execute Verb = "execute" // carry out what was granted
)

// Verbs returns every verb.
func Verbs() []Verb { return []Verb{Request, Approve, Veto, Execute} }

// actionNames are all kinds of action that a policy can speak of. What is not
// here nobody may do, so that a misspelt name shows when a policy is written.
var actionNames = [...]string{
	"ceremony.assembly", "ceremony.handover", "ceremony.import", "ceremony.keygen", "ceremony.refresh", "ceremony.reshare",
	"key.archive", "key.freeze", "key.history", "key.settings", "key.unfreeze",
	"member.enrol", "member.reinstate", "member.remove", "member.suspend", "member.update",
	"policy.change",
	"secret.delete", "secret.get", "secret.put", "secret.rotate",
	"sign.deposit", "sign.voluntary_exit",
	"timer.cancel", "timer.set",
}

// Actions returns the names of all actions, sorted.
func Actions() []string { return slices.Clone(actionNames[:]) }

// family is what stands before the dot.
func family(name string) string {
	f, _, _ := strings.Cut(name, ".")
	return f
}

// covers says whether a pattern of a tier (sign.voluntary_exit, sign.*, *) covers an action.
func covers(pattern, name string) bool {
	return pattern == "*" || pattern == name || pattern == family(name)+".*"
}

func checkPattern(pattern string) string {
	for _, a := range actionNames {
		if covers(pattern, a) {
			return ""
		}
	}
	return fmt.Sprintf("no action is named %q: %s", pattern, didYouMean(pattern, actionPatterns()))
}

func actionPatterns() []string {
	var out []string
	for _, a := range actionNames {
		if f := family(a) + ".*"; !slices.Contains(out, f) {
			out = append(out, f)
		}
		out = append(out, a)
	}
	return out
}

// Kinds of principals and resources, with the names that Cedar statements
// use. They share none, so that no one is taken for the thing he acts on.
var (
	principalKinds = map[string]string{"human": "Human", "workload": "Workload", "node": "Node", "timer": "Clock"}
	resourceKinds  = map[string]string{"key": "Key", "member": "Member", "policy": "Policy", "ceremony": "Ceremony",
		"cluster": "Cluster", "timer": "Timer", "secret": "Secret"}
	principalTypes = []string{"Human", "Workload", "Node", "Clock"}
	resourceTypes  = []string{"Key", "Member", "Policy", "Ceremony", "Cluster", "Timer", "Secret"}
	memberRoles    = []string{action.RoleCustodian, action.RoleApprover, action.RoleObserver, action.RoleAuditor}
)

func checkRole(r string) string {
	if slices.Contains(memberRoles, r) {
		return ""
	}
	return fmt.Sprintf("no role is named %q: %s", r, didYouMean(r, memberRoles))
}
