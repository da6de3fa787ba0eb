package eth

import (
	"encoding/hex"
	"encoding/json"
	"math/big"
	"os"
	"strconv"
	"strings"
	"testing"
)

// sharedVectors are vectors that others wrote, beside the repository.
const sharedVectors = "../../../shared/vectors"

type vector struct {
	Name        string          `json:"name"`
	Fork        string          `json:"fork"`
	Type        string          `json:"type"`
	Request     json.RawMessage `json:"request"`
	ObjectRoot  string          `json:"object_root"`
	Domain      string          `json:"domain"`
	SigningRoot string          `json:"signing_root"`
}

func readVectors(t *testing.T, path string) []vector {
	t.Helper()
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		t.Skipf("no vectors at %s", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	var f struct{ Vectors []vector }
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Vectors) < 16 {
		t.Fatalf("%d vectors in %s", len(f.Vectors), path)
	}
	return f.Vectors
}

func TestVectors(t *testing.T) {
	mainnet := network(t, "mainnet")
	for _, path := range []string{sharedVectors + "/signing/requests-mainnet.json", "testdata/requests.json"} {
		t.Run(path[strings.LastIndexByte(path, '/')+1:], func(t *testing.T) {
			for _, v := range readVectors(t, path) {
				t.Run(v.Name, func(t *testing.T) { testVector(t, mainnet, v) })
			}
		})
	}
}

func testVector(t *testing.T, n *Network, v vector) {
	d := readDuty(t, v)
	again, err := DecodeDuty(EncodeDuty(d))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []Duty{d, again} {
		object, err := d.ObjectRoot(n)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex0x(object[:]); got != v.ObjectRoot {
			t.Errorf("object root %s, want %s", got, v.ObjectRoot)
		}
		domain := d.Domain(n)
		if got := hex0x(domain[:]); got != v.Domain {
			t.Errorf("domain %s, want %s", got, v.Domain)
		}
		root, err := d.SigningRoot(n)
		if err != nil {
			t.Fatal(err)
		}
		if got := root.String(); got != v.SigningRoot {
			t.Errorf("signing root %s, want %s", got, v.SigningRoot)
		}
	}
	kind, err := ParseKind(v.Type)
	if err != nil || kind != d.Kind() {
		t.Errorf("kind %s of %s: %v", kind, v.Type, err)
	}
}

// readDuty reads a sign request without any of the checks of the real parser.
func readDuty(t *testing.T, v vector) Duty {
	t.Helper()
	var request map[string]any
	if err := json.Unmarshal(v.Request, &request); err != nil {
		t.Fatal(err)
	}
	kind, err := ParseKind(v.Type)
	if err != nil {
		t.Fatal(err)
	}
	d := Duty{Message: newMessage(kind)}
	if f, ok := request["fork_info"].(map[string]any); ok {
		fork := f["fork"].(map[string]any)
		fork["genesis_validators_root"] = f["genesis_validators_root"]
		d.Fork.Visit(looseReader{t, fork, mainnetPreset})
	}
	var payload map[string]any
	for k, p := range request {
		if k != "fork_info" && k != "type" && k != "signingRoot" {
			payload = p.(map[string]any)
		}
	}
	for _, wrap := range []string{"data", "block", "block_header"} {
		if inner, ok := payload[wrap].(map[string]any); ok && payload["version"] != nil {
			payload = inner
			break
		}
	}
	in := looseReader{t, payload, mainnetPreset}
	_, hasBody := payload["body"]
	switch m := d.Message.(type) {
	case *AggregateAndProof:
		if _, ok := payload["aggregate"].(map[string]any)["committee_bits"]; ok {
			m.Aggregate.Form = AttestationElectra
		}
		if v.Fork == "GLOAS" {
			m.Aggregate.Form = AttestationGloas
		}
		m.Visit(in)
	case *BeaconBlockHeader:
		if !hasBody {
			m.Visit(in)
			break
		}
		var b BeaconBlock
		if v.Fork == "ALTAIR" {
			b.Body.SyncAggregate = new(SyncAggregate)
		}
		b.Visit(in)
		d.Message, err = b.Header(mainnetPreset)
	case *ExecutionPayloadBid:
		var b FullExecutionPayloadBid
		b.Visit(in)
		d.Message, err = b.Summary(mainnetPreset)
		sameRoot(t, &b, d.Message.signed())
	case *ExecutionPayloadEnvelope:
		var e FullExecutionPayloadEnvelope
		e.Visit(in)
		d.Message, err = e.Summary(mainnetPreset)
		sameRoot(t, &e, d.Message.signed())
	default:
		m.Visit(in)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func sameRoot(t *testing.T, a, b Container) {
	t.Helper()
	ra, errA := HashTreeRoot(a, mainnetPreset)
	rb, errB := HashTreeRoot(b, mainnetPreset)
	if errA != nil || errB != nil || ra != rb {
		t.Fatalf("summary has root %x, the whole %x (%v, %v)", rb, ra, errA, errB)
	}
}

func network(t testing.TB, name string) *Network {
	t.Helper()
	n, err := LookupNetwork(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// looseReader fills a container from decoded JSON.
type looseReader struct {
	t      *testing.T
	object map[string]any
	preset Preset
}

func (r looseReader) at(name string) any {
	v, ok := r.object[name]
	if !ok {
		r.t.Fatalf("no field %q", name)
	}
	return v
}

func (r looseReader) bytes(name string) []byte {
	b, err := hex.DecodeString(strings.TrimPrefix(r.at(name).(string), "0x"))
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

func (r looseReader) element(e any) looseReader {
	return looseReader{r.t, map[string]any{"": e}, r.preset}
}

func (r looseReader) Preset() Preset { return r.preset }
func (r looseReader) Progressive()   {}
func (r looseReader) Uint64(name string, v *uint64) {
	x, err := strconv.ParseUint(r.at(name).(string), 10, 64)
	if err != nil {
		r.t.Fatal(err)
	}
	*v = x
}
func (r looseReader) Uint256(name string, v *Uint256) {
	x, _ := new(big.Int).SetString(r.at(name).(string), 10)
	for i, b := range x.FillBytes(make([]byte, 32)) {
		v[31-i] = b
	}
}
func (r looseReader) Bool(name string, v *bool)                  { *v = r.at(name).(bool) }
func (r looseReader) Bytes(name string, v []byte)                { copy(v, r.bytes(name)) }
func (r looseReader) ByteList(name string, v *[]byte, _ Limit)   { *v = r.bytes(name) }
func (r looseReader) Bitvector(name string, v *[]byte, _ uint64) { *v = r.bytes(name) }
func (r looseReader) Bitlist(name string, v *[]byte, _ Limit)    { *v = r.bytes(name) }
func (r looseReader) Vector(name string, s Sequence, n uint64)   { r.List(name, s, atMost(n)) }
func (r looseReader) Container(name string, c Container) {
	c.Visit(looseReader{r.t, r.at(name).(map[string]any), r.preset})
}
func (r looseReader) Uint64s(name string, v *[]uint64, _ Limit) {
	for _, e := range r.at(name).([]any) {
		var x uint64
		r.element(e).Uint64("", &x)
		*v = append(*v, x)
	}
}
func (r looseReader) List(name string, s Sequence, _ Limit) {
	for i, e := range r.at(name).([]any) {
		s.Append()
		s.Visit(i, r.element(e))
	}
}
