package signerapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/wire"
)

// edit is a request in which one place is changed, and how it is refused.
type edit struct{ old, by, want string }

func TestMalformedFieldsAreNamed(t *testing.T) {
	n := requestNetwork(t)
	block, blockHeader := requestNamed(t, "block-altair-full"), requestNamed(t, "block-altair-full")
	at := strings.Index(blockHeader, `"beacon_block"`)
	blockHeader = blockHeader[:at] + `"beacon_block":{"version":"DENEB","block_header":{"slot":"8626405","proposer_index":"1","parent_root":"` + zeroRoot +
		`","state_root":"` + zeroRoot + `","body_root":"` + zeroRoot + `"}}}`
	exit := `{"type":"VOLUNTARY_EXIT",` + requestFork + `,"voluntary_exit":{"epoch":"1","validator_index":"2"}}`
	deposit := `{"type":"DEPOSIT","deposit":{"pubkey":"0x` + strings.Repeat("ab", 48) + `","withdrawal_credentials":"` + zeroRoot + `","amount":"32000000000","genesis_fork_version":"0x10000910"}}`
	contribution := `{"type":"SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF",` + requestFork + `,"contribution_and_proof":{"aggregator_index":"1","selection_proof":"0x` + strings.Repeat("00", 96) +
		`","contribution":{"slot":"1","beacon_block_root":"` + zeroRoot + `","subcommittee_index":"1","aggregation_bits":"0x` + strings.Repeat("ff", 16) + `","signature":"0x` + strings.Repeat("00", 96) + `"}}}`
	aggregate, envelope, bid := requestNamed(t, "aggregate-v2-fulu"), requestNamed(t, "envelope-gloas-0"), requestNamed(t, "bid-gloas-0")
	ptc, auth := requestNamed(t, "ptc-gloas"), requestNamed(t, "request-auth")

	groups := []struct {
		name, base string
		edits      []edit
	}{
		{"document", attestationRequest, []edit{
			{attestationRequest, "", "malformed JSON at byte 0"},
			{attestationRequest, "null", "not a JSON object"},
			{attestationRequest, "[" + attestationRequest + "]", "not a JSON object"},
			{attestationRequest, attestationRequest + "{}", "something after the end"},
			{attestationRequest, "\ufeff" + attestationRequest, "malformed JSON at byte 0"},
			{attestationRequest, attestationRequest[:len(attestationRequest)-1], "expected a comma or the end"},
			{attestationRequest, strings.Replace(attestationRequest, "}}}", "},}}", 1), "attestation: malformed JSON"},
			{attestationRequest, strings.Repeat("[", 100), "nested too deeply"},
			{attestationRequest, strings.Repeat(`{"a":`, 100), "nested too deeply"},
			{attestationRequest, "{" + strings.Repeat(" ", wire.MaxHTTPBody), "body of more than 8388608 bytes"},
			{attestationRequest, `{"a":[` + strings.Repeat("0,", wire.MaxJSONValues) + "0]}", "too many values"},
			{attestationRequest, manyFields(), "too many fields"},
			{`"ATTESTATION"`, `'ATTESTATION'`, "type: malformed JSON"},
			{attestationRequest, `{"type":"ATTESTATION`, "type: malformed JSON at byte 20: unterminated string"},
			{`"ATTESTATION"`, `"\u0041TTESTATION"`, "type: malformed JSON at byte 9: escapes are not used"},
			{`"slot"`, `"sl\u006ft"`, "attestation: malformed JSON"},
			{`"slot"`, "\"sl\x00t\"", "attestation: malformed JSON"},
			{`"slot"`, `"slöt"`, "attestation: malformed JSON"},
			{`"slot"`, `slot`, "attestation: malformed JSON"},
			{`"slot":`, `"slot"`, "attestation: malformed JSON"},
			{`"index":"0"`, `"index":NaN`, "attestation.index: malformed JSON"},
			{`"index":"0"`, `"index":"0",/*no*/"x":1`, "attestation: malformed JSON"},
		}},
		{"top", attestationRequest, []edit{
			{`"type":"ATTESTATION",`, "", "type: missing"},
			{`"ATTESTATION"`, `"BLS_TO_EXECUTION_CHANGE"`, "type: no such type"},
			{`"ATTESTATION"`, `"Attestation"`, "type: no such type"},
			{`"ATTESTATION"`, `""`, "type: no such type"},
			{`"ATTESTATION"`, `7`, "type: not a string"},
			{`"ATTESTATION"`, `"BLOCK_V2"`, "beacon_block: missing"},
			{`{"type"`, `{"type":"ATTESTATION","type"`, `duplicate field "type"`},
			{`{"type"`, `{"Type":"BLOCK_V2","type"`, `unknown field "Type"`},
			{`{"type"`, `{"proofs":[],"type"`, `unknown field "proofs"`},
			{`{"type"`, `{"slot":"1","type"`, `unknown field "slot"`},
			{`"signingRoot"`, `"signing_root":"` + zeroRoot + `","signingRoot"`, "signing_root: given twice"},
			{`"signingRoot":"0x`, `"signingRoot":"`, "signingRoot: no 0x"},
			{`"signingRoot":"0xcb`, `"signingRoot":"0xCB`, "signingRoot: upper-case"},
			{`"signingRoot":"0xcb`, `"signingRoot":"0x`, "signingRoot: not 32 bytes"},
			{`"signingRoot":"0xcb`, `"signingRoot":"0xzz`, "signingRoot: not hexadecimal"},
		}},
		{"fork", attestationRequest, []edit{
			{requestFork + ",", "", "fork_info: missing"},
			{requestFork, `"fork_info":null`, "fork_info: missing"},
			{requestFork, `"fork_info":[]`, "fork_info: not an object"},
			{`"fork":{`, `"fork":{"x":1,`, `fork_info.fork: unknown field "x"`},
			{`"fork":{`, `"extra":{},"fork":{`, `fork_info: unknown field "extra"`},
			{`"previous_version"`, `"previousVersion"`, "fork_info.fork.previous_version: missing"},
			{`"0x01000000"`, `"0x010000"`, "fork_info.fork.current_version: not 4 bytes"},
			{`"0x01000000"`, `"01000000"`, "fork_info.fork.current_version: no 0x"},
			{`"0x01000000"`, `16777216`, "fork_info.fork.current_version: not a string"},
			{`"74240"`, `"0x12200"`, "fork_info.fork.epoch: not a decimal integer"},
			{`"74240"}`, `"74240","epoch":"0"}`, `fork_info.fork: duplicate field "epoch"`},
		}},
		{"attestation", attestationRequest, []edit{
			{`"slot":"2375909"`, `"slot":"-1"`, "attestation.slot: not a decimal integer"},
			{`"slot":"2375909"`, `"slot":-1`, "attestation.slot: not a decimal integer"},
			{`"slot":"2375909"`, `"slot":"+1"`, "attestation.slot: not a decimal integer"},
			{`"slot":"2375909"`, `"slot":"01"`, "attestation.slot: not a decimal integer"},
			{`"slot":"2375909"`, `"slot":01`, "attestation.slot: not a decimal integer"},
			{`"slot":"2375909"`, `"slot":1.0`, "attestation.slot: not a decimal integer"},
			{`"slot":"2375909"`, `"slot":1e3`, "attestation.slot: not a decimal integer"},
			{`"slot":"2375909"`, `"slot":""`, "attestation.slot: not a decimal integer"},
			{`"slot":"2375909"`, `"slot":" 1"`, "attestation.slot: not a decimal integer"},
			{`"slot":"2375909"`, `"slot":true`, "attestation.slot: not a decimal integer"},
			{`"slot":"2375909"`, `"slot":null`, "attestation.slot: missing"},
			{`"slot":"2375909"`, `"slot":{}`, "attestation.slot: not a decimal integer"},
			{`"slot":"2375909"`, `"slot":"18446744073709551616"`, "attestation.slot: over 64 bits"},
			{`"slot":"2375909"`, `"slot":18446744073709551616`, "attestation.slot: over 64 bits"},
			{`"slot":"2375909",`, ``, "attestation.slot: missing"},
			{`"source":{"epoch":"74246"`, `"source":{"epoch":"x"`, "attestation.source.epoch: not a decimal integer"},
			{`"source":{"epoch":"74246"`, `"source":{"epoch":"1","epoch":"74246"`, `attestation.source: duplicate field "epoch"`},
			{`"source":{`, `"source":{"slot":"1",`, `attestation.source: unknown field "slot"`},
			{`"0xc5b506`, `"0xC5b506`, "attestation.source.root: upper-case"},
			{`"0xc5b506`, `"0Xc5b506`, "attestation.source.root: no 0x"},
			{`"0xc5b506`, `"0xc5b50`, "attestation.source.root: not 32 bytes"},
			{`"0xc5b506`, `"0xc5b5 6`, "attestation.source.root: not hexadecimal"},
			{`"attestation":{`, `"attestation":{"committee_index":"1",`, `attestation: unknown field "committee_index"`},
			{`"attestation":{`, `"attestations":{`, `attestation: missing`},
		}},
		{"block", block, []edit{
			{`"version":"ALTAIR",`, ``, "beacon_block.version: missing"},
			{`"ALTAIR"`, `"ALTAIR2"`, "beacon_block.version: no such fork"},
			{`"ALTAIR"`, `"PHASE0"`, `beacon_block.block.body: unknown field "sync_aggregate"`},
			{`"ALTAIR"`, `"BELLATRIX"`, "beacon_block.block_header: missing"},
			{`"version"`, `"block_header":{},"version"`, `beacon_block: unknown field "block_header"`},
			{`"deposits":[`, `"deposits":[7,`, "beacon_block.block.body.deposits[0]: not an object"},
			{`"proof":[`, `"proof":["` + zeroRoot + `",`, "beacon_block.block.body.deposits[0].proof: over 33 elements"},
			{`"proof":[`, `"proof":[],"x":[`, "beacon_block.block.body.deposits[0].proof: not 33 elements"},
			{`"attesting_indices":[`, `"attesting_indices":["x",`, "attester_slashings[0].attestation_1.attesting_indices[0]: not a decimal integer"},
			{`"attester_slashings":[`, `"attester_slashings":[{},{},`, "beacon_block.block.body.attester_slashings: over 2 elements"},
			{`"graffiti":"0x`, `"graffiti":"0x00`, "beacon_block.block.body.graffiti: not 32 bytes"},
			{`"voluntary_exits":[`, `"voluntary_exits":{},"x":[`, "beacon_block.block.body.voluntary_exits: not a list"},
			{`"sync_committee_bits":"0x`, `"sync_committee_bits":"0x00`, "sync_aggregate.sync_committee_bits: over 64 bytes"},
		}},
		{"header", blockHeader, []edit{
			{`"body_root":"0x00`, `"body_root":"0x`, "beacon_block.block_header.body_root: not 32 bytes"},
			{`"block_header":{`, `"block_header":{"body":{},`, `beacon_block.block_header: unknown field "body"`},
			{`"DENEB"`, `"ALTAIR"`, "beacon_block.block: missing"},
		}},
		{"aggregate", aggregate, []edit{
			{`"committee_bits":"0x`, `"committee_bits":"0x00`, "aggregate_and_proof.data.aggregate.committee_bits: over 8 bytes"},
			{`"FULU"`, `"DENEB"`, `aggregate_and_proof.data.aggregate: unknown field "committee_bits"`},
			{`"version":"FULU",`, ``, "aggregate_and_proof.version: missing"},
			{`"aggregation_bits":"0x`, `"aggregation_bits":"0x","x":"0x`, "aggregate_and_proof.data.aggregate.aggregation_bits: no delimiting bit"},
			{`"aggregation_bits":"0x`, `"aggregation_bits":"0x` + strings.Repeat("ff", 16385), "aggregation_bits: over 16385 bytes"},
			{`"aggregation_bits":"0x`, `"aggregation_bits":"0xf`, "aggregation_bits: odd number"},
			{`"data":{"aggregator_index"`, `"data":{"x":"1","aggregator_index"`, `aggregate_and_proof.data: unknown field "x"`},
		}},
		{"others", contribution, []edit{
			{`"aggregation_bits":"0xff`, `"aggregation_bits":"0x`, "contribution_and_proof.contribution.aggregation_bits: not 128 bits"},
			{`"subcommittee_index":"1"`, `"subcommittee_index":[]`, "contribution_and_proof.contribution.subcommittee_index: not a decimal"},
		}},
		{"exit", exit, []edit{
			{`"validator_index":"2"`, `"validator_index":"2","x":"1"`, `voluntary_exit: unknown field "x"`},
			{`,"validator_index":"2"`, ``, "voluntary_exit.validator_index: missing"},
		}},
		{"deposit", deposit, []edit{
			{`,"genesis_fork_version":"0x10000910"`, ``, "deposit.genesis_fork_version: missing"},
			{`"pubkey":"0xab`, `"pubkey":"0x`, "deposit.pubkey: not 48 bytes"},
			{`"deposit":{`, `"fork_info":{},"deposit":{`, "fork_info.fork: missing"},
		}},
		{"registration", registrationRequest, []edit{
			{"0xa53520e0", "0xA53520e0", "validator_registration.fee_recipient: upper-case"},
			{"0xa53520e0", "0xa53520", "validator_registration.fee_recipient: not 20 bytes"},
			{`"36000000"`, `"36_000_000"`, "validator_registration.gas_limit: not a decimal"},
		}},
		{"gloas", ptc, []edit{
			{`"payload_present":`, `"payload_present":"true","x":`, "payload_attestation_message.data.payload_present: neither true nor false"},
			{`"payload_present":`, `"present":`, "payload_attestation_message.data.payload_present: missing"},
			{`"GLOAS"`, `"FULU"`, "payload_attestation_message.version: before GLOAS"},
			{`"GLOAS"`, `"UTOPIA"`, "payload_attestation_message.version: no such fork"},
			{`"payload_attestation_message":`, `"payload_attestation":{},"payload_attestation_message":`, `unknown field "payload_attestation"`},
			{`"payload_attestation_message":`, `"message":`, "payload_attestation_message: missing"},
		}},
		{"envelope", envelope, []edit{
			{`"base_fee_per_gas":"`, `"base_fee_per_gas":"` + strings.Repeat("9", 78), "execution_payload_envelope.data.payload.base_fee_per_gas: over 256 bits"},
			{`"base_fee_per_gas":"`, `"base_fee_per_gas":"115792089237316195423570985008687907853269984665640564039457584007913129639936","x":"`, "base_fee_per_gas: over 256 bits"},
			{`"extra_data":"0x`, `"extra_data":"0x` + strings.Repeat("00", 33), "execution_payload_envelope.data.payload.extra_data: over 32 bytes"},
			{`"transactions":[`, `"transactions":["0x0",`, "execution_payload_envelope.data.payload.transactions[0]: odd number"},
			{`"builder_exits":`, `"exits":`, "execution_payload_envelope.data.execution_requests.builder_exits: missing"},
			{`"parent_beacon_block_root":`, `"state_root":`, "execution_payload_envelope.data.parent_beacon_block_root: missing"},
		}},
		{"bid", bid, []edit{
			{`"blob_kzg_commitments":[`, `"blob_kzg_commitments":["0x00",`, "execution_payload_bid.data.blob_kzg_commitments[0]: not 48 bytes"},
			{`"blob_kzg_commitments":`, `"blob_kzg_commitments_root":`, "execution_payload_bid.data.blob_kzg_commitments: missing"},
		}},
		{"auth", auth, []edit{
			{`"data":{"data":"0x`, `"data":{"data":"0x` + strings.Repeat("00", 4097), "builder_request_auth.data.data: over 4096 bytes"},
		}},
	}
	total := 0
	for _, g := range groups {
		if _, err := ParseSignRequest([]byte(g.base), n); err != nil {
			t.Errorf("%s: the base is refused: %v", g.name, err)
			continue
		}
		for _, e := range g.edits {
			total++
			req, err := ParseSignRequest([]byte(replaceOnce(t, g.base, e.old, e.by)), n)
			switch {
			case err == nil:
				t.Errorf("%s: %.60q for %.40q is accepted", g.name, e.by, e.old)
			case !strings.Contains(err.Error(), e.want):
				t.Errorf("%s: %.60q for %.40q: error %q, want %q", g.name, e.by, e.old, err, e.want)
			case req.Duty.Message != nil || req.SigningRoot != nil:
				t.Errorf("%s: %.60q: refused, but a request is returned", g.name, e.by)
			}
		}
	}
	if total < 60 {
		t.Errorf("only %d malformed requests", total)
	}
}

const zeroRoot = "0x0000000000000000000000000000000000000000000000000000000000000000"

func manyFields() string {
	var b strings.Builder
	for i := range wire.MaxJSONFields + 1 {
		fmt.Fprintf(&b, `,"f%d":0`, i)
	}
	return "{" + b.String()[1:] + "}"
}

// TestRefusalsAreShort: an error repeats no long input.
func TestRefusalsAreShort(t *testing.T) {
	n := requestNetwork(t)
	long := strings.Repeat("A", 5000)
	for _, body := range []string{
		`{"` + long + `":"` + long + `"}`,
		`{"type":"` + long + `"}`,
		strings.Replace(attestationRequest, `"slot":"2375909"`, `"`+long+`":"1"`, 1),
		strings.Replace(attestationRequest, `"slot":"2375909"`, `"slot":"`+long+`"`, 1),
		strings.Repeat(`{"`+long+`":`, 60) + long,
		`{"` + long + `":1,"` + long + `":1}`,
	} {
		_, err := ParseSignRequest([]byte(body), n)
		if err == nil || len(err.Error()) > 260 {
			t.Errorf("%.60s: error of %d bytes", body, len(fmt.Sprint(err)))
		}
	}
}

func FuzzParseSignRequest(f *testing.F) {
	f.Add([]byte(attestationRequest))
	f.Add([]byte(registrationRequest))
	for _, v := range readRequests(f, ownRequests) {
		if len(v.Request) < 8<<10 {
			f.Add([]byte(v.Request))
		}
	}
	f.Add([]byte(`{"type":"AGGREGATION_SLOT",` + requestFork + `,"aggregation_slot":{"slot":7}}`))
	n := requestNetwork(f)
	n.GenesisValidatorsRoot = nil
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := ParseSignRequest(body, n)
		if err != nil {
			if len(err.Error()) > 260 {
				t.Fatalf("error of %d bytes", len(err.Error()))
			}
			return
		}
		// What was accepted has a signing root, and the same one where another
		// node decodes the duty.
		root, err := req.Duty.SigningRoot(n)
		if err != nil {
			t.Fatalf("accepted, but has no signing root: %v", err)
		}
		duty, err := eth.DecodeDuty(eth.EncodeDuty(req.Duty))
		if err != nil {
			t.Fatalf("accepted, but not decoded: %v", err)
		}
		if again, err := duty.SigningRoot(n); err != nil || again != root {
			t.Fatalf("signing root %s, decoded %s (%v)", root, again, err)
		}
	})
}
