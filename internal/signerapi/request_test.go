package signerapi

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/quorate/quorate/internal/eth"
)

// ownRequests are ours: sign requests with roots from an independent library.
const ownRequests = "../eth/testdata/requests.json"

type requestVector struct {
	Name        string          `json:"name"`
	Request     json.RawMessage `json:"request"`
	SigningRoot string          `json:"signing_root"`
}

func readRequests(t testing.TB, path string) []requestVector {
	t.Helper()
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no vectors at %s", path)
	}
	var file struct{ Vectors []requestVector }
	if err == nil {
		err = json.Unmarshal(raw, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file.Vectors
}

// requestNamed returns the body of one of our own requests.
func requestNamed(t testing.TB, name string) string {
	t.Helper()
	for _, v := range readRequests(t, ownRequests) {
		if v.Name == name {
			var compact json.RawMessage
			b, err := json.Marshal(v.Request)
			if err == nil {
				err = json.Unmarshal(b, &compact)
			}
			if err != nil {
				t.Fatal(err)
			}
			return string(compact)
		}
	}
	t.Fatalf("no request %q", name)
	return ""
}

func requestNetwork(t testing.TB) *eth.Network {
	t.Helper()
	n, err := eth.LookupNetwork("mainnet")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestParseSignRequestVectors(t *testing.T) {
	n := requestNetwork(t)
	for _, path := range []string{ownRequests, vectorsDir + "signing/requests-mainnet.json"} {
		t.Run(path[strings.LastIndexByte(path, '/')+1:], func(t *testing.T) {
			for _, v := range readRequests(t, path) {
				req, err := ParseSignRequest(v.Request, n)
				if err != nil {
					t.Errorf("%s: %v", v.Name, err)
					continue
				}
				root, err := req.Duty.SigningRoot(n)
				if err != nil || root.String() != v.SigningRoot {
					t.Errorf("%s: signing root %s (%v), want %s", v.Name, root, err, v.SigningRoot)
				}
				if req.SigningRoot == nil || *req.SigningRoot != root.Bytes() {
					t.Errorf("%s: the client's signing root was read as %x", v.Name, req.SigningRoot)
				}
			}
		})
	}
}

// TestPublishedExamples parses every example of Web3Signer's API description,
// which are for the minimal preset.
func TestPublishedExamples(t *testing.T) {
	raw, err := os.ReadFile(vectorsDir + "openapi/web3signer/signing/paths/sign.yaml")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no API description beside the repository")
	}
	var doc struct {
		Post struct {
			RequestBody struct {
				Content map[string]struct {
					Examples map[string]struct{ Value map[string]any }
				}
			} `yaml:"requestBody"`
		}
	}
	if err == nil {
		err = yaml.Unmarshal(raw, &doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	minimal, err := eth.NetworkFromConfig(map[string]string{
		"PRESET_BASE": "minimal", "SECONDS_PER_SLOT": "6", "GENESIS_FORK_VERSION": "0x00000001",
	})
	if err != nil {
		t.Fatal(err)
	}
	mainnet := requestNetwork(t)
	mainnet.GenesisValidatorsRoot = nil

	matched := 0
	for name, example := range doc.Post.RequestBody.Content["application/json"].Examples {
		body, err := json.Marshal(example.Value)
		if err != nil {
			t.Fatal(err)
		}
		req, err := ParseSignRequest(body, minimal)
		switch name {
		case "BLOCK (DEPRECATED)", "AGGREGATION_SLOT":
			// They spell the fork's fields in camel case, which no client does.
			if err == nil || !strings.Contains(err.Error(), "fork_info.fork.previous_version: missing") {
				t.Errorf("%s: %v", name, err)
			}
		case "AGGREGATE_AND_PROOF_V2 (ELECTRA)", "AGGREGATE_AND_PROOF_V2 (FULU)":
			// Their committee bits are of the mainnet preset, their roots of none.
			if err == nil || !strings.Contains(err.Error(), "committee_bits: over 1 bytes") {
				t.Errorf("%s: %v", name, err)
			}
			if req, err = ParseSignRequest(body, mainnet); err != nil {
				t.Errorf("%s: %v", name, err)
			} else if root, err := req.Duty.SigningRoot(mainnet); err != nil || root.Bytes() == *req.SigningRoot {
				t.Errorf("%s: root %s as published, %v", name, root, err)
			}
		default:
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			root, err := req.Duty.SigningRoot(minimal)
			if err != nil || root.Bytes() != *req.SigningRoot {
				t.Errorf("%s: root %s (%v), want %x", name, root, err, *req.SigningRoot)
			}
			matched++
		}
	}
	if matched < 20 {
		t.Errorf("only %d examples matched", matched)
	}
}

const attestationRequest = `{"type":"ATTESTATION",` + requestFork + `,"signingRoot":"0xcb87f8220a0a23d80fc92d03663d45f02cf1ce1de44fe51031f2338190c04aa3",` +
	`"attestation":{"slot":"2375909","index":"0","beacon_block_root":"0xc2c46fc46e5a98b8483967a0ed2f4269894b54bab37c86baeafe120b8c63d4af",` +
	`"source":{"epoch":"74246","root":"0xc5b506b021447b4de01d881d8895eeee9077d8896eba857685cf495a49ae1d84"},` +
	`"target":{"epoch":"74247","root":"0x0e8e9b4ac780ee1e257694e0480ad6777f26018d785623844ee0286c7cdf96f5"}}}`

const requestFork = `"fork_info":{"fork":{"previous_version":"0x00000000","current_version":"0x01000000","epoch":"74240"},` +
	`"genesis_validators_root":"0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95"}`

const registrationRequest = `{"type":"VALIDATOR_REGISTRATION","validator_registration":{"fee_recipient":"0xa53520e01efa1baf1abb6085fc661e840ae8b423",` +
	`"gas_limit":"36000000","timestamp":"1760000000","pubkey":"0x989d34725a2bfc3f15105f3f5fc8741f436c25ee1ee4f948e425d6bcb8c56bce6e06c269635b7e985a7ffa639e2409bf"}}`

// replaceOnce changes one place of a request that must be there.
func replaceOnce(t *testing.T, s, old, by string) string {
	t.Helper()
	if !strings.Contains(s, old) {
		t.Fatalf("no %q in the request", old)
	}
	return strings.Replace(s, old, by, 1)
}

func TestDialects(t *testing.T) {
	n := requestNetwork(t)
	envelope := requestNamed(t, "envelope-gloas-0")
	start, end := strings.Index(envelope, `{"version":"GLOAS","data":`), strings.LastIndexByte(envelope, '}')
	bare := envelope[:start] + envelope[start+len(`{"version":"GLOAS","data":`):end-1] + envelope[end:]
	legacyBlock := requestNamed(t, "block-legacy-full")
	block := requestNamed(t, "block-altair-full")
	cases := []struct{ name, plain, dialect string }{
		{"numbers", attestationRequest, strings.NewReplacer(`"2375909"`, "2375909", `"74246"`, "74246", `"74240"`, "74240").Replace(attestationRequest)},
		{"lower-case type", attestationRequest, replaceOnce(t, attestationRequest, "ATTESTATION", "attestation")},
		{"lower-case version", block, replaceOnce(t, block, `"ALTAIR"`, `"altair"`)},
		{"signing_root", attestationRequest, replaceOnce(t, attestationRequest, "signingRoot", "signing_root")},
		{"space", attestationRequest, " \t\r\n" + strings.NewReplacer(",", " ,\n", ":", "\t:\r", "{", "{ ", "}", " }").Replace(attestationRequest) + "\n"},
		{"fork_info of a kind without", registrationRequest, replaceOnce(t, registrationRequest, "{", "{"+requestFork+",")},
		{"null where optional", registrationRequest, replaceOnce(t, registrationRequest, "{", `{"fork_info":null,"signingRoot":null,`)},
		{"checksummed address", registrationRequest, replaceOnce(t, registrationRequest, "0xa53520e01efa1baf1abb6085fc661e840ae8b423", checksummed("a53520e01efa1baf1abb6085fc661e840ae8b423"))},
		{"proofs beside a block", block, replaceOnce(t, block, "{", `{"proofs":[{"index":"1","proof":["0x00"],"value":"0x00"}],`)},
		{"bare envelope", envelope, bare},
		{"provisional name in lower case", requestNamed(t, "ptc-provisional"), replaceOnce(t, requestNamed(t, "ptc-provisional"), "PAYLOAD_ATTESTATION", "payload_attestation")},
		{"lodestar's payload attestation", requestNamed(t, "ptc-provisional"), replaceOnce(t, requestNamed(t, "ptc-provisional"), "payload_attestation_data", "payload_attestation")},
		{"legacy block", legacyBlock, strings.NewReplacer(`"BLOCK"`, `"BLOCK_V2"`, `"block":`, `"beacon_block":{"version":"PHASE0","block":`).Replace(legacyBlock[:len(legacyBlock)-1]) + "}}"},
		{"legacy aggregate", requestNamed(t, "aggregate-v2-fulu"), unversioned(requestNamed(t, "aggregate-v2-fulu"), "FULU")},
		{"legacy aggregate of deneb", requestNamed(t, "aggregate-v2-capella"), unversioned(requestNamed(t, "aggregate-v2-capella"), "CAPELLA")},
	}
	for _, c := range cases {
		want, err := ParseSignRequest([]byte(c.plain), n)
		if err != nil {
			t.Errorf("%s, plain: %v", c.name, err)
			continue
		}
		got, err := ParseSignRequest([]byte(c.dialect), n)
		if err != nil {
			t.Errorf("%s: %v in %.300s", c.name, err, c.dialect)
			continue
		}
		if string(eth.EncodeDuty(got.Duty)) != string(eth.EncodeDuty(want.Duty)) {
			t.Errorf("%s: another duty", c.name)
		}
	}
	req, err := ParseSignRequest([]byte(registrationRequest), n)
	if err != nil || req.SigningRoot != nil {
		t.Errorf("without a signing root: %x, %v", req.SigningRoot, err)
	}
}

func checksummed(digits string) string {
	for mask := range 1 << 20 { // of the letters there are fewer than twenty
		b, bit := []byte(digits), 0
		for i, c := range b {
			if c >= 'a' {
				if mask>>bit&1 == 1 {
					b[i] -= 'a' - 'A'
				}
				bit++
			}
		}
		if isChecksummed(string(b)) {
			return "0x" + string(b)
		}
	}
	return "none"
}

func unversioned(request, version string) string {
	request = strings.Replace(request, `"AGGREGATE_AND_PROOF_V2"`, `"AGGREGATE_AND_PROOF"`, 1)
	request = strings.Replace(request, `{"version":"`+version+`","data":`, "", 1)
	return request[:len(request)-1]
}

// TestChecksum holds the case of addresses against the examples of EIP-55.
func TestChecksum(t *testing.T) {
	for _, a := range []string{
		"5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "fB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
		"dbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB", "D1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
		"52908400098527886E0F7030069857D2E4169EE7", "de709f2102306220921060314715629080e2fb77",
	} {
		if !isChecksummed(a) {
			t.Errorf("%s is refused", a)
		}
		if other := strings.Replace(strings.Replace(a, "e", "E", 1), "E", "e", 1); other != a && isChecksummed(other) {
			t.Errorf("%s is accepted", other)
		}
		if swapped := strings.ToUpper(a[:20]) + strings.ToLower(a[20:]); swapped != a && isChecksummed(swapped) {
			t.Errorf("%s is accepted", swapped)
		}
	}
}

// TestLegacyAggregateInGloas: the same JSON hashes as the fork in force says.
func TestLegacyAggregateInGloas(t *testing.T) {
	n := requestNetwork(t)
	body := requestNamed(t, "aggregate-legacy-gloas")
	form := func(body string, n *eth.Network) eth.AttestationForm {
		t.Helper()
		req, err := ParseSignRequest([]byte(body), n)
		if err != nil {
			t.Fatal(err)
		}
		return req.Duty.Message.(*eth.AggregateAndProof).Aggregate.Form
	}
	if got := form(body, n); got != eth.AttestationGloas {
		t.Errorf("gloas's version in force: form %d", got)
	}
	fulu := strings.NewReplacer("0x07000000", "0x06000000", "0x06000000", "0x05000000").Replace(body)
	if got := form(fulu, n); got != eth.AttestationElectra {
		t.Errorf("fulu's version in force: form %d", got)
	}
	unknown := strings.ReplaceAll(body, "0x07000000", "0x99000000")
	if got := form(unknown, n); got != eth.AttestationElectra {
		t.Errorf("unknown version, gloas not scheduled: form %d", got)
	}
	n.Forks[eth.Gloas].Epoch = 500_000
	if got := form(unknown, n); got != eth.AttestationGloas {
		t.Errorf("unknown version, gloas scheduled: form %d", got)
	}
}

func BenchmarkParseSignRequest(b *testing.B) {
	n := requestNetwork(b)
	body := []byte(attestationRequest)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseSignRequest(body, n); err != nil {
			b.Fatal(err)
		}
	}
}
