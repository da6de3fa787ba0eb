package cli

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/sys/unix"

	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/wire"
)

// descriptor returns a new descriptor that reads text. Who reads it closes it.
func descriptor(t *testing.T, text string) int {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString(text); err != nil {
		t.Fatal(err)
	}
	w.Close()
	fd, err := unix.Dup(int(r.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func quorate(t *testing.T, args ...string) (made madeCredential, code int, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(context.Background(), append(args, "-o", "json"), &out, &errs)
	if code == 0 {
		if err := json.Unmarshal(out.Bytes(), &made); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
	}
	return made, code, errs.String()
}

func TestMemberKeygen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "alice.key")
	_, code, stderr := quorate(t, "member", "keygen", "--out", path, "--passphrase-fd", strconv.Itoa(descriptor(t, "sesame\n")))
	if _, err := os.Stat(path); code != int(exitBadUse) || !strings.Contains(stderr, "8 characters") || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a short passphrase: exit %d, %v: %s", code, err, stderr)
	}
	made, code, stderr := quorate(t, "member", "keygen", "--hybrid", "--out", path, "--passphrase-fd", strconv.Itoa(descriptor(t, "open sesame\n")))
	if code != 0 || made.Credential.Suite() != ident.Ed25519MLDSA65 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st, err)
	}
	if _, code, stderr := quorate(t, "member", "keygen", "--out", path); code != int(exitBadUse) || !strings.Contains(stderr, "exists") {
		t.Errorf("over another key: exit %d: %s", code, stderr)
	}
	a := &app{identity: "file:" + path, passphraseFD: new(descriptor(t, "open sesame\n"))}
	s, err := a.signer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sig, err := s.Sign(t.Context(), wire.TagTx)
	if err != nil || made.Credential.Verify(sig, wire.TagTx) != nil {
		t.Errorf("sign: %v", err)
	}
	if _, err := a.client(); err != nil {
		t.Errorf("a client beside a member's key: %v", err)
	}
	a = &app{identity: path, passphraseFD: new(descriptor(t, "close sesame\n"))}
	if _, err := a.signer(t.Context()); !errors.Is(err, credential.ErrPassphrase) {
		t.Error("opens with another passphrase")
	}
	token := filepath.Join(t.TempDir(), "ops.token")
	if err := os.WriteFile(token, newToken(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, identity := range []string{"", token, "file:" + token, "nowhere", "ssh:SHA256:AAAA"} {
		a := &app{identity: identity}
		if _, err := a.signer(t.Context()); err == nil {
			t.Errorf("--identity %q signs", identity)
		} else if _, hint := explain(err); hint == "" {
			t.Errorf("--identity %q: no hint in %v", identity, err)
		}
	}
}

func TestMemberSSH(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "agent"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			agent.ServeAgent(ring, conn) //nolint:errcheck // the peer has gone
			conn.Close()
		}
	}()
	t.Setenv("SSH_AUTH_SOCK", l.Addr().String())
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	fingerprint := ssh.FingerprintSHA256(public)
	made, code, stderr := quorate(t, "member", "keygen", "--ssh", fingerprint)
	if code != 0 || made.Suite != "ssh" {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	a := &app{identity: "ssh:" + fingerprint}
	s, err := a.signer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sig, err := s.Sign(t.Context(), wire.TagTx)
	if err != nil || made.Credential.Verify(sig, wire.TagTx) != nil {
		t.Errorf("%v", err)
	}
	if _, code, stderr := quorate(t, "member", "keygen", "--ssh", fingerprint, "--verify-required"); code == 0 || !strings.Contains(stderr, "token") {
		t.Errorf("a PIN for a key without a token: exit %d: %s", code, stderr)
	}
}
