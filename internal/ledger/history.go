package ledger

import "fmt"

// Event returns entry number i of the audit log, nil when the log is shorter
// or the entry's body was erased.
func (s *State) Event(i uint64) *Event {
	raw := s.getBody(EventPath(i))
	if raw == nil {
		return nil
	}
	return mustParse(ParseEvent(raw))
}

// EventKinds returns what events are called.
func EventKinds() (all []string) {
	for _, name := range eventNames() {
		if name != "" {
			all = append(all, name)
		}
	}
	return all
}

func eventNames() []string {
	return []string{
		EventGenesis: "genesis", EventCeremonyOpened: "ceremony opened", EventCeremonyStep: "ceremony step", EventCeremonyFault: "ceremony fault",
		EventCeremonyDone: "ceremony done", EventCeremonyAborted: "ceremony aborted", EventKeyCreated: "key created", EventKeySettings: "key settings",
		EventKeyArchived: "key archived", EventGranted: "granted", EventDenied: "denied", EventUsage: "usage",
		EventIncident: "incident", EventIncarnation: "incarnation", EventKeyRenewed: "key renewed", EventStopped: "holder stopped",
		EventBeacon: "beacon", EventBeaconMissed: "beacon missed",
		EventRequested: "requested", EventApproved: "approved", EventVetoed: "vetoed", EventCancelled: "cancelled", EventExpired: "expired",
		EventEscalated: "escalated", EventLocked: "time lock", EventExecuted: "executed", EventFailed: "failed",
		EventMember: "member", EventPolicy: "policy", EventKeyFrozen: "key frozen", EventKeyUnfrozen: "key unfrozen", EventTimer: "timer",
		EventRotation: "rotation", EventErased: "erased",
	}
}

func (k EventKind) String() string {
	names := eventNames()
	if int(k) < len(names) && names[k] != "" {
		return names[k]
	}
	return fmt.Sprintf("event %d", uint16(k))
}
