package eth

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/wire"
)

// MaxDuty bounds an encoded duty. The largest is an aggregate whose bits cover
// every committee that the mainnet preset allows.
const MaxDuty = 17 << 10

// ErrNetwork says that a duty belongs to another network than the one in use.
var ErrNetwork = errors.New("genesis_validators_root of another network")

// SigningRoot is what a validator's key signs. Only this package builds one,
// from a Duty, so that nobody can have an arbitrary hash signed.
type SigningRoot struct{ root Root }

// Bytes returns the root.
func (r SigningRoot) Bytes() [32]byte { return r.root }

// String returns the root in hexadecimal.
func (r SigningRoot) String() string { return fmt.Sprintf("0x%x", r.root[:]) }

// ForkInfo is the fork that a client says is in force.
type ForkInfo struct {
	PreviousVersion       Version
	CurrentVersion        Version
	Epoch                 uint64
	GenesisValidatorsRoot Root
}

func (f *ForkInfo) Visit(v Visitor) {
	v.Bytes("previous_version", f.PreviousVersion[:])
	v.Bytes("current_version", f.CurrentVersion[:])
	v.Uint64("epoch", &f.Epoch)
	v.Bytes("genesis_validators_root", f.GenesisValidatorsRoot[:])
}

// VersionAt is the version in force at epoch. f.Epoch is compared with nothing
// else: some clients send the epoch of the message instead of the fork's.
func (f *ForkInfo) VersionAt(epoch uint64) Version {
	if epoch < f.Epoch {
		return f.PreviousVersion
	}
	return f.CurrentVersion
}

// domain is get_domain of the consensus-specs.
func (f *ForkInfo) domain(domainType [4]byte, epoch uint64) Root {
	return computeDomain(domainType, f.VersionAt(epoch), f.GenesisValidatorsRoot)
}

// computeDomain is compute_domain of the consensus-specs.
func computeDomain(domainType [4]byte, version Version, genesisValidatorsRoot Root) Root {
	var chunk, domain Root
	copy(chunk[:], version[:])
	forkData := hashPair(chunk, genesisValidatorsRoot)
	copy(domain[:4], domainType[:])
	copy(domain[4:], forkData[:28])
	return domain
}

// Duty is one message that a validator's key is asked to sign, whether or not
// it is an everyday one (see IsDuty). It is made by DecodeDuty, or from a
// message and the fork that the client named.
type Duty struct {
	Message Message
	Fork    ForkInfo // not used, nor encoded, where the kind does not need it
}

// Kind returns the kind of the message.
func (d Duty) Kind() Kind { return d.Message.Kind() }

// IsDuty reports whether this may be signed without a grant of the ledger.
func (d Duty) IsDuty() bool { return d.Kind().IsDuty() }

// ObjectRoot is the hash-tree-root of what is signed.
func (d Duty) ObjectRoot(n *Network) (Root, error) {
	return HashTreeRoot(d.Message.signed(), n.Preset)
}

// Domain is the signature domain.
func (d Duty) Domain(n *Network) Root { return d.Message.domain(n, &d.Fork) }

// SigningRoot is compute_signing_root of the consensus-specs. It fails where
// the message does not fit the network's preset, and with ErrNetwork where the
// network's genesis_validators_root is known and the duty's is another.
func (d Duty) SigningRoot(n *Network) (SigningRoot, error) {
	if d.Kind().UsesForkInfo() && n.GenesisValidatorsRoot != nil && d.Fork.GenesisValidatorsRoot != *n.GenesisValidatorsRoot {
		return SigningRoot{}, fmt.Errorf("compute signing root: %w", ErrNetwork)
	}
	object, err := d.ObjectRoot(n)
	if err != nil {
		return SigningRoot{}, fmt.Errorf("compute signing root of %s: %w", d.Kind(), err)
	}
	return SigningRoot{hashPair(object, d.Domain(n))}, nil
}

// Slashable is what of a duty can be slashed: BlockFacts or AttestationFacts.
type Slashable interface{ slashable() }

// BlockFacts identify a proposal.
type BlockFacts struct{ Slot uint64 }

// AttestationFacts identify a vote.
type AttestationFacts struct{ SourceEpoch, TargetEpoch uint64 }

func (BlockFacts) slashable()       {}
func (AttestationFacts) slashable() {}

// Slashable returns the facts that EIP-3076 is about, or nil where a validator
// cannot be slashed for the message.
func (d Duty) Slashable() Slashable {
	switch m := d.Message.(type) {
	case *BeaconBlockHeader:
		return BlockFacts{m.Slot}
	case *AttestationData:
		return AttestationFacts{m.Source.Epoch, m.Target.Epoch}
	}
	return nil
}

// EncodeDuty returns the canonical bytes: the kind, the fork where the kind
// needs one, and the fields of the message in their order. An aggregate has
// the number of its form in front.
func EncodeDuty(d Duty) []byte {
	e := encoder{wire.NewEncoder(make([]byte, 0, 256))}
	e.U8(uint8(d.Kind()))
	if d.Kind().UsesForkInfo() {
		d.Fork.Visit(e)
	}
	if a, ok := d.Message.(*AggregateAndProof); ok {
		e.U8(uint8(a.Aggregate.Form))
	}
	d.Message.Visit(e)
	return e.Out()
}

// DecodeDuty reads what EncodeDuty returned, and nothing else.
func DecodeDuty(b []byte) (Duty, error) {
	if len(b) > MaxDuty {
		return Duty{}, fmt.Errorf("decode duty: %w: %d bytes, over the limit of %d", wire.ErrMalformed, len(b), MaxDuty)
	}
	in := decoder{wire.NewDecoder(b)}
	kind := Kind(in.U8())
	d := Duty{Message: newMessage(kind)}
	if d.Message == nil {
		return Duty{}, fmt.Errorf("decode duty: %w: unknown %s", wire.ErrMalformed, kind)
	}
	if kind.UsesForkInfo() {
		d.Fork.Visit(in)
	}
	if a, ok := d.Message.(*AggregateAndProof); ok {
		if a.Aggregate.Form = AttestationForm(in.U8()); a.Aggregate.Form >= attestationForms {
			in.Fail(fmt.Errorf("attestation form %d", a.Aggregate.Form))
		}
	}
	d.Message.Visit(in)
	if err := in.Finish(); err != nil {
		return Duty{}, fmt.Errorf("decode duty: %w", err)
	}
	return d, nil
}

// newMessage returns a zero message of the kind, nil if there is none.
func newMessage(k Kind) Message {
	switch k {
	case KindBlock:
		return new(BeaconBlockHeader)
	case KindAttestation:
		return new(AttestationData)
	case KindAggregateAndProof:
		return new(AggregateAndProof)
	case KindAggregationSlot:
		return new(AggregationSlot)
	case KindRandaoReveal:
		return new(RandaoReveal)
	case KindSyncCommitteeMessage:
		return new(SyncCommitteeMessage)
	case KindSyncCommitteeSelectionProof:
		return new(SyncAggregatorSelectionData)
	case KindContributionAndProof:
		return new(ContributionAndProof)
	case KindVoluntaryExit:
		return new(VoluntaryExit)
	case KindDeposit:
		return new(Deposit)
	case KindValidatorRegistration:
		return new(ValidatorRegistration)
	case KindExecutionPayloadBid:
		return new(ExecutionPayloadBid)
	case KindExecutionPayloadEnvelope:
		return new(ExecutionPayloadEnvelope)
	case KindPayloadAttestationMessage:
		return new(PayloadAttestationData)
	case KindProposerPreferences:
		return new(ProposerPreferences)
	case KindBuilderRequestAuth:
		return new(BuilderRequestAuth)
	}
	return nil
}
