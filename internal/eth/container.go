package eth

// Constants that are the same in both presets.
const (
	maxValidatorsPerCommittee = 2048
	maxProposerSlashings      = 16
	maxAttesterSlashings      = 2
	maxAttestations           = 128
	maxDeposits               = 16
	maxVoluntaryExits         = 16
	depositContractTreeDepth  = 32
	syncCommitteeSubnetCount  = 4
)

// Names of byte vectors, as in the specifications.
type (
	Version          [4]byte
	ExecutionAddress [20]byte
	BLSPubkey        [48]byte
	BLSSignature     [96]byte
)

// Checkpoint is an epoch and the root of its first block.
type Checkpoint struct {
	Epoch uint64
	Root  Root
}

func (c *Checkpoint) Visit(v Visitor) {
	v.Uint64("epoch", &c.Epoch)
	v.Bytes("root", c.Root[:])
}

// AttestationData is what an attester signs. From Gloas on Index says whether
// the payload was there, so it may be 1.
type AttestationData struct {
	Slot            uint64
	Index           uint64
	BeaconBlockRoot Root
	Source          Checkpoint
	Target          Checkpoint
}

func (a *AttestationData) Visit(v Visitor) {
	v.Uint64("slot", &a.Slot)
	v.Uint64("index", &a.Index)
	v.Bytes("beacon_block_root", a.BeaconBlockRoot[:])
	v.Container("source", &a.Source)
	v.Container("target", &a.Target)
}

// AttestationForm says which definition an Attestation follows.
type AttestationForm uint8

// Forms of an Attestation. The numbers stand in encoded duties.
const (
	AttestationPhase0  AttestationForm = iota // phase0 to Deneb
	AttestationElectra                        // EIP-7549: committee_bits
	AttestationGloas                          // EIP-7688: the same fields, progressive
	attestationForms
)

// Attestation is an aggregate. Form must be set before it is read.
type Attestation struct {
	Form            AttestationForm
	AggregationBits []byte // a bitlist
	Data            AttestationData
	Signature       BLSSignature
	CommitteeBits   []byte // from Electra on
}

func (a *Attestation) Visit(v Visitor) {
	limit := atMost(maxValidatorsPerCommittee)
	if a.Form != AttestationPhase0 {
		limit.N *= v.Preset().MaxCommitteesPerSlot
	}
	if a.Form == AttestationGloas {
		v.Progressive()
		limit.Progressive = true
	}
	v.Bitlist("aggregation_bits", &a.AggregationBits, limit)
	v.Container("data", &a.Data)
	v.Bytes("signature", a.Signature[:])
	if a.Form != AttestationPhase0 {
		v.Bitvector("committee_bits", &a.CommitteeBits, v.Preset().MaxCommitteesPerSlot)
	}
}

// BeaconBlockHeader stands for the block of the same root.
type BeaconBlockHeader struct {
	Slot          uint64
	ProposerIndex uint64
	ParentRoot    Root
	StateRoot     Root
	BodyRoot      Root
}

func (h *BeaconBlockHeader) Visit(v Visitor) {
	v.Uint64("slot", &h.Slot)
	v.Uint64("proposer_index", &h.ProposerIndex)
	v.Bytes("parent_root", h.ParentRoot[:])
	v.Bytes("state_root", h.StateRoot[:])
	v.Bytes("body_root", h.BodyRoot[:])
}

// SyncCommitteeContribution aggregates the votes of one subcommittee.
type SyncCommitteeContribution struct {
	Slot              uint64
	BeaconBlockRoot   Root
	SubcommitteeIndex uint64
	AggregationBits   []byte
	Signature         BLSSignature
}

func (c *SyncCommitteeContribution) Visit(v Visitor) {
	v.Uint64("slot", &c.Slot)
	v.Bytes("beacon_block_root", c.BeaconBlockRoot[:])
	v.Uint64("subcommittee_index", &c.SubcommitteeIndex)
	v.Bitvector("aggregation_bits", &c.AggregationBits, v.Preset().SyncCommitteeSize/syncCommitteeSubnetCount)
	v.Bytes("signature", c.Signature[:])
}

// DepositMessage is what a deposit's signature covers.
type DepositMessage struct {
	Pubkey                BLSPubkey
	WithdrawalCredentials Root
	Amount                uint64
}

func (d *DepositMessage) Visit(v Visitor) {
	v.Bytes("pubkey", d.Pubkey[:])
	v.Bytes("withdrawal_credentials", d.WithdrawalCredentials[:])
	v.Uint64("amount", &d.Amount)
}
