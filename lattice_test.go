// Package quorate_test states which room may import which, and why.
//
// A new room takes its place in levels. A new edge that a rule forbids means
// editing the rule here, with a reason that a reviewer can judge.
package quorate_test

import (
	"encoding/json"
	"errors"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/custody-deps.golden anew")

const module = "github.com/quorate/quorate"

// levels are the rooms of internal/, lowest first. A room imports rooms of
// lower levels only; packages below a room (internal/dkg/dkgtest) count as it.
var levels = [][]string{
	0: {"secret", "wire", "durable", "eth", "ident", "rpc", "qr"},
	1: {"bls", "kem", "action", "proof", "credential"},
	2: {"keystore", "dkg", "slashing", "slasher", "policy", "seal"},
	3: {"ledger", "custody", "rehearsal", "participant"},
	4: {"store", "peer", "hall"},
	5: {"quorum", "audit"},
	6: {"signer"},
	7: {"node"},
	8: {"signerapi", "opsapi", "migrate", "bench", "cli"},
}

// sideways are the imports within a level.
var sideways = map[[2]string]string{
	{"eth", "wire"}:      "duties cross the custody socket in the one canonical encoding",
	{"ident", "wire"}:    "an identity key signs under a wire.Tag only",
	{"rpc", "wire"}:      "frames are in the one canonical encoding, under its limits",
	{"durable", "wire"}:  "a log's frames are bounded by the same limits",
	{"cli", "opsapi"}:    "the command line speaks the operator API's own types until client/ does",
	{"cli", "migrate"}:   "commands read other signers' databases through it",
	{"cli", "bench"}:     "bench measures a cluster from outside; cli's supervisor starts it",
	{"cli", "signerapi"}: "cli assembles a node process: engine, signer and operator APIs in one Run",
}

// An only rule names the rooms that may import a package, or any below it;
// "cmd" stands for the binaries.
type only struct {
	path   string
	rooms  []string
	tests  bool // whether tests of other rooms may, too
	reason string
}

var onlyRules = []only{
	{"github.com/supranational/blst", []string{"bls"}, false, "secret scalars meet constant-time code only, in one room that wipes them"},
	{"github.com/cometbft/cometbft", []string{"node"}, true, "the consensus engine can be replaced in one room; tests cross-check our own verifier against its types"},
	{"github.com/cometbft/cometbft-db", []string{"node", "store"}, true, "databases are the engine's and the ledger store's"},
	{"github.com/cosmos/iavl", []string{"store"}, true, "only the ledger's disk knows which tree it is; tests cross-check our proofs"},
	{"github.com/cosmos/ics23", []string{"store"}, true, "the tree's proofs become ours where they are made; what verifies them is package proof"},
	{"github.com/cloudflare/circl", []string{"kem", "ident"}, true, "post-quantum primitives stand behind typed keys"},
	{"github.com/oasisprotocol/curve25519-voi", []string{"kem", "ident"}, false, "group arithmetic stands behind typed keys"},
	{"github.com/gtank/ristretto255", nil, true, "tests compare with it; verify/ has it too"},
	{"golang.org/x/crypto/ssh", []string{"credential"}, true, "people's agents are asked in one room; what verifies their signatures is package ident, ours"},
	{"filippo.io/age", []string{"credential"}, true, "key files of people are sealed in one room"},
	{"github.com/makiuchi-d/gozxing", []string{"qr"}, false, "pictures from cameras are decoded in one room, which holds no secret"},
	{"github.com/go-webauthn/webauthn", []string{"opsapi"}, false, "it reads attestations at the door; assertions are verified by package ident, on every ledger"},
	{"github.com/cedar-policy/cedar-go", []string{"policy"}, false, "the ledger asks a policy, not the language that it is written in"},
	{"cel.dev/cel-go", []string{"policy"}, false, "conditions are CEL cut down to what is equal everywhere, in one room that knows how far"},
	{"github.com/jackc/pgx", []string{"migrate"}, false, "a database driver is there to read what other signers left, and for nothing else"},
	{"github.com/spf13/cobra", []string{"cli"}, false, "flags become a Config before anything runs"},
	{module + "/internal/custody", []string{"signer", "node", "cmd"}, true, "shares live behind one socket, and only rooms above the ledger talk to it"},
	{module + "/internal/cli", []string{"cmd"}, false, "commands are the outermost layer: only cmd/ runs them"},
	{module + "/internal/slasher", []string{}, true, "the judge of our tests shares no line with what it judges, and no product links it"},
}

// A never rule names what rooms must not link, however indirectly.
type never struct {
	rooms  []string
	paths  []string
	reason string
}

var neverRules = []never{
	{[]string{"secret", "wire", "durable", "eth", "ident", "rpc", "bls", "kem", "action", "proof", "keystore", "dkg", "slashing", "seal", "custody"},
		[]string{"net/http", "crypto/tls", "github.com/cometbft", "github.com/cosmos"},
		"custody links these rooms: what cannot speak to a network cannot be talked into it"},
	{[]string{"participant", "qr"}, []string{"net/http", "crypto/tls", "github.com/cometbft", "github.com/cosmos", module + "/internal/ledger"},
		"what a participant's keys are used by runs on machines without a network, and replays instead of believing a ledger"},
	{[]string{"custody"}, []string{module + "/internal/ledger", module + "/internal/policy"},
		"custody believes proofs, it does not run or second-guess the state machine"},
	{[]string{"ledger"}, []string{module + "/internal/slashing", module + "/internal/seal", module + "/internal/keystore"},
		"the ledger decides and remembers; it never sees a share"},
}

// pure rooms compute: time, randomness and I/O come to them as arguments, so
// that replicas agree and ceremonies replay byte for byte.
var pure = []string{"wire", "action", "proof", "kem", "dkg", "policy", "ledger"}

var impure = []string{"os", "net", "crypto/rand", "math/rand", "math/rand/v2", "time.Now", "time.Since", "time.After", "time.Sleep", "policy.PinZone"}

// exposers may take bytes out of a secret's holder, by a method whose name
// begins with Expose.
var exposers = map[string]string{
	"internal/secret/bytes.go":      "its own length and comparison",
	"internal/bls/derive.go":        "EIP-2333 inside blst",
	"internal/bls/key.go":           "blst signs, multiplies and derives public keys from scalars in locked memory",
	"internal/bls/selftest.go":      "known answers of published keys, before any real one is opened",
	"internal/keystore/keystore.go": "EIP-2335 derives from the password and encrypts the scalar",
	"internal/seal/root.go":         "a new root goes to its file; a key derives from it",
	"internal/seal/sealer.go":       "the AEAD takes key and plaintext",
	"internal/dkg/coins.go":         "a ceremony's coins derive from its seed (decision 0002)",
	"internal/dkg/deal.go":          "the imported key is the constant term that its dealer shares",
	"internal/audit/checkpoint.go":  "the classical line of a checkpoint is a plain Ed25519 signature, as other tools verify it",
	"internal/dkg/receive.go":       "a refresh adds to the share that its holder has",
	"internal/custody/renew.go":     "a new share is labelled with its ceremony while its epoch is not committed",
	"internal/custody/process.go":   "the identity key is rebuilt from its sealed seed",
	"internal/custody/shares.go":    "a share leaves the safe and becomes one that signs",
	"internal/custody/ceremony.go":  "new shares and imported keys go into the safe",
	"internal/credential/box.go":    "age derives from the passphrase; secrets of a person go into its files",
	"internal/participant/share.go": "a participant's share goes into its sealed file",
	"internal/node/keys.go":         "identity and consensus keys are rebuilt from their sealed seeds",
	"internal/node/node.go":         "TLS between nodes signs with the identity's Ed25519 half",
	"internal/node/comet.go":        "CometBFT signs votes and handshakes with keys of its own type",
	"internal/bench/rehearsal.go":   "a measured ceremony keeps its shares in locked memory, as custody does, and throws them away",
	"internal/cli/migrate.go":       "the driver takes the connection string with its password",
	"internal/opsapi/challenge.go":  "HMAC takes the key",
	"internal/opsapi/client.go":     "a bearer token goes into its header, a keystore's password into the body",

	"internal/dkg/assembly/sign.go":        "a participant's share signs, under our own tags",
	"internal/dkg/assembly/participant.go": "a large ceremony's coins derive from its seed",
}

type pkg struct {
	ImportPath                         string
	Dir                                string
	Standard                           bool
	Module                             *struct{ Path string }
	Imports, TestImports, XTestImports []string
	Deps                               []string
	GoFiles, CgoFiles                  []string
}

// room returns the room that a path belongs to, "" outside internal/.
func room(path string) string {
	rest, ok := strings.CutPrefix(path, module+"/internal/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// forTests says whether a package is test support by its name.
func forTests(path string) bool {
	return strings.HasPrefix(path, module) && strings.HasSuffix(path, "test") && strings.Count(path, "/") > 4
}

func under(path, parent string) bool {
	return path == parent || strings.HasPrefix(path, parent+"/")
}

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Standard,Module,Imports,TestImports,XTestImports,Deps,GoFiles,CgoFiles"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func TestLattice(t *testing.T) {
	level := map[string]int{}
	for l, rooms := range levels {
		for _, r := range rooms {
			level[r] = l
		}
	}
	used := map[[2]string]bool{}
	for _, p := range list(t, "./...") {
		from := room(p.ImportPath)
		if _, known := level[from]; from != "" && !known {
			t.Errorf("room %s has no level: give it one in lattice_test.go and a row in ARCHITECTURE.md", from)
			continue
		}
		for _, path := range p.Imports {
			if forTests(path) && !forTests(p.ImportPath) {
				t.Errorf("%s imports %s, which is for tests", p.ImportPath, path)
			}
			to := room(path)
			if from == "" || to == "" || to == from || forTests(p.ImportPath) {
				continue
			}
			if level[to] < level[from] {
				continue
			}
			if edge := [2]string{from, to}; level[to] == level[from] && sideways[edge] != "" {
				used[edge] = true
				continue
			}
			t.Errorf("%s (level %d) imports %s (level %d): imports go down only", p.ImportPath, level[from], path, level[to])
		}
		checkOnly(t, p, from)
	}
	for edge := range sideways {
		if !used[edge] {
			t.Errorf("%s no longer imports %s: take the exception off the list", edge[0], edge[1])
		}
	}
}

func checkOnly(t *testing.T, p pkg, from string) {
	if strings.HasPrefix(p.ImportPath, module+"/cmd/") {
		from = "cmd"
	}
	for _, rule := range onlyRules {
		imports := p.Imports
		if !rule.tests {
			imports = slices.Concat(p.Imports, p.TestImports, p.XTestImports)
		}
		for _, path := range imports {
			allowed := slices.Contains(rule.rooms, from) || from != "" && from == room(rule.path) || rule.tests && forTests(p.ImportPath)
			if under(path, rule.path) && !allowed {
				t.Errorf("%s imports %s, which only %v may: %s", p.ImportPath, path, rule.rooms, rule.reason)
			}
		}
	}
}

func TestNeverLinked(t *testing.T) {
	for _, p := range list(t, "./internal/...") {
		for _, rule := range neverRules {
			if !slices.Contains(rule.rooms, room(p.ImportPath)) || forTests(p.ImportPath) {
				continue
			}
			for _, dep := range p.Deps {
				for _, path := range rule.paths {
					if under(dep, path) {
						t.Errorf("%s links %s: %s", p.ImportPath, dep, rule.reason)
					}
				}
			}
		}
	}
}

// TestCustodyClosure pins everything in the custody binary that is not the
// standard library's: a new line is more code that could read shares.
func TestCustodyClosure(t *testing.T) {
	var linked []string
	for _, p := range list(t, "-deps", "./cmd/quorate-custody") {
		switch {
		case under(p.ImportPath, "net/http"), under(p.ImportPath, "crypto/tls"), strings.HasPrefix(p.ImportPath, "github.com/cometbft/"):
			t.Errorf("quorate-custody links %s", p.ImportPath)
		case p.Standard:
		default:
			linked = append(linked, p.ImportPath)
		}
	}
	slices.Sort(linked)
	got := strings.Join(linked, "\n") + "\n"
	golden := filepath.Join("testdata", "custody-deps.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("what quorate-custody links has changed (if it is meant: go test -run TestCustodyClosure . -update):\n%s", diff)
	}
}

// TestPure holds the rooms to it that must not know what time it is.
func TestPure(t *testing.T) {
	eachFile(t, func(path string, file *ast.File) {
		r := room(module + "/" + filepath.ToSlash(filepath.Dir(path)))
		if !slices.Contains(pure, r) || forTests(module+"/"+filepath.ToSlash(filepath.Dir(path))) {
			return
		}
		for _, spec := range file.Imports {
			if name := strings.Trim(spec.Path.Value, `"`); slices.Contains(impure, name) {
				t.Errorf("%s imports %s: %s is a pure room", path, name, r)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && slices.Contains(impure, x.Name+"."+sel.Sel.Name) {
					t.Errorf("%s calls %s.%s: %s is a pure room", path, x.Name, sel.Sel.Name, r)
				}
			}
			return true
		})
	})
}

// TestExposers finds every place where secret bytes leave their holder.
func TestExposers(t *testing.T) {
	found := map[string]bool{}
	eachFile(t, func(path string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if ok && strings.HasPrefix(sel.Sel.Name, "Expose") {
				found[filepath.ToSlash(path)] = true
			}
			return true
		})
	})
	for path := range found {
		if exposers[path] == "" {
			t.Errorf("%s exposes secret bytes: give the reason in lattice_test.go, or use an operation of the secret's type", path)
		}
	}
	for path := range exposers {
		if !found[path] {
			t.Errorf("%s no longer exposes anything: take it off the list", path)
		}
	}
}

// eachFile visits the module's Go files that are not tests.
func eachFile(t *testing.T, visit func(path string, file *ast.File)) {
	t.Helper()
	fset := token.NewFileSet()
	for _, root := range []string{"internal", "cmd"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				if d.Name() == "testdata" || strings.HasSuffix(d.Name(), "test") && path != root {
					return fs.SkipDir
				}
				return nil
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			visit(path, file)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
