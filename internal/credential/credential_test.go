package credential

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/ident/identtest"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

func passphrase(s string) secret.Bytes { return secret.New([]byte(s)) }

func TestFile(t *testing.T) {
	for _, suite := range []ident.Suite{ident.Ed25519, ident.Ed25519MLDSA65} {
		file, public, err := generate(rand.Reader, suite, passphrase("correct horse"), 10)
		if err != nil {
			t.Fatal(err)
		}
		if !IsFile(file) || len(file) > MaxFile {
			t.Errorf("%d bytes: %.40q", len(file), file)
		}
		s, err := Open(file, passphrase("correct horse"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.Public().Bytes(), public.Bytes()) {
			t.Error("another key comes out")
		}
		sig, err := s.Sign(t.Context(), wire.TagTx, []byte("x"))
		if err != nil || public.Verify(sig, wire.TagTx, []byte("x")) != nil {
			t.Errorf("sign: %v", err)
		}
		if _, err := Open(file, passphrase("correct horsf")); !errors.Is(err, ErrPassphrase) {
			t.Errorf("another passphrase: %v", err)
		}
		if _, err := Open(file, secret.Bytes{}); err == nil {
			t.Error("opens without a passphrase")
		}
		for name, bad := range map[string][]byte{
			"nothing": nil, "a token": []byte("0123456789abcdef"), "truncated": file[:len(file)/2],
			"trailing": append(bytes.Clone(file), 'x'), "large": append(bytes.Clone(file), bytes.Repeat([]byte(" "), MaxFile)...),
			"other bytes": bytes.Replace(file, file[60:64], []byte("AAAA"), 1),
		} {
			if _, err := Open(bad, passphrase("correct horse")); err == nil {
				t.Errorf("%s: opens", name)
			}
		}
	}
	if _, _, err := generate(rand.Reader, ident.SSH, passphrase("correct horse"), 10); err == nil {
		t.Error("a file keeps an SSH key")
	}
	for _, short := range []secret.Bytes{{}, passphrase("7 chars")} {
		if _, _, err := generate(rand.Reader, ident.Ed25519, short, 10); !errors.Is(err, ErrShort) {
			t.Errorf("a file with a passphrase of %d: %v", short.Len(), err)
		}
	}
	dear, _, err := generate(rand.Reader, ident.Ed25519, passphrase("correct horse"), 10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(costlier(t, dear), passphrase("correct horse")); err == nil || !strings.Contains(err.Error(), "work factor") {
		t.Errorf("a file that costs gigabytes: %v", err)
	}
}

func TestPassphraseFrom(t *testing.T) {
	for in, want := range map[string]string{
		"x\n": "x", "a b": "a b", "x\r\ny": "x", "": "", "\n": "", strings.Repeat("y", wire.MaxPassword+1): "",
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		w.WriteString(in)
		w.Close()
		fd, err := unix.Dup(int(r.Fd()))
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		got, err := PassphraseFrom(fd)
		if (err == nil) != (want != "") || want != "" && !got.Equal(passphrase(want)) {
			t.Errorf("%q: %v", in, err)
		}
	}
	if _, err := PassphraseFrom(-1); err == nil {
		t.Error("reads from nowhere")
	}
}

// TestAsk types into a real terminal.
func TestAsk(t *testing.T) {
	for _, c := range []struct {
		typed string
		isNew bool
		want  string
	}{
		{"open sesame\n", false, "open sesame"},
		{"open sesame\nopen sesame\n", true, "open sesame"},
		{"open sesame\nclose sesame\n", true, ""},
		{"short\nshort\n", true, ""},
		{"short\n", false, "short"},
		{"\n", false, ""},
	} {
		master, tty := terminal(t)
		if _, err := master.WriteString(c.typed); err != nil {
			t.Fatal(err)
		}
		got, err := ask(t.Context(), tty, "Passphrase", c.isNew)
		if (err == nil) != (c.want != "") || c.want != "" && !got.Equal(passphrase(c.want)) {
			t.Errorf("%q: %v", c.typed, err)
		}
	}
}

// TestAskInterrupted: who changes their mind at the prompt gets away, and the
// terminal shows again what is typed.
func TestAskInterrupted(t *testing.T) {
	master, tty := terminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan error, 1)
	go func() {
		_, err := ask(ctx, tty, "Passphrase", true)
		answer <- err
	}()
	hidden := func() bool {
		state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return state.Lflag&unix.ECHO == 0
	}
	for !hidden() {
		runtime.Gosched()
	}
	cancel()
	if err := <-answer; !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if hidden() {
		t.Error("the terminal shows nothing any more")
	}
	if _, err := master.WriteString("\n"); err != nil { // lets the read go that was left behind
		t.Fatal(err)
	}
}

func terminal(t *testing.T) (master, tty *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return master, tty
}

func TestAssertion(t *testing.T) {
	ec, ed := identtest.New("localhost", "http://localhost:9003"), identtest.New("localhost", "http://localhost:9003")
	ed.Key = ed25519.NewKeyFromSeed(make([]byte, 32))
	msg := wire.Hash(wire.TagTx, []byte("x"))
	for _, a := range []*identtest.Authenticator{ec, ed} {
		pk, err := ident.NewPasskey(a.Key.Public(), "localhost", []string{"http://localhost:9003"})
		if err != nil {
			t.Fatal(err)
		}
		var v Assertion
		r := &v.Response
		auth, client, sig := a.Assert(msg[:])
		r.AuthenticatorData, r.ClientDataJSON, r.Signature = auth, client, sig
		for range 2 { // with either s
			raw, err := v.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if err := pk.Verify(raw, wire.TagTx, []byte("x")); err != nil {
				t.Error(err)
			}
			if a == ec {
				r.Signature = identtest.OtherS(r.Signature)
			}
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var again Assertion
		if err := json.Unmarshal(text, &again); err != nil || !bytes.Equal(again.Response.Signature, r.Signature) {
			t.Errorf("through JSON: %v", err)
		}
		good := r.Signature
		for name, change := range map[string]func(){
			"short authenticator data": func() { r.AuthenticatorData = r.AuthenticatorData[:36] },
			"long authenticator data":  func() { r.AuthenticatorData = append(r.AuthenticatorData, 0) },
			"long client data":         func() { r.ClientDataJSON = make([]byte, wire.MaxClientData+1) },
			"no signature":             func() { r.Signature = nil },
			"trailing byte":            func() { r.Signature = append(bytes.Clone(r.Signature), 0) },
			"truncated":                func() { r.Signature = r.Signature[:len(r.Signature)-1] },
		} {
			r.AuthenticatorData, r.ClientDataJSON, r.Signature = bytes.Clone(auth), client, good
			change()
			if _, err := v.Encode(); err == nil {
				t.Errorf("%s: taken", name)
			}
		}
	}
}

func FuzzAssertion(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	a := identtest.Authenticator{Key: key}
	f.Add(a.Sign(nil, nil))
	f.Add([]byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	f.Add([]byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, der []byte) {
		raw, err := fromDER(der)
		if err == nil && len(raw) != 64 {
			t.Fatalf("%d bytes", len(raw))
		}
	})
}

// costlier asks for more work than we are willing to do.
func costlier(t *testing.T, file []byte) []byte {
	t.Helper()
	return rearmor(t, file, " 10\n", " 24\n")
}

// TestUnsealed: a file without a passphrase signs for who reads it, says so in
// its first line, and is no other kind of file.
func TestUnsealed(t *testing.T) {
	for _, suite := range []ident.Suite{ident.Ed25519, ident.Ed25519MLDSA65} {
		file, public, err := GenerateUnsealed(rand.Reader, suite)
		if err != nil {
			t.Fatal(err)
		}
		if !IsFile(file) || IsSealed(file) || !bytes.Contains(file, []byte("UNSEALED")) {
			t.Errorf("a file that does not say what it is:\n%s", file)
		}
		s, err := Open(file, secret.Bytes{})
		if err != nil || !bytes.Equal(s.Public().Bytes(), public.Bytes()) {
			t.Fatalf("open: %v", err)
		}
		sig, err := s.Sign(t.Context(), wire.TagTx, []byte("x"))
		if err != nil || public.Verify(sig, wire.TagTx, []byte("x")) != nil {
			t.Errorf("sign: %v", err)
		}
		for name, bad := range map[string][]byte{
			"cut":      file[:len(file)/2],
			"followed": append(bytes.Clone(file), file...),
			"short":    []byte("-----BEGIN QUORATE UNSEALED KEY-----\nAQE=\n-----END QUORATE UNSEALED KEY-----\n"),
		} {
			if _, err := Open(bad, secret.Bytes{}); err == nil {
				t.Errorf("%s: opened", name)
			}
		}
	}
}
