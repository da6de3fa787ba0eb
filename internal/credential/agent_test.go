package credential

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/wire"
)

// serve puts an agent behind a socket.
func serve(t *testing.T, a agent.Agent) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				agent.ServeAgent(a, conn) //nolint:errcheck // the peer has gone
				conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func TestAgent(t *testing.T) {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	ring := agent.NewKeyring()
	socket := serve(t, ring)
	for _, key := range []crypto.Signer{ed, ec, p384} {
		if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
			t.Fatal(err)
		}
	}
	fingerprint := func(key crypto.Signer) string {
		pk, err := ssh.NewPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		return ssh.FingerprintSHA256(pk)
	}
	for _, key := range []crypto.Signer{ed, ec} {
		s, err := FromAgent(t.Context(), socket, fingerprint(key), false)
		if err != nil {
			t.Fatal(err)
		}
		for range 8 { // ECDSA with either s
			sig, err := s.Sign(t.Context(), wire.TagTx, []byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Public().Verify(sig, wire.TagTx, []byte("x")); err != nil {
				t.Error(err)
			}
		}
	}
	for name, f := range map[string]string{"another key": "SHA256:AAAA", "a curve that does not count": fingerprint(p384)} {
		if _, err := FromAgent(t.Context(), socket, f, false); err == nil {
			t.Errorf("%s: found", name)
		}
	}
	if _, err := FromAgent(t.Context(), "", fingerprint(ed), false); err == nil || !strings.Contains(err.Error(), "SSH_AUTH_SOCK") {
		t.Errorf("no agent: %v", err)
	}
	s, err := FromAgent(t.Context(), socket, fingerprint(ed), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.RemoveAll(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(t.Context(), wire.TagTx); err == nil {
		t.Error("signs with a key that the agent lost")
	}
}

// odd answers with something else than what it was asked for.
type odd struct {
	agent.Agent
	change func(*ssh.Signature)
}

func (o odd) Sign(key ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	sig, err := o.Agent.Sign(key, data)
	if err == nil {
		o.change(sig)
	}
	return sig, err
}

func TestAgentThatLies(t *testing.T) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	pk, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*ssh.Signature){
		"another format":  func(s *ssh.Signature) { s.Format = ssh.KeyAlgoED25519 },
		"another message": func(s *ssh.Signature) { s.Blob[20] ^= 1 },
		"trailing bytes":  func(s *ssh.Signature) { s.Blob = append(s.Blob, 0) },
		"token's bytes":   func(s *ssh.Signature) { s.Rest = []byte{1, 0, 0, 0, 0} },
		"negative":        func(s *ssh.Signature) { s.Blob = []byte{0, 0, 0, 1, 0x80, 0, 0, 0, 1, 1} },
		"zero":            func(s *ssh.Signature) { s.Blob = make([]byte, 8) },
		"nothing":         func(s *ssh.Signature) { s.Blob = nil },
	} {
		ring := agent.NewKeyring()
		if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
			t.Fatal(err)
		}
		s, err := FromAgent(t.Context(), serve(t, odd{ring, change}), ssh.FingerprintSHA256(pk), false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Sign(t.Context(), wire.TagTx); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestAgentIsSlow: a person who does not answer does not hold us.
func TestAgentIsSlow(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.Read(make([]byte, 1)) // the question
		cancel()
		io.Copy(io.Discard, conn) // until the other side hangs up
	}()
	if _, err := FromAgent(ctx, l.Addr().String(), "SHA256:x", false); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestOpenSSH: OpenSSH's own tools sign what we verify, and verify what we sign.
func TestOpenSSH(t *testing.T) {
	if os.Getenv("QUORATE_CHECK") == "" {
		t.Skip("runs OpenSSH's tools: set QUORATE_CHECK=1")
	}
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	daemon := exec.Command("ssh-agent", "-D", "-a", socket)
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { daemon.Process.Kill(); daemon.Wait() }) //nolint:errcheck // the test ends
	if _, err := out.Read(make([]byte, 1)); err != nil {       // it says where it listens once it does
		t.Fatal(err)
	}
	tool := func(stdin []byte, name string, args ...string) []byte {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir, cmd.Stdin, cmd.Env = dir, bytes.NewReader(stdin), append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %v: %v %s", name, args, err, stderr.String())
		}
		return out
	}
	msg := wire.Hash(wire.TagTx, []byte("x"))
	for _, kind := range []string{"ed25519", "ecdsa"} {
		tool(nil, "ssh-keygen", "-q", "-t", kind, "-N", "", "-f", kind, "-C", "alice")
		tool(nil, "ssh-add", "-q", kind)
		public, err := os.ReadFile(filepath.Join(dir, kind+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey(public)
		if err != nil {
			t.Fatal(err)
		}
		s, err := FromAgent(t.Context(), socket, ssh.FingerprintSHA256(key), false)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := s.Sign(t.Context(), wire.TagTx, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}

		// ssh-keygen verifies it, put back into the format from which it came.
		if err := os.WriteFile(filepath.Join(dir, "signers"), append([]byte("alice "), public...), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "sig"), sshsig(key, sig[1:]), 0o600); err != nil {
			t.Fatal(err)
		}
		tool(msg[:], "ssh-keygen", "-Y", "verify", "-f", "signers", "-I", "alice", "-n", ident.SSHNamespace, "-s", "sig")

		// We verify what ssh-keygen signs.
		block, _ := pem.Decode(tool(msg[:], "ssh-keygen", "-Y", "sign", "-f", kind, "-n", ident.SSHNamespace))
		if block == nil {
			t.Fatal("no signature")
		}
		var blob struct {
			Magic                                        [6]byte
			Version                                      uint32
			PublicKey, Namespace, Reserved, Hash, Signed []byte
		}
		var theirs ssh.Signature
		if err := errors.Join(ssh.Unmarshal(block.Bytes, &blob), ssh.Unmarshal(blob.Signed, &theirs)); err != nil {
			t.Fatal(err)
		}
		raw, err := encodeSSH(&theirs)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Public().Verify(raw, wire.TagTx, []byte("x")); err != nil {
			t.Errorf("%s: what ssh-keygen signed: %v", kind, err)
		}
	}
}

// sshsig writes a signature as ssh-keygen reads it.
func sshsig(key ssh.PublicKey, raw []byte) []byte {
	blob := raw
	if key.Type() == ssh.KeyAlgoECDSA256 {
		var e wire.Encoder
		for _, half := range [][]byte{raw[:32], raw[32:]} {
			half = bytes.TrimLeft(half, "\x00")
			if half[0] >= 0x80 {
				half = append([]byte{0}, half...)
			}
			e.Bytes(half)
		}
		blob = e.Out()
	}
	var sig wire.Encoder
	sig.String(key.Type())
	sig.Bytes(blob)
	e := wire.NewEncoder([]byte("SSHSIG"))
	e.U32(1)
	e.Bytes(key.Marshal())
	e.String(ident.SSHNamespace)
	e.String("")
	e.String("sha512")
	e.Bytes(sig.Out())
	return pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: e.Out()})
}

// rearmor replaces bytes inside an armored file.
func rearmor(t *testing.T, file []byte, old, with string) []byte {
	t.Helper()
	plain, err := io.ReadAll(armor.NewReader(bytes.NewReader(file)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(plain, []byte(old)) {
		t.Fatal(fmt.Errorf("%q is not in the file", old))
	}
	var out bytes.Buffer
	w := armor.NewWriter(&out)
	w.Write(bytes.Replace(plain, []byte(old), []byte(with), 1))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func FuzzSSHSignature(f *testing.F) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		f.Fatal(err)
	}
	sig, err := signer.Sign(rand.Reader, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sig.Blob)
	f.Add(make([]byte, 8))
	f.Fuzz(func(t *testing.T, blob []byte) {
		out, err := encodeSSH(&ssh.Signature{Format: ssh.KeyAlgoECDSA256, Blob: blob})
		if err == nil && len(out) != 65 {
			t.Fatalf("%d bytes", len(out))
		}
	})
}
