package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// exits runs quorate and asserts what it exits with. An argument that holds
// several flags, as a variable does, is taken apart.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE ARGS...")
	}
	if got := strconv.Itoa(run(ts, args[1:])); got != args[0] {
		ts.Fatalf("quorate exits with %s, want %s", got, args[0])
	}
}

func run(ts *testscript.TestScript, args []string) int {
	level(ts)
	var flat []string
	for _, a := range args {
		if strings.HasPrefix(a, "--") && strings.Contains(a, " --") {
			flat = append(flat, strings.Fields(a)...)
		} else {
			flat = append(flat, a)
		}
	}
	err := ts.Exec("quorate", flat...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("run quorate: %v", err)
	}
	if exit != nil {
		return exit.ExitCode()
	}
	return 0
}

// keep puts what a pattern captures in stdout into a variable.
func keep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: keep VARIABLE PATTERN")
	}
	found := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) != 2 {
		ts.Fatalf("stdout does not match %q", args[1])
	}
	ts.Setenv(args[0], found[1])
}

// until runs quorate until its output matches.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN ARGS...")
	}
	pattern := regexp.MustCompile(args[0])
	if !eventually(patience, func() bool { run(ts, args[1:]); return pattern.MatchString(ts.ReadFile("stdout")) }) {
		ts.Fatalf("%q does not come", args[0])
	}
}

// prompt asserts that a request was executed within two blocks of the height
// at which its lock ended, and soon after the lock's time, by its own events.
func prompt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: prompt OPS REQUEST")
	}
	get := func(path string, into any) {
		resp, err := (&http.Client{Timeout: patience}).Get(args[0] + path)
		ts.Check(err)
		defer resp.Body.Close()
		ts.Check(json.NewDecoder(resp.Body).Decode(into))
	}
	var r struct {
		Lock struct {
			Until  time.Time `json:"until"`
			Height uint64    `json:"until_height"`
		}
	}
	get("/v1/requests/"+args[1], &r)
	var log struct {
		Events []struct {
			Kind, Object string
			Height       uint64
			Time         time.Time
		}
	}
	get("/v1/events?limit=1000", &log)
	for _, e := range log.Events {
		if e.Kind != "executed" || e.Object != "request/"+args[1] {
			continue
		}
		late := e.Time.Sub(r.Lock.Until)
		ts.Logf("executed at height %d, the lock ended at %d; %v after its time", e.Height, r.Lock.Height, late)
		// Blocks of an idle ledger come when something is due: a node looks each
		// second. Nobody looking, it would be the heartbeat, after a minute.
		if late < 0 || late > 30*time.Second || e.Height < r.Lock.Height {
			ts.Fatalf("too early or too late")
		}
		return
	}
	ts.Fatalf("request %s was not executed", args[1])
}

// people reads the key files of a dev.json into $KEY_NAME.
func people(ts *testscript.TestScript, state []byte) {
	var s struct{ People map[string]string }
	ts.Check(json.NewDecoder(bytes.NewReader(state)).Decode(&s))
	for id, path := range s.People {
		ts.Setenv(fmt.Sprintf("KEY_%s", strings.ToUpper(id)), path)
	}
}
