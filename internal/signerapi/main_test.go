package signerapi

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	vectorsDir = "../../../shared/vectors/"
	testToken  = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// vector is one sign request with its independently computed answer.
type vector struct {
	Name      string          `json:"name"`
	Type      string          `json:"type"`
	Request   json.RawMessage `json:"request"`
	Signature string          `json:"signature"`
}

type vectorFile struct {
	SecretKey string   `json:"secret_key"`
	PublicKey string   `json:"public_key"`
	Vectors   []vector `json:"vectors"`
}

func readVectors(t testing.TB) vectorFile {
	t.Helper()
	raw, err := os.ReadFile(vectorsDir + "signing/requests-mainnet.json")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("shared vectors are not beside the repository")
	}
	var file vectorFile
	if err == nil {
		err = json.Unmarshal(raw, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// keySigner signs with a whole key: what a cluster does, in one step. before,
// if set, runs first and may refuse.
type keySigner struct {
	network *eth.Network
	secret  bls.SecretKey
	before  func(ctx context.Context, client string, duty eth.Duty) error

	mu    sync.Mutex
	asked int
}

func newKeySigner(t testing.TB, hexKey string) *keySigner {
	t.Helper()
	raw, err := hex.DecodeString(strings.TrimPrefix(hexKey, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := bls.NewSecretKey((*[32]byte)(raw))
	if err != nil {
		t.Fatal(err)
	}
	network, err := eth.LookupNetwork("mainnet")
	if err != nil {
		t.Fatal(err)
	}
	return &keySigner{network: network, secret: key}
}

func (k *keySigner) key() [48]byte           { return k.secret.PublicKey().Bytes() }
func (k *keySigner) Keys() [][48]byte        { return [][48]byte{k.key()} }
func (k *keySigner) Holds(key [48]byte) bool { return key == k.key() }
func (k *keySigner) Health(context.Context) []Check {
	return []Check{{ID: "quorum", Up: true}}
}

func (k *keySigner) Sign(ctx context.Context, client string, _ [48]byte, duty eth.Duty) ([96]byte, error) {
	k.mu.Lock()
	k.asked++
	k.mu.Unlock()
	if k.before != nil {
		if err := k.before(ctx, client, duty); err != nil {
			return [96]byte{}, err
		}
	}
	root, err := duty.SigningRoot(k.network)
	if err != nil {
		return [96]byte{}, err
	}
	return k.secret.Sign(root).Bytes(), nil
}

const testSecret = "0x3ee2224386c82ffea477e2adf28a2929f5c349165a4196158c7f3a2ecca40f35"

// fixture is a server, called without a network in between.
type fixture struct {
	*Server
	t      testing.TB
	signer *keySigner
	sign   string // path of a sign request for its key
}

func newFixture(t testing.TB, change ...func(*Config)) *fixture {
	t.Helper()
	signer := newKeySigner(t, testSecret)
	config := Config{
		Network: signer.network, Signer: signer, Health: signer,
		Token: secret.New([]byte(testToken)), Hosts: []string{"example.com", "localhost", "127.0.0.1"},
	}
	for _, c := range change {
		c(&config)
	}
	server, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{server, t, signer, signPrefix + pubkey(signer.key()).String()}
}

// do sends one request. headers are name, value, name, value …
func (f *fixture) do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	f.t.Helper()
	r := httptest.NewRequest(method, target, bytes.NewReader([]byte(body)))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w
}

// want fails the test unless the status is right and, from 400 on, the body
// is an error that clients can read.
func want(t testing.TB, w *httptest.ResponseRecorder, status int) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	if status < 400 {
		return
	}
	var body struct{ Error, Message string }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Error+body.Message == "" {
		t.Fatalf("status %d without a JSON error: %q", status, w.Body)
	}
	if got := w.Header().Get("Content-Type"); got != contentJSON {
		t.Fatalf("error of type %q", got)
	}
}

// randao is the shortest valid request.
const randao = `{"type":"RANDAO_REVEAL","fork_info":{"fork":{"previous_version":"0x05000000","current_version":"0x06000000","epoch":"411392"},"genesis_validators_root":"0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95"},"randao_reveal":{"epoch":"411400"}}`

var _ http.Handler = (*Server)(nil)
