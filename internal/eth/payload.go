package eth

import "fmt"

// Limits of Gloas that no longer stand in the types, and of the older lists
// that became progressive.
const (
	maxBlobCommitmentsPerBlock          = 4096
	maxBytesPerTransaction              = 1 << 30
	maxTransactionsPerPayload           = 1 << 20
	maxWithdrawalsPerPayload            = 16
	maxExtraDataBytes                   = 32
	maxDepositRequestsPerPayload        = 8192
	maxWithdrawalRequestsPerPayload     = 16
	maxConsolidationRequestsPerPayload  = 2
	maxBuilderDepositRequestsPerPayload = 64
	maxBuilderExitRequestsPerPayload    = 16
	bytesPerLogsBloom                   = 256
	maxBlockAccessListBytes             = maxBytesPerTransaction
)

// FullExecutionPayloadBid is a bid with its commitments, as it is sent. A duty
// holds its Summary.
type FullExecutionPayloadBid struct {
	Bid                ExecutionPayloadBid // its BlobKZGCommitmentsRoot is not used
	BlobKZGCommitments [][48]byte
}

func (b *FullExecutionPayloadBid) Visit(v Visitor) {
	b.Bid.visit(v, func() { b.commitments(v) })
}

func (b *FullExecutionPayloadBid) commitments(v Visitor) {
	v.List("blob_kzg_commitments", bytes48s(&b.BlobKZGCommitments), progressive(maxBlobCommitmentsPerBlock))
}

// Summary returns the bid of the same root that holds the commitments' root.
func (b *FullExecutionPayloadBid) Summary(p Preset) (*ExecutionPayloadBid, error) {
	root, err := HashTreeRoot(only(b.commitments), p)
	if err != nil {
		return nil, fmt.Errorf("summarise bid: %w", err)
	}
	bid := b.Bid
	bid.BlobKZGCommitmentsRoot = root
	return &bid, nil
}

// only is a container of one field, whose root is the root of that field.
type only func(Visitor)

func (f only) Visit(v Visitor) { f(v) }

// FullExecutionPayloadEnvelope is an envelope with its payload, as it is sent.
// A duty holds its Summary.
type FullExecutionPayloadEnvelope struct {
	Payload               ExecutionPayload
	ExecutionRequests     ExecutionRequests
	BuilderIndex          uint64
	BeaconBlockRoot       Root
	ParentBeaconBlockRoot Root
}

func (e *FullExecutionPayloadEnvelope) Visit(v Visitor) {
	v.Progressive()
	v.Container("payload", &e.Payload)
	v.Container("execution_requests", &e.ExecutionRequests)
	v.Uint64("builder_index", &e.BuilderIndex)
	v.Bytes("beacon_block_root", e.BeaconBlockRoot[:])
	v.Bytes("parent_beacon_block_root", e.ParentBeaconBlockRoot[:])
}

// Summary returns the envelope of the same root that holds the roots of the
// payload and of the requests.
func (e *FullExecutionPayloadEnvelope) Summary(p Preset) (*ExecutionPayloadEnvelope, error) {
	payload, err := HashTreeRoot(&e.Payload, p)
	if err != nil {
		return nil, fmt.Errorf("summarise envelope: %w", err)
	}
	requests, err := HashTreeRoot(&e.ExecutionRequests, p)
	if err != nil {
		return nil, fmt.Errorf("summarise envelope: %w", err)
	}
	return &ExecutionPayloadEnvelope{
		Slot: e.Payload.SlotNumber,
		EnvelopeSummary: EnvelopeSummary{
			PayloadRoot:           payload,
			ExecutionRequestsRoot: requests,
			BuilderIndex:          e.BuilderIndex,
			BeaconBlockRoot:       e.BeaconBlockRoot,
			ParentBeaconBlockRoot: e.ParentBeaconBlockRoot,
		},
	}, nil
}

// ExecutionPayload is the payload of Gloas.
type ExecutionPayload struct {
	ParentHash      Root
	FeeRecipient    ExecutionAddress
	StateRoot       Root
	ReceiptsRoot    Root
	LogsBloom       [bytesPerLogsBloom]byte
	PrevRandao      Root
	BlockNumber     uint64
	GasLimit        uint64
	GasUsed         uint64
	Timestamp       uint64
	ExtraData       []byte
	BaseFeePerGas   Uint256
	BlockHash       Root
	Transactions    [][]byte
	Withdrawals     []Withdrawal
	BlobGasUsed     uint64
	ExcessBlobGas   uint64
	BlockAccessList []byte
	SlotNumber      uint64
}

func (p *ExecutionPayload) Visit(v Visitor) {
	v.Progressive()
	v.Bytes("parent_hash", p.ParentHash[:])
	v.Bytes("fee_recipient", p.FeeRecipient[:])
	v.Bytes("state_root", p.StateRoot[:])
	v.Bytes("receipts_root", p.ReceiptsRoot[:])
	v.Bytes("logs_bloom", p.LogsBloom[:])
	v.Bytes("prev_randao", p.PrevRandao[:])
	v.Uint64("block_number", &p.BlockNumber)
	v.Uint64("gas_limit", &p.GasLimit)
	v.Uint64("gas_used", &p.GasUsed)
	v.Uint64("timestamp", &p.Timestamp)
	v.ByteList("extra_data", &p.ExtraData, atMost(maxExtraDataBytes))
	v.Uint256("base_fee_per_gas", &p.BaseFeePerGas)
	v.Bytes("block_hash", p.BlockHash[:])
	v.List("transactions", byteLists(&p.Transactions, progressive(maxBytesPerTransaction)), progressive(maxTransactionsPerPayload))
	v.List("withdrawals", containers(&p.Withdrawals), progressive(maxWithdrawalsPerPayload))
	v.Uint64("blob_gas_used", &p.BlobGasUsed)
	v.Uint64("excess_blob_gas", &p.ExcessBlobGas)
	v.ByteList("block_access_list", &p.BlockAccessList, progressive(maxBlockAccessListBytes))
	v.Uint64("slot_number", &p.SlotNumber)
}

// Withdrawal moves a balance to the execution layer.
type Withdrawal struct {
	Index          uint64
	ValidatorIndex uint64
	Address        ExecutionAddress
	Amount         uint64
}

func (w *Withdrawal) Visit(v Visitor) {
	v.Uint64("index", &w.Index)
	v.Uint64("validator_index", &w.ValidatorIndex)
	v.Bytes("address", w.Address[:])
	v.Uint64("amount", &w.Amount)
}

// ExecutionRequests is what the execution layer asks of the consensus layer.
type ExecutionRequests struct {
	Deposits        []DepositRequest
	Withdrawals     []WithdrawalRequest
	Consolidations  []ConsolidationRequest
	BuilderDeposits []BuilderDepositRequest
	BuilderExits    []BuilderExitRequest
}

func (r *ExecutionRequests) Visit(v Visitor) {
	v.Progressive()
	v.List("deposits", containers(&r.Deposits), progressive(maxDepositRequestsPerPayload))
	v.List("withdrawals", containers(&r.Withdrawals), progressive(maxWithdrawalRequestsPerPayload))
	v.List("consolidations", containers(&r.Consolidations), progressive(maxConsolidationRequestsPerPayload))
	v.List("builder_deposits", containers(&r.BuilderDeposits), progressive(maxBuilderDepositRequestsPerPayload))
	v.List("builder_exits", containers(&r.BuilderExits), progressive(maxBuilderExitRequestsPerPayload))
}

// DepositRequest is a deposit seen by the execution layer.
type DepositRequest struct {
	DepositData
	Index uint64
}

func (r *DepositRequest) Visit(v Visitor) {
	r.DepositData.Visit(v)
	v.Uint64("index", &r.Index)
}

// WithdrawalRequest asks for a withdrawal or an exit.
type WithdrawalRequest struct {
	SourceAddress   ExecutionAddress
	ValidatorPubkey BLSPubkey
	Amount          uint64
}

func (r *WithdrawalRequest) Visit(v Visitor) {
	v.Bytes("source_address", r.SourceAddress[:])
	v.Bytes("validator_pubkey", r.ValidatorPubkey[:])
	v.Uint64("amount", &r.Amount)
}

// ConsolidationRequest asks to join two validators.
type ConsolidationRequest struct {
	SourceAddress ExecutionAddress
	SourcePubkey  BLSPubkey
	TargetPubkey  BLSPubkey
}

func (r *ConsolidationRequest) Visit(v Visitor) {
	v.Bytes("source_address", r.SourceAddress[:])
	v.Bytes("source_pubkey", r.SourcePubkey[:])
	v.Bytes("target_pubkey", r.TargetPubkey[:])
}

// BuilderDepositRequest is a builder's deposit (EIP-8282).
type BuilderDepositRequest struct{ DepositData }

// BuilderExitRequest asks for a builder's exit (EIP-8282).
type BuilderExitRequest struct {
	SourceAddress ExecutionAddress
	Pubkey        BLSPubkey
}

func (r *BuilderExitRequest) Visit(v Visitor) {
	v.Bytes("source_address", r.SourceAddress[:])
	v.Bytes("pubkey", r.Pubkey[:])
}
