package eth

// Message is what one kind of duty signs, with what its domain needs besides.
// The concrete types are in this file; nobody else can add one.
type Message interface {
	Container
	// Kind returns the kind of message.
	Kind() Kind
	// signed is the container whose root is signed.
	signed() Container
	// domain is the signature domain; f is zero where the kind has no use for it.
	domain(n *Network, f *ForkInfo) Root
}

// Domain types of the consensus-specs and builder-specs.
var (
	domainBeaconProposer              = [4]byte{0x00, 0, 0, 0}
	domainBeaconAttester              = [4]byte{0x01, 0, 0, 0}
	domainRandao                      = [4]byte{0x02, 0, 0, 0}
	domainDeposit                     = [4]byte{0x03, 0, 0, 0}
	domainVoluntaryExit               = [4]byte{0x04, 0, 0, 0}
	domainSelectionProof              = [4]byte{0x05, 0, 0, 0}
	domainAggregateAndProof           = [4]byte{0x06, 0, 0, 0}
	domainSyncCommittee               = [4]byte{0x07, 0, 0, 0}
	domainSyncCommitteeSelectionProof = [4]byte{0x08, 0, 0, 0}
	domainContributionAndProof        = [4]byte{0x09, 0, 0, 0}
	domainBeaconBuilder               = [4]byte{0x0b, 0, 0, 0}
	domainPTCAttester                 = [4]byte{0x0c, 0, 0, 0}
	domainProposerPreferences         = [4]byte{0x0d, 0, 0, 0}
	domainApplicationBuilder          = [4]byte{0x00, 0, 0, 1}
	domainBuilderRequestAuth          = [4]byte{0x0b, 0, 0, 1}
)

func (h *BeaconBlockHeader) Kind() Kind        { return KindBlock }
func (h *BeaconBlockHeader) signed() Container { return h }
func (h *BeaconBlockHeader) domain(n *Network, f *ForkInfo) Root {
	return f.domain(domainBeaconProposer, n.EpochOf(h.Slot))
}

func (a *AttestationData) Kind() Kind        { return KindAttestation }
func (a *AttestationData) signed() Container { return a }
func (a *AttestationData) domain(_ *Network, f *ForkInfo) Root {
	return f.domain(domainBeaconAttester, a.Target.Epoch)
}

// AggregateAndProof publishes an aggregate. Aggregate.Form must be set before
// it is read.
type AggregateAndProof struct {
	AggregatorIndex uint64
	Aggregate       Attestation
	SelectionProof  BLSSignature
}

func (a *AggregateAndProof) Visit(v Visitor) {
	v.Uint64("aggregator_index", &a.AggregatorIndex)
	v.Container("aggregate", &a.Aggregate)
	v.Bytes("selection_proof", a.SelectionProof[:])
}

func (a *AggregateAndProof) Kind() Kind        { return KindAggregateAndProof }
func (a *AggregateAndProof) signed() Container { return a }
func (a *AggregateAndProof) domain(n *Network, f *ForkInfo) Root {
	return f.domain(domainAggregateAndProof, n.EpochOf(a.Aggregate.Data.Slot))
}

// AggregationSlot proves that an aggregator was selected. What is signed is
// the slot, whose root is that of the container.
type AggregationSlot struct{ Slot uint64 }

func (a *AggregationSlot) Visit(v Visitor)   { v.Uint64("slot", &a.Slot) }
func (a *AggregationSlot) Kind() Kind        { return KindAggregationSlot }
func (a *AggregationSlot) signed() Container { return a }
func (a *AggregationSlot) domain(n *Network, f *ForkInfo) Root {
	return f.domain(domainSelectionProof, n.EpochOf(a.Slot))
}

// RandaoReveal is a proposer's contribution to randomness. What is signed is
// the epoch, whose root is that of the container.
type RandaoReveal struct{ Epoch uint64 }

func (r *RandaoReveal) Visit(v Visitor)   { v.Uint64("epoch", &r.Epoch) }
func (r *RandaoReveal) Kind() Kind        { return KindRandaoReveal }
func (r *RandaoReveal) signed() Container { return r }
func (r *RandaoReveal) domain(_ *Network, f *ForkInfo) Root {
	return f.domain(domainRandao, r.Epoch)
}

// SyncCommitteeMessage votes for a head. What is signed is the block root; the
// slot decides the domain only.
type SyncCommitteeMessage struct {
	BeaconBlockRoot Root
	Slot            uint64
}

func (s *SyncCommitteeMessage) Visit(v Visitor) {
	v.Bytes("beacon_block_root", s.BeaconBlockRoot[:])
	v.Uint64("slot", &s.Slot)
}

func (s *SyncCommitteeMessage) Kind() Kind { return KindSyncCommitteeMessage }
func (s *SyncCommitteeMessage) signed() Container {
	return only(func(v Visitor) { v.Bytes("beacon_block_root", s.BeaconBlockRoot[:]) })
}
func (s *SyncCommitteeMessage) domain(n *Network, f *ForkInfo) Root {
	return f.domain(domainSyncCommittee, n.EpochOf(s.Slot))
}

// SyncAggregatorSelectionData proves that a sync aggregator was selected.
type SyncAggregatorSelectionData struct {
	Slot              uint64
	SubcommitteeIndex uint64
}

func (s *SyncAggregatorSelectionData) Visit(v Visitor) {
	v.Uint64("slot", &s.Slot)
	v.Uint64("subcommittee_index", &s.SubcommitteeIndex)
}

func (s *SyncAggregatorSelectionData) Kind() Kind        { return KindSyncCommitteeSelectionProof }
func (s *SyncAggregatorSelectionData) signed() Container { return s }
func (s *SyncAggregatorSelectionData) domain(n *Network, f *ForkInfo) Root {
	return f.domain(domainSyncCommitteeSelectionProof, n.EpochOf(s.Slot))
}

// ContributionAndProof publishes a sync contribution.
type ContributionAndProof struct {
	AggregatorIndex uint64
	Contribution    SyncCommitteeContribution
	SelectionProof  BLSSignature
}

func (c *ContributionAndProof) Visit(v Visitor) {
	v.Uint64("aggregator_index", &c.AggregatorIndex)
	v.Container("contribution", &c.Contribution)
	v.Bytes("selection_proof", c.SelectionProof[:])
}

func (c *ContributionAndProof) Kind() Kind        { return KindContributionAndProof }
func (c *ContributionAndProof) signed() Container { return c }
func (c *ContributionAndProof) domain(n *Network, f *ForkInfo) Root {
	return f.domain(domainContributionAndProof, n.EpochOf(c.Contribution.Slot))
}

// VoluntaryExit ends a validator's service for good.
type VoluntaryExit struct {
	Epoch          uint64
	ValidatorIndex uint64
}

func (x *VoluntaryExit) Visit(v Visitor) {
	v.Uint64("epoch", &x.Epoch)
	v.Uint64("validator_index", &x.ValidatorIndex)
}

func (x *VoluntaryExit) Kind() Kind        { return KindVoluntaryExit }
func (x *VoluntaryExit) signed() Container { return x }

// domain follows EIP-7044: from Deneb on a beacon node verifies every exit
// under Capella's version. It is Deneb when the exit's epoch or the client's
// current fork says so: an exit of an earlier epoch signed today is verified
// by today's rule.
func (x *VoluntaryExit) domain(n *Network, f *ForkInfo) Root {
	current, known := n.ForkOf(f.CurrentVersion)
	if x.Epoch >= n.Forks[Deneb].Epoch && n.Forks[Deneb].Epoch != FarFutureEpoch || known && current >= Deneb {
		return computeDomain(domainVoluntaryExit, n.Forks[Capella].Version, f.GenesisValidatorsRoot)
	}
	return f.domain(domainVoluntaryExit, x.Epoch)
}

// Deposit makes a validator. The fork version is the request's: deposits are
// also made for other networks.
type Deposit struct {
	DepositMessage
	GenesisForkVersion Version
}

func (d *Deposit) Visit(v Visitor) {
	d.DepositMessage.Visit(v)
	v.Bytes("genesis_fork_version", d.GenesisForkVersion[:])
}

func (d *Deposit) Kind() Kind        { return KindDeposit }
func (d *Deposit) signed() Container { return &d.DepositMessage }
func (d *Deposit) domain(*Network, *ForkInfo) Root {
	return computeDomain(domainDeposit, d.GenesisForkVersion, Root{})
}

// ValidatorRegistration tells builders whom to pay (builder-specs).
type ValidatorRegistration struct {
	FeeRecipient ExecutionAddress
	GasLimit     uint64
	Timestamp    uint64
	Pubkey       BLSPubkey
}

func (r *ValidatorRegistration) Visit(v Visitor) {
	v.Bytes("fee_recipient", r.FeeRecipient[:])
	v.Uint64("gas_limit", &r.GasLimit)
	v.Uint64("timestamp", &r.Timestamp)
	v.Bytes("pubkey", r.Pubkey[:])
}

func (r *ValidatorRegistration) Kind() Kind        { return KindValidatorRegistration }
func (r *ValidatorRegistration) signed() Container { return r }
func (r *ValidatorRegistration) domain(n *Network, _ *ForkInfo) Root {
	return computeDomain(domainApplicationBuilder, n.Forks[Phase0].Version, Root{})
}
