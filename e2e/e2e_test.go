package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/opsapi"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/signerapi"
)

const readmePath = "../README.md"

// bin is where the binaries are, "" where whole clusters do not run.
var bin string

func TestMain(m *testing.M) {
	if os.Getenv("QUORATE_CHECK") == "" {
		os.Exit(m.Run())
	}
	var err error
	if bin, err = os.MkdirTemp("", "quorate-e2e"); err != nil {
		log.Fatal(err)
	}
	code := 1
	if err := errors.Join(build(".", "../cmd/quorate", "../cmd/quorate-custody"), build("../verify", "./cmd/quorate-verify")); err != nil {
		log.Print(err)
	} else {
		code = m.Run()
	}
	os.RemoveAll(bin)
	os.Exit(code)
}

func build(module string, commands ...string) error {
	if out, err := exec.Command("go", append([]string{"build", "-C", module, "-o", bin}, commands...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", commands, err, out)
	}
	return nil
}

// needsClusters skips a test where whole clusters do not run.
func needsClusters(t *testing.T) {
	t.Helper()
	if bin == "" {
		t.Skip("whole clusters run under ./check, or with QUORATE_CHECK=1")
	}
}

// patience is how long a test waits for what comes within a second on an idle
// machine. Nothing is measured by it: whoever waits in vain has found a fault.
const patience = time.Minute

// scriptTime bounds one script.
const scriptTime = 5 * time.Minute

// script runs beside others already, and bounds its time from its own start.
type script struct{ *testing.T }

func (script) Parallel()                              {}
func (script) Verbose() bool                          { return testing.Verbose() }
func (s script) Run(_ string, f func(t testscript.T)) { f(s) }

func TestScripts(t *testing.T) {
	needsClusters(t)
	t.Parallel()
	scripts, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			play(script{t}, file)
		})
	}
}

func play(t script, file string) {
	testscript.RunT(t, testscript.Params{
		Files:    []string{file},
		Deadline: time.Now().Add(scriptTime),
		Setup: func(env *testscript.Env) error {
			base, err := freePorts()
			env.Setenv("BASE", strconv.Itoa(base))
			env.Values[browser{}] = &browser{}
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": await, "load": load, "take": take, "http": ask, "signal": signal, "verify": verify, "gone": gone, "forget": forget, "readme": readme,
			"request": request, "bend": bend, "lie": lie, "deal": deal,
			"exits": exits, "keep": keep, "until": until, "prompt": prompt, "browse": browse,
		},
	})
}

// taken are the ports that this run has used: tests run beside each other.
var taken sync.Map

// freePorts returns the first of 70 ports that nobody listens on. It begins
// somewhere, so that two runs on one machine do not get in each other's way.
func freePorts() (int, error) {
	const lowest, highest = 20000, 32000 // below what the kernel gives to outgoing connections
search:
	for range 1000 {
		base := lowest + rand.IntN((highest-lowest)/100)*100
		if _, used := taken.LoadOrStore(base, true); used {
			continue
		}
		for port := base; port < base+70; port++ {
			l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err != nil {
				continue search
			}
			l.Close()
		}
		return base, nil
	}
	return 0, fmt.Errorf("no free ports between %d and %d", lowest, highest)
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await FILE")
	}
	if !eventually(2*patience, func() bool { _, err := os.Stat(ts.MkAbs(args[0])); return err == nil }) {
		ts.Fatalf("%s did not come", args[0])
	}
}

// eventually tries until it works, or until the limit is over.
func eventually(limit time.Duration, try func() bool) bool {
	end := time.Now().Add(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !try() {
		if time.Now().After(end) {
			return false
		}
		<-tick.C
	}
	return true
}

// request sets REQUEST to the transaction of the first event in a file.
func request(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: request FILE")
	}
	var event struct{ Request string }
	ts.Check(json.NewDecoder(strings.NewReader(ts.ReadFile(args[0]))).Decode(&event))
	ts.Setenv("REQUEST", event.Request)
}

// bend flips a bit somewhere in a file.
func bend(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: bend FILE")
	}
	raw := []byte(ts.ReadFile(args[0]))
	at := rand.IntN(len(raw))
	raw[at] ^= 1 << rand.IntN(8)
	ts.Logf("bit of byte %d of %d flipped", at, len(raw))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), raw, 0o600))
}

func load(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: load FILE")
	}
	var s struct {
		Cluster, Network string
		Validators       []string
		Token            string `json:"keymanager_token_file"`
		Nodes            []struct {
			Home, Signer, Ops, Metrics string
			PID                        int
			Custody                    map[string]int `json:"custody_pids"`
		}
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &s))
	people(ts, []byte(ts.ReadFile(args[0])))
	ts.Setenv("CLUSTER", s.Cluster)
	ts.Setenv("NETWORK", s.Network)
	ts.Setenv("TOKEN_FILE", s.Token)
	for i, v := range s.Validators {
		ts.Setenv(fmt.Sprintf("VALIDATOR_%d", i), v)
	}
	for i, n := range s.Nodes {
		for name, value := range map[string]string{
			"SIGNER": n.Signer, "OPS": n.Ops, "METRICS": n.Metrics, "HOME": n.Home,
			"PID": strconv.Itoa(n.PID), "CUSTODY": strconv.Itoa(n.Custody["validator"]),
		} {
			ts.Setenv(fmt.Sprintf("NODE_%d_%s", i, name), value)
		}
	}
}

// take sets a variable to what the last command's output has at a group.
func take(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: take NAME REGEXP")
	}
	found := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) != 2 {
		ts.Fatalf("the output does not match %s", args[1])
	}
	ts.Setenv(args[0], found[1])
}

// level is levelled for a script's nodes.
func level(ts *testscript.TestScript) {
	var nodes []string
	for i := 0; ts.Getenv(fmt.Sprintf("NODE_%d_OPS", i)) != ""; i++ {
		nodes = append(nodes, ts.Getenv(fmt.Sprintf("NODE_%d_OPS", i)))
	}
	levelled(nodes)
}

// levelled waits until the nodes that answer have the same ledger: others learn
// of a change a moment later than the one that was asked for it.
func levelled(nodes []string) {
	eventually(patience, func() bool {
		var least, most uint64
		for _, n := range nodes {
			st, err := opsapi.NewClient(n, secret.Bytes{}).Status(context.Background())
			if err != nil {
				continue // it has ended
			}
			if most = max(most, st.Height); least == 0 || st.Height < least {
				least = st.Height
			}
		}
		return least == most
	})
}

// ask makes a request and wants a status; with a ~ after it, soon, and with an
// answer that matches what follows: a node's signer hears of what the ledger
// decided a moment after the ledger.
func ask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args) > 4 {
		ts.Fatalf("usage: http STATUS[~[PATTERN]] METHOD URL [FILE]")
	}
	want, pattern, soon := strings.Cut(args[0], "~")
	expected := regexp.MustCompile(pattern)
	var status int
	var raw []byte
	level(ts)
	eventually(patience, func() bool {
		status, raw = answer(ts, args[1:])
		return !soon || strconv.Itoa(status) == want && expected.Match(raw)
	})
	fmt.Fprintf(ts.Stdout(), "%s", raw)
	if strconv.Itoa(status) != want {
		ts.Fatalf("status %d, want %s: %s", status, want, bytes.TrimSpace(raw))
	}
}

// answer makes a request: METHOD URL [FILE].
func answer(ts *testscript.TestScript, args []string) (int, []byte) {
	var body io.Reader
	if len(args) == 3 {
		body = strings.NewReader(ts.ReadFile(args[2]))
	}
	req, err := http.NewRequest(args[0], args[1], body)
	ts.Check(err)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if file := ts.Getenv("BEARER"); file != "" {
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(ts.ReadFile(file)))
	}
	resp, err := (&http.Client{Timeout: patience}).Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	ts.Check(err)
	return resp.StatusCode, raw
}

func signal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT}
	if neg || len(args) != 2 || signals[args[0]] == 0 {
		ts.Fatalf("usage: signal KILL|TERM|INT PID")
	}
	pid, err := strconv.Atoi(args[1])
	ts.Check(err)
	if pid <= 1 {
		ts.Fatalf("no process %d", pid)
	}
	ts.Check(syscall.Kill(pid, signals[args[0]]))
}

func verify(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: verify NETWORK PUBKEY FILE")
	}
	network, err := eth.LookupNetwork(args[0])
	ts.Check(err)
	rawKey, err := hex.DecodeString(strings.TrimPrefix(args[1], "0x"))
	ts.Check(err)
	key, err := bls.ParsePublicKey(rawKey)
	ts.Check(err)
	request, err := signerapi.ParseSignRequest([]byte(ts.ReadFile(args[2])), network)
	ts.Check(err)
	root, err := request.Duty.SigningRoot(network)
	ts.Check(err)
	rawSig, err := hex.DecodeString(strings.TrimPrefix(strings.TrimSpace(ts.ReadFile("stdout")), "0x"))
	ts.Check(err)
	sig, err := bls.ParseSignature(rawSig)
	ts.Check(err)
	if bls.Verify(key, root, sig) == neg {
		ts.Fatalf("signature verifies: %t", neg)
	}
}

// gone waits until processes have ended.
func gone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: gone PID...")
	}
	for _, pid := range args {
		if !eventually(patience, func() bool { return !alive(pid) }) {
			ts.Fatalf("process %s still runs", pid)
		}
	}
}

// alive reports whether a process exists and is not a zombie.
func alive(pid string) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

// forget removes a custody process's slashing record, as a lost disk would.
func forget(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: forget DIR")
	}
	files, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "slashing*"))
	ts.Check(err)
	if len(files) == 0 {
		ts.Fatalf("no slashing record in %s", args[0])
	}
	for _, f := range files {
		ts.Check(os.RemoveAll(f))
	}
}

// readme writes the request that the README shows to a file.
func readme(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: readme FILE")
	}
	text, err := os.ReadFile(readmePath)
	ts.Check(err)
	_, rest, found := strings.Cut(string(text), "-d '{")
	request, _, ended := strings.Cut(rest, "'\n")
	if !found || !ended {
		ts.Fatalf("the README shows no request")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte("{"+request), 0o600))
}
