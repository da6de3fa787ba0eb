package eth

const maxBuilderAuthDataSize = 4096 // MAX_BUILDER_AUTH_DATA_SIZE of the builder-specs

// ExecutionPayloadBid is a builder's offer, with the root of the commitments
// in place of them.
type ExecutionPayloadBid struct {
	ParentBlockHash        Root
	ParentBlockRoot        Root
	BlockHash              Root
	PrevRandao             Root
	FeeRecipient           ExecutionAddress
	GasLimit               uint64
	BuilderIndex           uint64
	Slot                   uint64
	Value                  uint64
	ExecutionPayment       uint64
	BlobKZGCommitmentsRoot Root
	ExecutionRequestsRoot  Root
}

func (b *ExecutionPayloadBid) Visit(v Visitor) {
	b.visit(v, func() { v.Bytes("blob_kzg_commitments_root", b.BlobKZGCommitmentsRoot[:]) })
}

func (b *ExecutionPayloadBid) visit(v Visitor, commitments func()) {
	v.Progressive()
	v.Bytes("parent_block_hash", b.ParentBlockHash[:])
	v.Bytes("parent_block_root", b.ParentBlockRoot[:])
	v.Bytes("block_hash", b.BlockHash[:])
	v.Bytes("prev_randao", b.PrevRandao[:])
	v.Bytes("fee_recipient", b.FeeRecipient[:])
	v.Uint64("gas_limit", &b.GasLimit)
	v.Uint64("builder_index", &b.BuilderIndex)
	v.Uint64("slot", &b.Slot)
	v.Uint64("value", &b.Value)
	v.Uint64("execution_payment", &b.ExecutionPayment)
	commitments()
	v.Bytes("execution_requests_root", b.ExecutionRequestsRoot[:])
}

func (b *ExecutionPayloadBid) Kind() Kind        { return KindExecutionPayloadBid }
func (b *ExecutionPayloadBid) signed() Container { return b }
func (b *ExecutionPayloadBid) domain(n *Network, f *ForkInfo) Root {
	return f.domain(domainBeaconBuilder, n.EpochOf(b.Slot))
}

// ExecutionPayloadEnvelope reveals a payload, by its root. Slot, which is the
// payload's slot_number, decides the domain only and is not bound to the root.
type ExecutionPayloadEnvelope struct {
	Slot uint64
	EnvelopeSummary
}

// EnvelopeSummary has the root of the ExecutionPayloadEnvelope of the
// specification.
type EnvelopeSummary struct {
	PayloadRoot           Root
	ExecutionRequestsRoot Root
	BuilderIndex          uint64
	BeaconBlockRoot       Root
	ParentBeaconBlockRoot Root
}

func (e *EnvelopeSummary) Visit(v Visitor) {
	v.Progressive()
	v.Bytes("payload_root", e.PayloadRoot[:])
	v.Bytes("execution_requests_root", e.ExecutionRequestsRoot[:])
	v.Uint64("builder_index", &e.BuilderIndex)
	v.Bytes("beacon_block_root", e.BeaconBlockRoot[:])
	v.Bytes("parent_beacon_block_root", e.ParentBeaconBlockRoot[:])
}

func (e *ExecutionPayloadEnvelope) Visit(v Visitor) {
	v.Uint64("slot", &e.Slot)
	e.EnvelopeSummary.Visit(v)
}

func (e *ExecutionPayloadEnvelope) Kind() Kind        { return KindExecutionPayloadEnvelope }
func (e *ExecutionPayloadEnvelope) signed() Container { return &e.EnvelopeSummary }
func (e *ExecutionPayloadEnvelope) domain(n *Network, f *ForkInfo) Root {
	return f.domain(domainBeaconBuilder, n.EpochOf(e.Slot))
}

// PayloadAttestationData is the vote of the payload timeliness committee.
type PayloadAttestationData struct {
	BeaconBlockRoot   Root
	Slot              uint64
	PayloadPresent    bool
	BlobDataAvailable bool
}

func (p *PayloadAttestationData) Visit(v Visitor) {
	v.Bytes("beacon_block_root", p.BeaconBlockRoot[:])
	v.Uint64("slot", &p.Slot)
	v.Bool("payload_present", &p.PayloadPresent)
	v.Bool("blob_data_available", &p.BlobDataAvailable)
}

func (p *PayloadAttestationData) Kind() Kind        { return KindPayloadAttestationMessage }
func (p *PayloadAttestationData) signed() Container { return p }
func (p *PayloadAttestationData) domain(n *Network, f *ForkInfo) Root {
	return f.domain(domainPTCAttester, n.EpochOf(p.Slot))
}

// ProposerPreferences tells builders whom to pay, from Gloas on.
type ProposerPreferences struct {
	DependentRoot  Root
	ProposalSlot   uint64
	ValidatorIndex uint64
	FeeRecipient   ExecutionAddress
	TargetGasLimit uint64
}

func (p *ProposerPreferences) Visit(v Visitor) {
	v.Bytes("dependent_root", p.DependentRoot[:])
	v.Uint64("proposal_slot", &p.ProposalSlot)
	v.Uint64("validator_index", &p.ValidatorIndex)
	v.Bytes("fee_recipient", p.FeeRecipient[:])
	v.Uint64("target_gas_limit", &p.TargetGasLimit)
}

func (p *ProposerPreferences) Kind() Kind        { return KindProposerPreferences }
func (p *ProposerPreferences) signed() Container { return p }
func (p *ProposerPreferences) domain(n *Network, f *ForkInfo) Root {
	return f.domain(domainProposerPreferences, n.EpochOf(p.ProposalSlot))
}

// BuilderRequestAuth authenticates a request to a builder (builder-specs).
type BuilderRequestAuth struct {
	Data []byte
	Slot uint64
}

func (b *BuilderRequestAuth) Visit(v Visitor) {
	v.ByteList("data", &b.Data, atMost(maxBuilderAuthDataSize))
	v.Uint64("slot", &b.Slot)
}

func (b *BuilderRequestAuth) Kind() Kind        { return KindBuilderRequestAuth }
func (b *BuilderRequestAuth) signed() Container { return b }
func (b *BuilderRequestAuth) domain(n *Network, _ *ForkInfo) Root {
	return computeDomain(domainBuilderRequestAuth, n.Forks[Phase0].Version, Root{})
}
