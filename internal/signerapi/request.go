package signerapi

import (
	"strings"

	"github.com/quorate/quorate/internal/eth"
)

// SignRequest is the body of a request to sign.
type SignRequest struct {
	Duty eth.Duty
	// SigningRoot is what the client says that the signing root is, nil if it
	// says nothing. It is never signed; it only shows a misunderstanding.
	SigningRoot *[32]byte
}

// ParseSignRequest reads the body of POST /api/v1/eth2/sign/{pubkey} in every
// dialect that validator clients speak, strictly: what it does not know, or
// could be read in two ways, it refuses. Every error is the client's (400),
// names the field by its path and repeats no input but a short name.
//
// Beyond remote-signing-api v1.4.0 it accepts: integers as JSON numbers; the
// type and version in lower case; signing_root for signingRoot; fork_info where
// the kind has no use for it (Nimbus); proofs beside a block, unread (Nimbus
// with a verifying signer: the header is what is signed, so they bind nothing);
// the provisional names and unversioned bodies of Gloas (Lighthouse, Lodestar);
// an Electra or Gloas body under the legacy AGGREGATE_AND_PROOF (Lighthouse);
// addresses in the mixed case of EIP-55 (Lodestar).
func ParseSignRequest(body []byte, net *eth.Network) (SignRequest, error) {
	root, err := parseJSON(body)
	if err != nil {
		return SignRequest{}, err
	}
	if root.kind != '{' {
		return SignRequest{}, &fieldError{reason: "not a JSON object"}
	}
	r := &requestReader{reader: newReader(&root, net.Preset), net: net}
	req := r.read()
	if err := r.failure(); err != nil {
		return SignRequest{}, err
	}
	return req, nil
}

// requestReader reads the top of a request.
type requestReader struct {
	*reader
	net *eth.Network
}

func (r *requestReader) read() (req SignRequest) {
	name := r.upper("type")
	kind, err := eth.ParseKind(name)
	if err != nil {
		r.fail("type", "no such type of message")
		return req
	}
	req.SigningRoot = r.signingRoot()
	if kind.UsesForkInfo() || r.has("fork_info") {
		var f forkInfo
		r.Container("fork_info", &f)
		if kind.UsesForkInfo() {
			req.Duty.Fork = eth.ForkInfo(f)
		}
	}
	req.Duty.Message = r.message(kind, name, &req.Duty.Fork)
	r.finish()
	return req
}

// signingRoot reads either spelling.
func (r *requestReader) signingRoot() *[32]byte {
	name := "signingRoot"
	if r.has("signing_root") {
		if r.has(name) {
			r.fail("signing_root", "given twice, as signingRoot too")
		}
		name = "signing_root"
	}
	if !r.has(name) {
		return nil
	}
	var root [32]byte
	r.Bytes(name, root[:])
	return &root
}

// upper reads a name that the API writes in upper case and some clients in
// lower case; never in both.
func (r *reader) upper(name string) string {
	f := r.field(name, '"')
	if f == nil {
		return ""
	}
	if f.text == strings.ToLower(f.text) {
		return strings.ToUpper(f.text)
	}
	return f.text
}

// version reads the fork that a versioned body names.
func (r *reader) version() eth.Fork {
	f, err := eth.ParseFork(r.upper("version"))
	if err != nil {
		r.fail("version", "no such fork")
	}
	return f
}

// forkInfo is eth.ForkInfo as the API nests it.
type forkInfo eth.ForkInfo

func (f *forkInfo) Visit(v eth.Visitor) {
	v.Container("fork", (*fork)(f))
	v.Bytes("genesis_validators_root", f.GenesisValidatorsRoot[:])
}

type fork eth.ForkInfo

func (f *fork) Visit(v eth.Visitor) {
	v.Bytes("previous_version", f.PreviousVersion[:])
	v.Bytes("current_version", f.CurrentVersion[:])
	v.Uint64("epoch", &f.Epoch)
}

// message reads the field that holds the message. Where it fails, the message
// is of no use.
func (r *requestReader) message(kind eth.Kind, name string, f *eth.ForkInfo) eth.Message {
	switch kind {
	case eth.KindBlock:
		r.optional("proofs")
		if name == "BLOCK" {
			return r.block(r.reader, "block", eth.Phase0)
		}
		return r.blockV2()
	case eth.KindAttestation:
		return plain(r, "attestation", new(eth.AttestationData))
	case eth.KindAggregateAndProof:
		if name == "AGGREGATE_AND_PROOF" {
			return r.aggregate(f)
		}
		return r.aggregateV2()
	case eth.KindAggregationSlot:
		return plain(r, "aggregation_slot", new(eth.AggregationSlot))
	case eth.KindRandaoReveal:
		return plain(r, "randao_reveal", new(eth.RandaoReveal))
	case eth.KindSyncCommitteeMessage:
		return plain(r, "sync_committee_message", new(eth.SyncCommitteeMessage))
	case eth.KindSyncCommitteeSelectionProof:
		return plain(r, "sync_aggregator_selection_data", new(eth.SyncAggregatorSelectionData))
	case eth.KindContributionAndProof:
		return plain(r, "contribution_and_proof", new(eth.ContributionAndProof))
	case eth.KindVoluntaryExit:
		return plain(r, "voluntary_exit", new(eth.VoluntaryExit))
	case eth.KindDeposit:
		return plain(r, "deposit", new(eth.Deposit))
	case eth.KindValidatorRegistration:
		return plain(r, "validator_registration", new(eth.ValidatorRegistration))
	case eth.KindExecutionPayloadBid:
		bid := new(eth.FullExecutionPayloadBid)
		r.gloas(bid, "execution_payload_bid")
		return summary(r.reader, bid.Summary)
	case eth.KindExecutionPayloadEnvelope:
		envelope := new(eth.FullExecutionPayloadEnvelope)
		r.gloas(envelope, "execution_payload_envelope")
		return summary(r.reader, envelope.Summary)
	case eth.KindPayloadAttestationMessage:
		m := new(eth.PayloadAttestationData)
		r.gloas(m, "payload_attestation_message", "payload_attestation_data", "payload_attestation")
		return m
	case eth.KindProposerPreferences:
		m := new(eth.ProposerPreferences)
		r.gloas(m, "proposer_preferences")
		return m
	case eth.KindBuilderRequestAuth:
		m := new(eth.BuilderRequestAuth)
		r.gloas(m, "builder_request_auth", "request_auth")
		return m
	}
	r.fail("type", "no such type of message")
	return nil
}

// plain reads a message that stands in the field as it is.
func plain(r *requestReader, field string, m eth.Message) eth.Message {
	r.Container(field, m)
	return m
}

// summary shortens what was read to what a duty holds.
func summary[M eth.Message](r *reader, summarise func(eth.Preset) (M, error)) eth.Message {
	if *r.err != nil {
		return nil
	}
	m, err := summarise(r.preset)
	if err != nil {
		r.fail("", err.Error())
		return nil
	}
	return m
}

// blockV2 reads {version, block} of the first two forks, of which the header
// is computed, or {version, block_header} of later ones.
func (r *requestReader) blockV2() eth.Message {
	o := r.object("beacon_block")
	if o == nil {
		return nil
	}
	defer o.finish()
	version := o.version()
	if version <= eth.Altair {
		return r.block(o, "block", version)
	}
	header := new(eth.BeaconBlockHeader)
	o.Container("block_header", header)
	return header
}

func (r *requestReader) block(in *reader, field string, version eth.Fork) eth.Message {
	block := new(eth.BeaconBlock)
	if version == eth.Altair {
		block.Body.SyncAggregate = new(eth.SyncAggregate)
	}
	in.Container(field, block)
	return summary(in, block.Header)
}

// aggregateV2 reads {version, data}.
func (r *requestReader) aggregateV2() eth.Message {
	o := r.object("aggregate_and_proof")
	if o == nil {
		return nil
	}
	m := new(eth.AggregateAndProof)
	switch version := o.version(); {
	case version >= eth.Gloas:
		m.Aggregate.Form = eth.AttestationGloas
	case version >= eth.Electra:
		m.Aggregate.Form = eth.AttestationElectra
	}
	o.Container("data", m)
	o.finish()
	return m
}

// aggregate reads the legacy form, which names no version: committee_bits tell
// Electra, and then the fork in force at the slot tells Gloas, whose aggregates
// look the same but hash otherwise. What the client calls in force counts more
// than our schedule, which may be older than the fork.
func (r *requestReader) aggregate(f *eth.ForkInfo) eth.Message {
	o := r.object("aggregate_and_proof")
	if o == nil {
		return nil
	}
	m := new(eth.AggregateAndProof)
	if a := o.object("aggregate"); a != nil && a.has("committee_bits") {
		m.Aggregate.Form = eth.AttestationElectra
	}
	m.Visit(o)
	o.finish()
	if m.Aggregate.Form == eth.AttestationElectra {
		epoch := r.net.EpochOf(m.Aggregate.Data.Slot)
		inForce, known := r.net.ForkOf(f.VersionAt(epoch))
		if !known {
			inForce = r.net.ForkAt(epoch)
		}
		if inForce >= eth.Gloas {
			m.Aggregate.Form = eth.AttestationGloas
		}
	}
	return m
}

// gloas reads {version, data}, or the bare message under a provisional name
// or before its clients caught up, from the first of the fields that is there.
func (r *requestReader) gloas(c eth.Container, fields ...string) {
	field := fields[0]
	for _, name := range fields[1:] {
		if !r.has(field) {
			field = name
		}
	}
	if !r.has(field) {
		field = fields[0]
	}
	o := r.object(field)
	if o == nil {
		return
	}
	if !o.has("version") {
		c.Visit(o)
	} else if version := o.version(); version < eth.Gloas {
		o.fail("version", "before GLOAS")
	} else {
		o.Container("data", c)
	}
	o.finish()
}
