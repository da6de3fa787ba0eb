package eth

import "fmt"

// BeaconBlock is a block with its body, as it is still sent for PHASE0 and
// ALTAIR. It is no message: a duty holds its Header.
type BeaconBlock struct {
	Slot          uint64
	ProposerIndex uint64
	ParentRoot    Root
	StateRoot     Root
	Body          BeaconBlockBody
}

func (b *BeaconBlock) Visit(v Visitor) {
	v.Uint64("slot", &b.Slot)
	v.Uint64("proposer_index", &b.ProposerIndex)
	v.Bytes("parent_root", b.ParentRoot[:])
	v.Bytes("state_root", b.StateRoot[:])
	v.Container("body", &b.Body)
}

// Header returns the header with the root of the body, and so of the block.
func (b *BeaconBlock) Header(p Preset) (*BeaconBlockHeader, error) {
	root, err := HashTreeRoot(&b.Body, p)
	if err != nil {
		return nil, fmt.Errorf("summarise block: %w", err)
	}
	return &BeaconBlockHeader{b.Slot, b.ProposerIndex, b.ParentRoot, b.StateRoot, root}, nil
}

// BeaconBlockBody is the body of PHASE0 and, with a SyncAggregate, of ALTAIR.
type BeaconBlockBody struct {
	RandaoReveal      BLSSignature
	Eth1Data          Eth1Data
	Graffiti          Root
	ProposerSlashings []ProposerSlashing
	AttesterSlashings []AttesterSlashing
	Attestations      []Attestation
	Deposits          []DepositWithProof
	VoluntaryExits    []SignedVoluntaryExit
	SyncAggregate     *SyncAggregate // nil in PHASE0
}

func (b *BeaconBlockBody) Visit(v Visitor) {
	v.Bytes("randao_reveal", b.RandaoReveal[:])
	v.Container("eth1_data", &b.Eth1Data)
	v.Bytes("graffiti", b.Graffiti[:])
	v.List("proposer_slashings", containers(&b.ProposerSlashings), atMost(maxProposerSlashings))
	v.List("attester_slashings", containers(&b.AttesterSlashings), atMost(maxAttesterSlashings))
	v.List("attestations", containers(&b.Attestations), atMost(maxAttestations))
	v.List("deposits", containers(&b.Deposits), atMost(maxDeposits))
	v.List("voluntary_exits", containers(&b.VoluntaryExits), atMost(maxVoluntaryExits))
	if b.SyncAggregate != nil {
		v.Container("sync_aggregate", b.SyncAggregate)
	}
}

// Eth1Data is a vote for a state of the deposit contract.
type Eth1Data struct {
	DepositRoot  Root
	DepositCount uint64
	BlockHash    Root
}

func (d *Eth1Data) Visit(v Visitor) {
	v.Bytes("deposit_root", d.DepositRoot[:])
	v.Uint64("deposit_count", &d.DepositCount)
	v.Bytes("block_hash", d.BlockHash[:])
}

// SignedBeaconBlockHeader is evidence of a proposal.
type SignedBeaconBlockHeader struct {
	Message   BeaconBlockHeader
	Signature BLSSignature
}

func (h *SignedBeaconBlockHeader) Visit(v Visitor) {
	v.Container("message", &h.Message)
	v.Bytes("signature", h.Signature[:])
}

// ProposerSlashing proves two proposals for one slot.
type ProposerSlashing struct{ SignedHeader1, SignedHeader2 SignedBeaconBlockHeader }

func (s *ProposerSlashing) Visit(v Visitor) {
	v.Container("signed_header_1", &s.SignedHeader1)
	v.Container("signed_header_2", &s.SignedHeader2)
}

// IndexedAttestation is evidence of a vote.
type IndexedAttestation struct {
	AttestingIndices []uint64
	Data             AttestationData
	Signature        BLSSignature
}

func (a *IndexedAttestation) Visit(v Visitor) {
	v.Uint64s("attesting_indices", &a.AttestingIndices, atMost(maxValidatorsPerCommittee))
	v.Container("data", &a.Data)
	v.Bytes("signature", a.Signature[:])
}

// AttesterSlashing proves a double or surround vote.
type AttesterSlashing struct{ Attestation1, Attestation2 IndexedAttestation }

func (s *AttesterSlashing) Visit(v Visitor) {
	v.Container("attestation_1", &s.Attestation1)
	v.Container("attestation_2", &s.Attestation2)
}

// DepositData is a deposit as the contract logged it.
type DepositData struct {
	DepositMessage
	Signature BLSSignature
}

func (d *DepositData) Visit(v Visitor) {
	d.DepositMessage.Visit(v)
	v.Bytes("signature", d.Signature[:])
}

// DepositWithProof is the container that the specification calls Deposit.
type DepositWithProof struct {
	Proof []Root // one more than the depth, for the length
	Data  DepositData
}

func (d *DepositWithProof) Visit(v Visitor) {
	v.Vector("proof", roots(&d.Proof), depositContractTreeDepth+1)
	v.Container("data", &d.Data)
}

// SignedVoluntaryExit is an exit that somebody signed.
type SignedVoluntaryExit struct {
	Message   VoluntaryExit
	Signature BLSSignature
}

func (e *SignedVoluntaryExit) Visit(v Visitor) {
	v.Container("message", &e.Message)
	v.Bytes("signature", e.Signature[:])
}

// SyncAggregate is the vote of the whole sync committee.
type SyncAggregate struct {
	SyncCommitteeBits      []byte
	SyncCommitteeSignature BLSSignature
}

func (a *SyncAggregate) Visit(v Visitor) {
	v.Bitvector("sync_committee_bits", &a.SyncCommitteeBits, v.Preset().SyncCommitteeSize)
	v.Bytes("sync_committee_signature", a.SyncCommitteeSignature[:])
}
