package e2e

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/quorate/quorate/internal/action"
)

// browser is a headless Chromium with an authenticator of its own, driven over
// the DevTools protocol. What it makes and signs is what a person's browser
// does; only the finger is missing.
type browser struct {
	conn *websocket.Conn
	last int // id of the last command
}

// The page's half of a passkey's life. What it sends is what the APIs of the
// standard return, as their own toJSON writes it.
const passkeyPage = `
const ask = async (path, body) => {
  const r = await fetch(path, {method: body ? "POST" : "GET", headers: {"Content-Type": "application/json"}, body: body && JSON.stringify(body)});
  const answer = await r.json();
  if (!r.ok) throw new Error(path + ": " + r.status + " " + JSON.stringify(answer));
  return answer;
};
const enrol = async (member) => {
  const o = await ask("/v1/passkeys/options", {member});
  const made = await navigator.credentials.create({publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(o.publicKey)});
  return (await ask("/v1/passkeys", {member, credential: made.toJSON()})).credential;
};
const sign = async (o) => (await navigator.credentials.get({publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(o)})).toJSON();
const login = async (member) => {
  const c = await ask("/v1/login/challenge", {member});
  await ask("/v1/login", {member, challenge: c.challenge, credential: await sign(c.publicKey)});
  return (await ask("/v1/login")).member;
};
const say = async (member, kind, body) => {
  const p = await ask("/v1/transactions/prepare", {member, kind, body});
  return (await ask("/v1/transactions", {transaction: p.transaction, credential: await sign(p.publicKey)})).hash;
};
`

// browse lets the script's browser do something at a node's operator API, and
// prints what comes of it:
//
//	browse URL enrol MEMBER
//	browse URL login MEMBER
//	browse URL approve MEMBER REQUEST
//
// The passkeys live as long as the script.
func browse(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: browse URL enrol|login|approve MEMBER [REQUEST]")
	}
	page, member := strings.Replace(args[0], "127.0.0.1", "localhost", 1), args[2]
	js := fmt.Sprintf("%s(%q)", args[1], member)
	if args[1] == "approve" {
		js = fmt.Sprintf("say(%q, %d, %q)", member, action.KindDecision, decision(ts, args[0], args[3]))
	}
	level(ts)
	b, ok := ts.Value(browser{}).(*browser)
	if !ok {
		ts.Fatalf("this script has no browser")
	}
	if b.conn == nil {
		ts.Check(b.open(ts))
	}
	out, err := b.visit(page+"/v1/status", js)
	ts.Logf("%s: %s %v", js, out, err)
	if neg != (err != nil) {
		ts.Fatalf("%s at %s: %v", args[1], page, err)
	}
	ts.Setenv("BROWSED", out)
}

// decision is the body of an approval of what a node says a request is.
func decision(ts *testscript.TestScript, ops, id string) string {
	resp, err := http.Get(ops + "/v1/requests/" + id)
	ts.Check(err)
	defer resp.Body.Close()
	var r struct{ ID, Action, Policy string }
	ts.Check(json.NewDecoder(resp.Body).Decode(&r))
	part := func(text string) []byte {
		raw, err := hex.DecodeString(text)
		ts.Check(err)
		return raw
	}
	d := action.Decision{
		Request: [32]byte(part(r.ID)), Policy: [32]byte(part(r.Policy)), Verdict: action.Approve,
		Action: action.HashAction(action.ClusterID(part(ts.Getenv("CLUSTER"))), part(r.Action)),
	}
	return hex.EncodeToString(d.Encode())
}

// open starts the browser with an authenticator that verifies its user.
func (b *browser) open(ts *testscript.TestScript) error {
	cmd := exec.Command("chromium-headless-shell", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--user-data-dir="+ts.MkAbs("browser"), "about:blank")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	says, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start browser: %w", err)
	}
	ts.Defer(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) //nolint:errcheck // it ended
		cmd.Wait()                                      //nolint:errcheck // killed
	})
	var host string
	lines := bufio.NewScanner(says)
	for host == "" && lines.Scan() {
		if _, url, ok := strings.Cut(lines.Text(), "DevTools listening on ws://"); ok {
			host, _, _ = strings.Cut(url, "/")
		}
	}
	go io.Copy(io.Discard, says) //nolint:errcheck // what else it says is of no use
	url, err := firstPage(host)
	if err != nil {
		return fmt.Errorf("find page: %w", err)
	}
	if b.conn, _, err = websocket.DefaultDialer.Dial(url, nil); err != nil {
		return fmt.Errorf("attach to page: %w", err)
	}
	ts.Defer(func() { b.conn.Close() })
	type m = map[string]any
	return errors.Join(
		b.call("Page.enable", m{}, nil),
		b.call("WebAuthn.enable", m{}, nil),
		b.call("WebAuthn.addVirtualAuthenticator", m{"options": m{"protocol": "ctap2", "transport": "internal", "hasResidentKey": true,
			"hasUserVerification": true, "isUserVerified": true, "automaticPresenceSimulation": true}}, nil))
}

// firstPage returns where the browser's page is driven. The browser listens
// before it has one.
func firstPage(host string) (url string, err error) {
	there := eventually(patience, func() bool {
		var resp *http.Response
		if resp, err = http.Get("http://" + host + "/json/list"); err != nil {
			return false
		}
		defer resp.Body.Close()
		var pages []struct {
			Type string
			URL  string `json:"webSocketDebuggerUrl"`
		}
		if err = json.NewDecoder(resp.Body).Decode(&pages); err != nil || len(pages) == 0 {
			return false
		}
		url = pages[0].URL
		return true
	})
	if !there && err == nil {
		err = errors.New("there is none")
	}
	return url, err
}

// visit runs an expression on a page, and returns what it resolves to.
func (b *browser) visit(url, js string) (string, error) {
	if err := b.call("Page.navigate", map[string]any{"url": url}, nil); err != nil {
		return "", err
	}
	var got struct {
		Result           struct{ Value string }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	script := fmt.Sprintf("(async () => {%s\nreturn await %s;})()", passkeyPage, js)
	if err := b.call("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "userGesture": true}, &got); err != nil {
		return "", err
	}
	if e := got.ExceptionDetails; e != nil {
		return "", fmt.Errorf("%s %s", e.Text, e.Exception.Description)
	}
	return got.Result.Value, nil
}

// call sends a command and waits for its answer; events pass by.
func (b *browser) call(method string, params map[string]any, out any) error {
	b.last++
	if err := b.conn.WriteJSON(map[string]any{"id": b.last, "method": method, "params": params}); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if err := b.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	for {
		var answer struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := b.conn.ReadJSON(&answer); err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		switch {
		case answer.ID != b.last:
		case answer.Error != nil:
			return fmt.Errorf("%s: %s", method, answer.Error.Message)
		case out == nil:
			return nil
		default:
			return json.Unmarshal(answer.Result, out)
		}
	}
}
