package signerapi

import (
	"encoding/json"
	"errors"
	"io/fs"
	"mime"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/quorate/quorate/internal/action"
)

func loadOpenAPI(t *testing.T, file string) *openapi3.T {
	t.Helper()
	path := vectorsDir + "openapi/" + file
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		t.Skip("shared vectors are not beside the repository")
	}
	loader := openapi3.NewLoader()
	loader.IsExternalRefsAllowed = true
	doc, err := loader.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// exchange is a request and the path of the description that it belongs to.
type exchange struct {
	method, template, target, body string
	status                         int
	headers                        []string
}

// check sends each request and holds status, content type and body against
// the description.
func check(t *testing.T, f *fixture, doc *openapi3.T, exchanges []exchange) {
	t.Helper()
	for _, x := range exchanges {
		name := x.method + " " + x.target
		operation := doc.Paths.Find(x.template).GetOperation(x.method)
		if operation == nil {
			t.Errorf("%s is not described", name)
			continue
		}
		w := f.do(x.method, x.target, x.body, x.headers...)
		if w.Code != x.status {
			t.Errorf("%s: status %d, want %d: %s", name, w.Code, x.status, w.Body)
			continue
		}
		answer := operation.Responses.Value(strconv.Itoa(w.Code))
		if answer == nil {
			t.Errorf("%s: status %d is not described", name, w.Code)
			continue
		}
		if len(answer.Value.Content) == 0 {
			continue // no form is prescribed
		}
		kind, _, err := mime.ParseMediaType(w.Header().Get("Content-Type"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		media := answer.Value.Content.Get(kind)
		if media == nil {
			t.Errorf("%s: type %s is not described", name, kind)
			continue
		}
		var value any = w.Body.String()
		if kind == "application/json" {
			if err := json.Unmarshal(w.Body.Bytes(), &value); err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
		}
		if err := media.Schema.Value.VisitJSON(value); err != nil {
			t.Errorf("%s: %s: %v", name, w.Body, err)
		}
	}
}

func TestWeb3SignerDescription(t *testing.T) {
	doc := loadOpenAPI(t, "web3signer/web3signer.yaml")
	f := newFixture(t, withKeymanager(nil))
	sign := "/api/v1/eth2/sign/{identifier}"
	accept := []string{"Accept", "application/json"}
	token := []string{"Authorization", "Bearer " + testToken}
	check(t, f, doc, []exchange{
		{"POST", sign, f.sign, randao, 200, nil},
		{"POST", sign, f.sign, randao, 200, accept},
		{"POST", sign, f.sign, `{}`, 400, accept},
		{"POST", sign, signPrefix + pubkey{}.String(), randao, 404, nil},
		{"GET", "/api/v1/eth2/publicKeys", "/api/v1/eth2/publicKeys", "", 200, nil},
		{"GET", "/api/v1/eth2/highWatermark", "/api/v1/eth2/highWatermark", "", 200, nil},
		{"GET", "/healthcheck", "/healthcheck", "", 200, nil},
		{"GET", "/reload", "/reload", "", 200, nil},
		{"POST", "/reload", "/reload", "", 202, nil},
		{"POST", "/reload", "/reload", "", 409, nil},
		{"GET", "/reload", "/reload", "", 200, nil},
		{"GET", "/eth/v1/keystores", "/eth/v1/keystores", "", 200, token},
		{"GET", "/eth/v1/keystores", "/eth/v1/keystores", "", 401, nil},
	})
	// Its media type is written with a parameter, which kin does not find.
	if w := f.do("GET", "/upcheck", ""); w.Code != 200 || w.Body.String() != "OK" || w.Header().Get("Content-Type") != contentText {
		t.Errorf("upcheck: %d %q %v", w.Code, w.Body, w.Header())
	}
}

func TestKeymanagerDescription(t *testing.T) {
	doc := loadOpenAPI(t, "keymanager/keymanager-oapi.yaml")
	k := newMemoryKeymanager()
	limit, graffiti := uint64(30_000_000), "hello"
	k.cluster = action.ProposerSettings{FeeRecipient: &action.Address{1}, GasLimit: &limit, Graffiti: &graffiti}
	f := newFixture(t, withKeymanager(k))
	token := []string{"Authorization", "Bearer " + testToken}
	wrong := []string{"Authorization", "Bearer " + strings.Repeat("0", 64)}
	key := pubkey(f.signer.key()).String()
	exchanges := []exchange{
		{"GET", "/eth/v1/keystores", "/eth/v1/keystores", "", 200, token},
		{"POST", "/eth/v1/keystores", "/eth/v1/keystores", importBody(t, nil, strings.Repeat("a", 48), "right pässword", "x", "y"), 200, token},
		{"DELETE", "/eth/v1/keystores", "/eth/v1/keystores", `{"pubkeys":["` + key + `"]}`, 200, token},
		{"POST", "/eth/v1/keystores", "/eth/v1/keystores", `[]`, 400, token},
		{"GET", "/eth/v1/remotekeys", "/eth/v1/remotekeys", "", 200, token},
		{"POST", "/eth/v1/remotekeys", "/eth/v1/remotekeys", `{"remote_keys":[{"pubkey":"` + key + `"}]}`, 200, token},
		{"DELETE", "/eth/v1/remotekeys", "/eth/v1/remotekeys", `{"pubkeys":["` + key + `"]}`, 200, token},
	}
	for part, body := range map[string]string{
		"feerecipient": `{"ethaddress":"0xAbcF8e0d4e9587369b2301D0790347320302cc09"}`,
		"gas_limit":    `{"gas_limit":"30000000"}`,
		"graffiti":     `{"graffiti":"plain text value"}`,
	} {
		template, target := "/eth/v1/validator/{pubkey}/"+part, "/eth/v1/validator/"+key+"/"+part
		foreign := "/eth/v1/validator/" + pubkey{1}.String() + "/" + part
		exchanges = append(exchanges,
			exchange{"GET", template, target, "", 200, token},
			exchange{"POST", template, target, body, 202, token},
			exchange{"GET", template, target, "", 200, token},
			exchange{"DELETE", template, target, "", 204, token},
			exchange{"POST", template, target, "{", 400, token},
			exchange{"GET", template, foreign, "", 404, token},
			exchange{"DELETE", template, foreign, "", 404, token},
			exchange{"GET", template, target, "", 401, nil},
			exchange{"GET", template, target, "", 403, wrong},
		)
	}
	exit := "/eth/v1/validator/" + key + "/voluntary_exit"
	exchanges = append(exchanges,
		exchange{"POST", "/eth/v1/validator/{pubkey}/voluntary_exit", exit + "?epoch=300&validator_index=3", "", 200, token},
		exchange{"POST", "/eth/v1/validator/{pubkey}/voluntary_exit", exit + "?epoch=x", "", 400, token},
	)
	check(t, f, doc, exchanges)
}
