package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/quorate/quorate/internal/bls"
)

// leakScanner looks for secrets in everything that a cluster leaves behind or
// shows, in every form in which a program might have put them there.
type leakScanner struct {
	forms []form
}

type form struct {
	name string // "password of the first key, hex"
	file string // the one kind of file that is the secret's place, "" for none
	text []byte
}

// add looks for a secret from now on, but not in files called home, which are
// its place.
func (s *leakScanner) add(name string, secret []byte, home string) {
	add := func(how string, text []byte) {
		known := slices.ContainsFunc(s.forms, func(f form) bool { return bytes.Equal(f.text, text) && f.file == home })
		if !known && len(text) > 0 {
			s.forms = append(s.forms, form{name + ", " + how, home, text})
		}
	}
	for order, whole := range map[string][]byte{"": secret, "reversed ": reversed(secret)} {
		add(order+"decimal", []byte(new(big.Int).SetBytes(whole).String()))
		add(order+"escaped", []byte(strings.Trim(strconv.QuoteToASCII(string(whole)), `"`)))
		add(order+"URL", []byte(url.QueryEscape(string(whole))))
		// Half of it is a leak, too.
		for _, part := range [][]byte{whole[:len(whole)/2], whole[len(whole)/2:]} {
			add(order+"raw", part)
			add(order+"hex", []byte(hex.EncodeToString(part)))
			add(order+"HEX", []byte(strings.ToUpper(hex.EncodeToString(part))))
			add(order+"hex, reversed", reversed([]byte(hex.EncodeToString(part))))
			list := fmt.Sprint(part)
			add(order+"list", []byte(strings.Trim(list, "[]")))
			add(order+"JSON list", []byte(strings.ReplaceAll(strings.Trim(list, "[]"), " ", ",")))
			for shift := range 3 {
				for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
					add(fmt.Sprintf("%s%s from byte %d", order, name, shift), inBase64(enc, part, shift))
				}
			}
		}
	}
}

// inBase64 returns what is the same of a text in base64 whatever stands before
// and after it, when it begins shift bytes into a group of three.
func inBase64(enc *base64.Encoding, part []byte, shift int) []byte {
	text := enc.EncodeToString(append(make([]byte, shift), part...))
	from := (8*shift + 5) / 6         // first character without a bit of what stands before
	to := 8 * (shift + len(part)) / 6 // and without one of what follows
	return []byte(text[from:to])
}

func reversed(b []byte) []byte {
	out := slices.Clone(b)
	slices.Reverse(out)
	return out
}

// find returns what a text betrays. Place is a file's name where it is one.
func (s *leakScanner) find(place string, text []byte) (leaks []string) {
	for _, f := range s.forms {
		if (f.file == "" || filepath.Base(place) != f.file) && bytes.Contains(text, f.text) {
			leaks = append(leaks, fmt.Sprintf("%s: %s", place, f.name))
		}
	}
	return leaks
}

// notScanned are the files in which secrets lie under a seal. A seal's root,
// and a token's file, are what they are; they are scanned for everything else.
var notScanned = []string{"node.sealed", "identity.sealed", "shares.safe"}

// files scans a directory and returns how many files it read.
func (s *leakScanner) files(dir string) (leaks []string, read int, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the engine's databases come and go
		}
		if err != nil || !d.Type().IsRegular() || slices.Contains(notScanned, d.Name()) {
			return err
		}
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		read++
		leaks = append(leaks, s.find(path, raw)...)
		return nil
	})
	return leaks, read, err
}

// process scans what the system shows of a process.
func (s *leakScanner) process(pid int) (leaks []string, err error) {
	for _, what := range []string{"cmdline", "environ"} {
		path := fmt.Sprintf("/proc/%d/%s", pid, what)
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrPermission) {
			continue // a process that hardened itself shows its environment to root alone
		}
		if err != nil || len(raw) == 0 && what == "cmdline" {
			return nil, fmt.Errorf("%s: %d bytes, %v", path, len(raw), err)
		}
		leaks = append(leaks, s.find(path, raw)...)
	}
	return leaks, nil
}

// TestLeakScannerFires: a scanner that finds nothing has to be one that would.
func TestLeakScannerFires(t *testing.T) {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(0x91 + 7*i)
	}
	password := []byte(`pass "word"` + "\t" + `für alle 0123456789abcdef`)
	var s leakScanner
	s.add("key", key, "")
	s.add("password", password, "")
	s.add("token", []byte("0123456789abcdeffedcba9876543210"), "ops.token")
	enc := base64.StdEncoding.EncodeToString
	planted := map[string]string{}
	for _, secret := range [][]byte{key, password} {
		for order, b := range map[string][]byte{"": secret, "reversed ": reversed(secret)} {
			name := fmt.Sprintf("%s%.5q ", order, secret)
			planted[name+"raw"] = "xx" + string(b) + "yy"
			planted[name+"first half"] = string(b[:len(b)/2])
			planted[name+"last half in hex"] = fmt.Sprintf("at=%x;", b[len(b)/2:])
			planted[name+"hex"] = fmt.Sprintf("0x%x", b)
			planted[name+"HEX"] = fmt.Sprintf("%X", b)
			planted[name+"decimal"] = new(big.Int).SetBytes(b).String()
			planted[name+"%v"] = fmt.Sprint(b)
			planted[name+"%q"] = fmt.Sprintf("%+q", string(b))
			planted[name+"URL"] = "?p=" + url.QueryEscape(string(b))
			planted[name+"base64url"] = base64.URLEncoding.EncodeToString(b)
			for pad := range 4 {
				planted[fmt.Sprintf("%sbase64 after %d bytes", name, pad)] = enc(slices.Concat([]byte("abcd")[:pad], b, []byte("tail")))
			}
			var list []int
			for _, v := range b {
				list = append(list, int(v))
			}
			raw, err := json.Marshal(list)
			if err != nil {
				t.Fatal(err)
			}
			planted[name+"JSON"] = string(raw)
		}
	}
	for what, text := range planted {
		if len(s.find("log", []byte(text))) == 0 {
			t.Errorf("%s was not found: %q", what, text)
		}
	}
	for _, innocent := range []string{"", "pass word", fmt.Sprintf("%x", key[:8]), "0123456789abcde", `"password": "wrong password"`} {
		if leaks := s.find("log", []byte(innocent)); len(leaks) != 0 {
			t.Errorf("%q is no leak: %q", innocent, leaks)
		}
	}
	token := []byte("0123456789abcdeffedcba9876543210\n")
	if leaks := s.find("node0/ops.token", token); len(leaks) != 0 {
		t.Errorf("a token in its place: %q", leaks)
	}
	if len(s.find("node0/keymanager.token", token)) == 0 || len(s.find("node0/node.log", token)) == 0 {
		t.Error("a token in another's place was not found")
	}
}

// TestNoSecretLeaks imports keys in both ways, does wrong what can be done
// wrong, crashes and restarts, and then looks everywhere.
func TestNoSecretLeaks(t *testing.T) {
	needsClusters(t)
	t.Parallel()
	c := newCluster(t, 1)
	l := &leakHunt{cluster: c, desk: t.TempDir()}
	l.tokens()
	keys := []bls.PublicKey{l.importByCommand(), l.importByKeymanager()}
	l.failures()
	for i := range 4 {
		c.mustSign(i, c.randao(keys[i%2], uint64(i)))
	}
	l.confined()
	l.scan("after the imports")

	// A crash writes what it can: SIGABRT has Go print all stacks.
	for _, pid := range []int{c.node(1).PID, c.node(2).Custody["validator"]} {
		if err := syscall.Kill(pid, syscall.SIGABRT); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range []int{1, 2} {
		c.awaitGone(c.node(i))
		if err := c.startNode(i); err != nil {
			t.Fatal(err)
		}
	}
	l.failures()
	l.scan("after crashes")
	l.said.WriteString(c.dev.output())
	c.stop()
	c.start()
	c.connected()
	for i := range 4 {
		c.mustSign(i, c.randao(keys[i%2], uint64(9+i)))
	}
	l.failures()
	l.confined()
	l.scan("after a restart of everything")
	l.planted()
}

// leakHunt is a cluster, what it must not tell, and what it told.
type leakHunt struct {
	*cluster
	leakScanner
	desk string       // where the operator keeps keystores and passwords
	said bytes.Buffer // every answer and every output
}

// tokens are secrets, outside their files; so are the roots of seals.
func (l *leakHunt) tokens() {
	for i := range 4 {
		home := l.node(i).Home
		for _, file := range []string{"ops.token", "keymanager.token", "seal.root", "custody-validator/seal.root"} {
			raw, err := os.ReadFile(filepath.Join(home, file))
			if err != nil {
				l.t.Fatal(err)
			}
			secret, name := bytes.TrimSpace(raw), filepath.Base(file)
			if name == "seal.root" {
				secret = raw // may end in what looks like space
			}
			l.add(fmt.Sprintf("node%d/%s", i, file), secret, name)
			if decoded, err := hex.DecodeString(string(secret)); err == nil {
				l.add(fmt.Sprintf("node%d/%s, decoded", i, file), decoded, name)
			}
		}
	}
}

// fresh makes a key, a password and a keystore whose derivation an attacker
// would have no trouble with: only the product keeps the secret.
func (l *leakHunt) fresh(name string) (key bls.PublicKey, keystore []byte, password string) {
	l.t.Helper()
	secret, err := bls.GenerateSecretKey()
	if err != nil {
		l.t.Fatal(err)
	}
	defer secret.Destroy()
	var tail [12]byte
	insecureRandom{}.Read(tail[:]) //nolint:errcheck // it never fails
	password = fmt.Sprintf(`%s's "pass/word" %x`, name, tail)
	l.add("password of "+name, []byte(password), "")
	secret.Expose(func(scalar *[bls.ScalarSize]byte) { l.add("secret key of "+name, bytes.Clone(scalar[:]), "") })
	return secret.PublicKey(), makeKeystore(l.t, secret, password), password
}

func (l *leakHunt) write(name string, content []byte) string {
	l.t.Helper()
	path := filepath.Join(l.desk, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// run runs a command and keeps what it says.
func (l *leakHunt) run(wantOK bool, node int, args ...string) {
	l.t.Helper()
	out, errs, err := l.operate(node, args...)
	l.said.WriteString(out + errs)
	if (err == nil) != wantOK {
		l.t.Errorf("quorate %s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	}
}

// ask sends a request and keeps the answer.
func (l *leakHunt) ask(want int, method, url, token string, body []byte) {
	l.t.Helper()
	status, answer := l.bearer(method, url, token, body)
	l.said.WriteString(answer)
	if status != want {
		l.t.Errorf("%s %s: status %d, want %d: %s", method, url, status, want, answer)
	}
}

func (l *leakHunt) token(node int, name string) string {
	raw, err := os.ReadFile(filepath.Join(l.node(node).Home, name))
	if err != nil {
		l.t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

func (l *leakHunt) importByCommand() bls.PublicKey {
	key, keystore, password := l.fresh("alice")
	l.run(true, 0, "key", "import", l.write("alice.json", keystore), "--password-file", l.write("alice.password", []byte(password+"\n")))
	return key
}

func (l *leakHunt) importByKeymanager() bls.PublicKey {
	key, keystore, password := l.fresh("bob")
	l.said.WriteString(l.importVia(1, keystore, password))
	return key
}

// failures are requests that must fail, each with a secret in it that an
// error, a log line or a metric might repeat.
func (l *leakHunt) failures() {
	l.t.Helper()
	const node = 0
	n := l.node(node)
	_, keystore, password := l.fresh("carol")
	_, _, wrong := l.fresh("mallory") // somebody's right password, in the wrong place
	file := l.write("carol.json", keystore)
	ops, km := l.token(node, "ops.token"), l.token(node, "keymanager.token")

	// Wrong passwords.
	l.run(false, node, "key", "import", file, "--password-file", l.write("wrong", []byte(wrong)))
	l.run(false, node, "key", "import", file, "--password-file", l.write("long", bytes.Repeat([]byte(wrong), 40)))
	imports := func(keystores, passwords any) []byte {
		body, err := json.Marshal(map[string]any{"keystores": keystores, "passwords": passwords})
		if err != nil {
			l.t.Fatal(err)
		}
		return body
	}
	keymanager := n.Signer + "/eth/v1/keystores"
	l.ask(200, "POST", keymanager, km, imports([]string{string(keystore)}, []string{wrong}))
	// Wrong tokens: one that somebody mistyped, another node's, and a password.
	mistyped := km[:len(km)-1] + "x"
	for _, token := range []string{mistyped, l.token(1, "ops.token"), wrong} {
		l.ask(403, "POST", keymanager, token, imports([]string{string(keystore)}, []string{password}))
		l.ask(401, "POST", n.Ops+"/v1/keys/import", token, []byte(`{"keystore":`+string(keystore)+`,"password":"`+base64.StdEncoding.EncodeToString([]byte(password))+`"}`))
	}
	l.run(false, node, "key", "import", file, "--password-file", l.write("carol.password", []byte(password)), "--identity", l.write("mistyped.token", []byte(mistyped)))
	// Malformed: cut short, of the wrong shape, or not where it belongs.
	whole := imports([]string{string(keystore)}, []string{password})
	for _, body := range [][]byte{whole[:len(whole)-3], append(whole, '}'), imports(password, password), imports([]string{}, []string{password}),
		imports([]any{1}, []any{map[string]string{password: wrong}})} {
		l.ask(400, "POST", keymanager, km, body)
	}
	l.ask(200, "POST", keymanager, km, imports([]string{password}, []string{string(keystore)})) // mixed up: an error for that keystore
	secret64 := base64.StdEncoding.EncodeToString([]byte(password))
	for _, body := range []string{`{"keystore":{},"password":"` + secret64, `{"keystore":{},"password":"` + password + `"}`, `{"keystore":"` + secret64 + `","password":"` + secret64 + `"}`,
		`{"` + secret64 + `":1,"keystore":[],"password":7}`} {
		l.ask(400, "POST", n.Ops+"/v1/keys/import", ops, []byte(body))
	}
	l.ask(400, "POST", n.Signer+"/api/v1/eth2/sign/"+l.keys[0].String(), "", []byte(`{"type":"RANDAO_REVEAL","randao_reveal":`))
}

// confined holds custody against what the system says of it.
func (l *leakHunt) confined() {
	l.t.Helper()
	for i := range 4 {
		pid := l.node(i).Custody["validator"]
		for file, want := range map[string][]string{
			"status": {"Seccomp:\t2\n", "NoNewPrivs:\t1\n"},
			"limits": {"Max core file size        0                    0 "},
		} {
			raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			if err != nil {
				l.t.Fatal(err)
			}
			for _, line := range want {
				if !bytes.Contains(raw, []byte(line)) {
					l.t.Errorf("custody of node%d: %s does not say %q:\n%s", i, file, line, raw)
				}
			}
		}
	}
}

// scan looks at everything.
func (l *leakHunt) scan(when string) {
	l.t.Helper()
	for i := range 4 {
		l.run(true, i, "audit", "list", "--limit", "1000", "-o", "json")
		l.run(true, i, "key", "list")
		l.run(true, i, "ceremony", "list")
		l.run(true, i, "key", "export-slashing")
		l.ask(200, http.MethodGet, l.node(i).Metrics+"/metrics", "", nil)
		l.ask(200, http.MethodGet, l.node(i).Ops+"/v1/status", "", nil)
		l.ask(200, http.MethodGet, l.node(i).Signer+"/healthcheck", "", nil)
	}
	l.said.WriteString(l.dev.output())
	leaks, read, err := l.files(l.dir)
	if err != nil || read < 4*10 {
		l.t.Fatalf("%d files read: %v", read, err)
	}
	leaks = append(leaks, l.find("answers and outputs", l.said.Bytes())...)
	pids := []int{l.dev.cmd.Process.Pid}
	for i := range 4 {
		pids = append(pids, l.node(i).PID, l.node(i).Custody["validator"])
	}
	for _, pid := range pids {
		more, err := l.process(pid)
		if err != nil {
			l.t.Error(err)
		}
		leaks = append(leaks, more...)
	}
	for _, leak := range leaks {
		l.t.Errorf("%s: %s", when, leak)
	}
	cores, err := filepath.Glob(filepath.Join(l.dir, "*", "core*"))
	if err != nil || len(cores) != 0 {
		l.t.Errorf("%s: core dumps %q, %v", when, cores, err)
	}
	l.t.Logf("%s: %d forms of secrets in %d files, %d bytes of answers and %d processes", when, len(l.forms), read, l.said.Len(), len(pids))
}

// planted shows that the same looks find what is there.
func (l *leakHunt) planted() {
	l.t.Helper()
	_, _, password := l.fresh("dave")
	for _, file := range []string{"dev.json.tmp", "node2/node.log.1", "node1/engine/data/cs.wal/x", "node0/custody-validator/x"} {
		path := filepath.Join(l.dir, file)
		if err := os.WriteFile(path, fmt.Appendf(nil, `level=ERROR msg=oops password=%x`, password), 0o600); err != nil {
			l.t.Fatal(err)
		}
		leaks, _, err := l.files(l.dir)
		if err != nil || !slices.ContainsFunc(leaks, func(s string) bool { return strings.HasPrefix(s, path) }) {
			l.t.Errorf("a password in %s was not found: %v", file, err)
		}
		if err := os.Remove(path); err != nil {
			l.t.Fatal(err)
		}
	}
	for _, cmd := range []*exec.Cmd{exec.Command("cat", "-", password), exec.Command("cat")} {
		if len(cmd.Args) == 1 {
			cmd.Env = []string{"PASSWORD=" + password}
		}
		stdin, err := cmd.StdinPipe()
		if err != nil {
			l.t.Fatal(err)
		}
		cmd.Stdout, cmd.Stderr = io.Discard, io.Discard
		if err := cmd.Start(); err != nil {
			l.t.Fatal(err)
		}
		l.eventually(patience, "a password that a process was given is found", func() error {
			leaks, err := l.process(cmd.Process.Pid) // right after its start there is nothing to read
			if err == nil && len(leaks) == 0 {
				err = errors.New("not found")
			}
			return err
		})
		stdin.Close() //nolint:errcheck // it ends
		cmd.Wait()    //nolint:errcheck // one of them finds no such file
	}
}
