package slashing

// Strategy is what EIP-3076 calls the way in which a record remembers.
const Strategy = "minimal"

// Root is a signing root, or a genesis validators root.
type Root [32]byte

// Key names a validator: its compressed BLS public key.
type Key = [48]byte

// Facts are what the decision needs to know of a duty: a [Block], an
// [Attestation] or an [Other].
type Facts interface {
	// usage is the kind under which the duty is counted.
	usage() string
}

// Block is a proposal.
type Block struct {
	Slot uint64
	Root Root
}

// Attestation is a vote.
type Attestation struct {
	Source, Target uint64
	Root           Root
}

// Other is a duty that cannot be slashed. It is only written down.
type Other struct {
	Kind string // the message type, for the usage counts
	Root Root
}

const (
	usageBlock       = "BLOCK"
	usageAttestation = "ATTESTATION"
	maxKind          = 48 // bytes of Other.Kind
)

func (Block) usage() string       { return usageBlock }
func (Attestation) usage() string { return usageAttestation }
func (o Other) usage() string     { return o.Kind }

// Bounds is the highest slot and target epoch that make sense now. It keeps a
// single bad request from burning a key's future. The zero value lets
// nothing pass but slot and epoch 0.
type Bounds struct{ MaxSlot, MaxTarget uint64 }

// Floor states that nothing above it was signed: at or below Slot and Target
// nothing is signed any more. As with the watermark, a source epoch may equal
// Source: a vote with a higher target surrounds an older one only from below
// its source.
type Floor struct{ Slot, Source, Target uint64 }

func (f Floor) max(o Floor) Floor {
	return Floor{max(f.Slot, o.Slot), max(f.Source, o.Source), max(f.Target, o.Target)}
}

func (f Floor) min(o Floor) Floor {
	return Floor{min(f.Slot, o.Slot), min(f.Source, o.Source), min(f.Target, o.Target)}
}

// below reports whether a duty is not above the floor.
func (f Floor) below(facts Facts) bool {
	switch d := facts.(type) {
	case Block:
		return d.Slot <= f.Slot
	case Attestation:
		return d.Target <= f.Target || d.Source < f.Source
	}
	return false
}

// Fence is a set of reasons to sign nothing slashable with a key. Each reason
// goes only by what answers it.
type Fence uint8

const (
	// FenceTornTail: the last records were lost at a restart. A floor above
	// everything that they may have said lifts it.
	FenceTornTail Fence = 1 << iota
	// FenceNoHistory: the key was signed with elsewhere and nobody has said
	// what. An import of its history, with a vote in it, lifts it, or a floor
	// for this very key.
	FenceNoHistory

	fenceAll = FenceTornTail | FenceNoHistory
)

func (f Fence) String() string {
	switch f {
	case 0:
		return "none"
	case FenceTornTail:
		return "the last signing records were lost"
	case FenceNoHistory:
		return "the key came without its signing history"
	}
	return "the last signing records were lost, and the key came without its signing history"
}

// Rule names why a duty was refused. The values are stable: clients and
// dashboards match on them.
type Rule string

const (
	RuleUnknownKey        Rule = "unknown-key"
	RuleStoppedKey        Rule = "stopped-key"
	RuleMalformed         Rule = "malformed"
	RuleGenesis           Rule = "other-genesis"
	RuleFenced            Rule = "fenced"
	RuleSlotBound         Rule = "slot-out-of-range"
	RuleTargetBound       Rule = "target-out-of-range"
	RuleSourceAfterTarget Rule = "source-after-target"
	RuleFloor             Rule = "below-floor"
	RuleBlock             Rule = "block-not-above-last"
	RuleDoubleVote        Rule = "target-not-above-last"
	RuleSurround          Rule = "source-below-last"
)

// Decision is the answer about one duty. The zero value refuses.
type Decision struct {
	Allowed bool
	Rule    Rule // why not
}

func allow() Decision           { return Decision{Allowed: true} }
func refuse(rule Rule) Decision { return Decision{Rule: rule} }

// Watermarks is the history of a key.
type Watermarks struct {
	Block BlockMark
	Vote  VoteMark
}

// BlockMark is the highest block. Ours says that this record allowed that
// very block, so that it may be signed again; a mark from an import is not.
type BlockMark struct {
	Known bool
	Ours  bool
	Slot  uint64
	Root  Root // if Ours
}

// VoteMark is the highest source and the highest target. If Ours, they are
// those of one attestation that this record allowed.
type VoteMark struct {
	Known          bool
	Ours           bool
	Source, Target uint64
	Root           Root // if Ours
}

// check decides by the history alone.
func (w Watermarks) check(f Facts) Decision {
	switch f := f.(type) {
	case Block:
		m := w.Block
		switch {
		case !m.Known, f.Slot > m.Slot:
			return allow()
		case m.Ours && f == (Block{m.Slot, m.Root}):
			return allow()
		}
		return refuse(RuleBlock)
	case Attestation:
		m := w.Vote
		switch {
		case f.Source > f.Target:
			return refuse(RuleSourceAfterTarget)
		case !m.Known:
			return allow()
		case m.Ours && f == (Attestation{m.Source, m.Target, m.Root}):
			return allow()
		case f.Target <= m.Target:
			return refuse(RuleDoubleVote)
		case f.Source < m.Source:
			return refuse(RuleSurround)
		}
		return allow()
	case Other:
		return allow()
	}
	return refuse(RuleMalformed)
}

// advance adds a duty that was allowed. Whatever it is given, no mark goes
// down.
func (w Watermarks) advance(f Facts) Watermarks {
	switch f := f.(type) {
	case Block:
		if !w.Block.Known || f.Slot > w.Block.Slot {
			w.Block = BlockMark{Known: true, Ours: true, Slot: f.Slot, Root: f.Root}
		}
	case Attestation:
		if m := w.Vote; !m.Known || f.Target > m.Target && f.Source >= m.Source {
			w.Vote = VoteMark{Known: true, Ours: true, Source: f.Source, Target: f.Target, Root: f.Root}
		}
	}
	return w
}

// raise adds history from elsewhere. A mark that it reaches is ours no longer:
// who knows which message stands behind it.
func (w Watermarks) raise(o Watermarks) Watermarks {
	if b := o.Block; b.Known && (!w.Block.Known || b.Slot >= w.Block.Slot) {
		w.Block = BlockMark{Known: true, Slot: b.Slot}
	}
	if v := o.Vote; v.Known && (!w.Vote.Known || v.Target >= w.Vote.Target || v.Source > w.Vote.Source) {
		w.Vote = VoteMark{
			Known:  true,
			Source: max(v.Source, w.Vote.Source),
			Target: max(v.Target, w.Vote.Target),
		}
	}
	return w
}

// Status is all that bears on a key's duties.
type Status struct {
	Registered bool // may sign, unless stopped or fenced
	Stopped    bool // deleted; its history stays
	Imported   bool // history came from elsewhere since it was last stopped
	Fence      Fence
	Floored    bool // Floor holds
	Floor      Floor
	Succeeds   bool  // Others holds
	Others     Floor // above what holders before this one signed, as far as it is known
	Watermarks
}

// Reached returns a floor above all that this record's owner signed with the
// key, false while a fence says that it cannot know. What holders before it
// signed is not its own.
func (s Status) Reached() (f Floor, ok bool) {
	f = Floor{Slot: s.Block.Slot, Source: s.Vote.Source, Target: s.Vote.Target}
	if s.Floored {
		f = f.max(s.Floor)
	}
	return f, s.Registered && s.Fence == 0
}

// step decides about one duty and returns the status after it. It is pure:
// everything else in this package brings duties to it and its results to disk.
func step(s Status, f Facts, b Bounds) (Status, Decision) {
	d := s.admit(f, b)
	if d.Allowed {
		s = s.signed(f)
	}
	return s, d
}

// signed returns the status after a duty that was allowed.
func (s Status) signed(f Facts) Status {
	s.Watermarks = s.advance(f)
	return s
}

// admit decides by everything that is known of a key.
func (s Status) admit(f Facts, b Bounds) Decision {
	switch {
	case !s.Registered:
		return refuse(RuleUnknownKey)
	case s.Stopped:
		return refuse(RuleStoppedKey)
	}
	switch f := f.(type) {
	case Block:
		switch {
		case f.Slot > b.MaxSlot:
			return refuse(RuleSlotBound)
		case s.Fence != 0:
			return refuse(RuleFenced)
		case s.floored(f):
			return refuse(RuleFloor)
		}
	case Attestation:
		switch {
		case f.Target > b.MaxTarget:
			return refuse(RuleTargetBound)
		case s.Fence != 0:
			return refuse(RuleFenced)
		case s.floored(f):
			return refuse(RuleFloor)
		}
	case Other:
		if f.Kind == "" || len(f.Kind) > maxKind || f.Kind == usageBlock || f.Kind == usageAttestation {
			return refuse(RuleMalformed)
		}
	}
	return s.check(f)
}

// floored reports whether a floor is not below a duty.
func (s Status) floored(f Facts) bool {
	return s.Floored && s.Floor.below(f) || s.Succeeds && s.Others.below(f)
}

// raised returns the status with a floor at least at f, without the fences
// that it answers.
func (s Status) raised(f Floor, answers Fence) Status {
	s.Floor = s.Floor.max(f)
	s.Floored = true
	s.Fence &^= answers
	return s
}

// History says what is known of a key when it is registered. The zero value
// knows nothing and fences the key.
type History struct {
	Mode  HistoryMode
	Floor Floor // with HistoryFloor and HistoryOthers
}

// HistoryMode is a choice among four.
type HistoryMode uint8

const (
	// HistoryRefuse: the key was used elsewhere. It waits for an import of
	// its history, or a floor.
	HistoryRefuse HistoryMode = iota
	// HistoryFloor: nothing above Floor was ever signed with it.
	HistoryFloor
	// HistoryNone: it was never used, as when it was just generated.
	HistoryNone
	// HistoryOthers: other holders of the same key signed nothing above Floor,
	// and may say later how far they really went.
	HistoryOthers
)

// registered returns the status after a registration. Nothing that is known
// already is forgotten: a key that comes back after a stop has its old
// watermarks, and registering an active key once more only raises.
func (s Status) registered(h History) Status {
	active := s.Registered && !s.Stopped
	s.Registered, s.Stopped = true, false
	switch {
	case h.Mode == HistoryFloor:
		return s.raised(h.Floor, fenceAll)
	case h.Mode == HistoryOthers:
		s.Succeeds, s.Others = true, s.Others.max(h.Floor)
		s.Fence = 0
	case h.Mode == HistoryRefuse && !active && !s.Imported:
		s.Fence |= FenceNoHistory
	}
	return s
}

// relaxed returns the status after others have said how far they went.
func (s Status) relaxed(f Floor) Status {
	s.Others = s.Others.min(f)
	return s
}

func (s Status) stopped() Status {
	s.Stopped = true
	s.Imported = false
	return s
}

// imported returns the status after an import. Only a history with a vote
// answers for a key that was used elsewhere: whoever validates votes once per
// epoch, so that a history without one says nothing.
func (s Status) imported(w Watermarks) Status {
	s.Watermarks = s.raise(w)
	if w.Vote.Known {
		s.Imported = true
		s.Fence &^= FenceNoHistory
	}
	return s
}
