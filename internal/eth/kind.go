package eth

import "fmt"

// Kind is a kind of message. The signing APIs have more names than there are
// kinds: BLOCK and BLOCK_V2 ask for the same signature, so a rule about one is
// a rule about both. The numbers stand in encoded duties; they are never used
// again.
type Kind uint8

const (
	KindBlock                       Kind = 1
	KindAttestation                 Kind = 2
	KindAggregateAndProof           Kind = 3
	KindAggregationSlot             Kind = 4
	KindRandaoReveal                Kind = 5
	KindSyncCommitteeMessage        Kind = 6
	KindSyncCommitteeSelectionProof Kind = 7
	KindContributionAndProof        Kind = 8
	KindVoluntaryExit               Kind = 9
	KindDeposit                     Kind = 10
	KindValidatorRegistration       Kind = 11
	KindExecutionPayloadBid         Kind = 12
	KindExecutionPayloadEnvelope    Kind = 13
	KindPayloadAttestationMessage   Kind = 14
	KindProposerPreferences         Kind = 15
	KindBuilderRequestAuth          Kind = 16
)

// Kinds returns every kind, in the order of their numbers.
func Kinds() []Kind {
	all := make([]Kind, 0, KindBuilderRequestAuth)
	for k := KindBlock; k <= KindBuilderRequestAuth; k++ {
		all = append(all, k)
	}
	return all
}

// String returns the newest name of the kind in the remote signing API.
func (k Kind) String() string {
	switch k {
	case KindBlock:
		return "BLOCK_V2"
	case KindAttestation:
		return "ATTESTATION"
	case KindAggregateAndProof:
		return "AGGREGATE_AND_PROOF_V2"
	case KindAggregationSlot:
		return "AGGREGATION_SLOT"
	case KindRandaoReveal:
		return "RANDAO_REVEAL"
	case KindSyncCommitteeMessage:
		return "SYNC_COMMITTEE_MESSAGE"
	case KindSyncCommitteeSelectionProof:
		return "SYNC_COMMITTEE_SELECTION_PROOF"
	case KindContributionAndProof:
		return "SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF"
	case KindVoluntaryExit:
		return "VOLUNTARY_EXIT"
	case KindDeposit:
		return "DEPOSIT"
	case KindValidatorRegistration:
		return "VALIDATOR_REGISTRATION"
	case KindExecutionPayloadBid:
		return "EXECUTION_PAYLOAD_BID"
	case KindExecutionPayloadEnvelope:
		return "EXECUTION_PAYLOAD_ENVELOPE"
	case KindPayloadAttestationMessage:
		return "PAYLOAD_ATTESTATION_MESSAGE"
	case KindProposerPreferences:
		return "PROPOSER_PREFERENCES"
	case KindBuilderRequestAuth:
		return "BUILDER_REQUEST_AUTH"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// ParseKind returns the kind of a name: what String returns, the older name of
// a kind, or a provisional one that a client still sends.
func ParseKind(name string) (Kind, error) {
	switch name {
	case "BLOCK":
		return KindBlock, nil
	case "AGGREGATE_AND_PROOF":
		return KindAggregateAndProof, nil
	case "PAYLOAD_ATTESTATION":
		return KindPayloadAttestationMessage, nil
	case "REQUEST_AUTH":
		return KindBuilderRequestAuth, nil
	}
	for _, k := range Kinds() {
		if k.String() == name {
			return k, nil
		}
	}
	return 0, fmt.Errorf("parse kind %.40q: no such kind of message", name)
}

// IsDuty reports whether a validator does this every day. What it does once
// (an exit, a deposit) is no duty and needs a grant of the ledger.
func (k Kind) IsDuty() bool {
	return k >= KindBlock && k <= KindBuilderRequestAuth && k != KindVoluntaryExit && k != KindDeposit
}

// UsesForkInfo reports whether the domain of the kind depends on the fork that
// the client names. The others have a domain of the network's or their own.
func (k Kind) UsesForkInfo() bool {
	return k != KindDeposit && k != KindValidatorRegistration && k != KindBuilderRequestAuth
}
