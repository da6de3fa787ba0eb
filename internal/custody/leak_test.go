package custody

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/eth"
)

// spellings are the forms in which a secret could show itself.
func spellings(secret []byte) map[string][]byte {
	reversed := slices.Clone(secret)
	slices.Reverse(reversed)
	forms := map[string][]byte{
		"raw": secret, "reversed": reversed,
		"decimal":          []byte(new(big.Int).SetBytes(secret).String()),
		"reversed decimal": []byte(new(big.Int).SetBytes(reversed).String()),
		"as Go's bytes":    []byte(strings.Trim(fmt.Sprint(secret), "[]")),
	}
	for name, b := range map[string][]byte{"": secret, "reversed ": reversed} {
		forms[name+"hex"] = []byte(hex.EncodeToString(b))
		forms[name+"HEX"] = []byte(strings.ToUpper(hex.EncodeToString(b)))
		// In the middle of something longer base64 has three alignments; what
		// depends on the neighbours is cut off.
		for shift := range 3 {
			for encoding, e := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
				whole := e.EncodeToString(append(make([]byte, shift), b...))
				first, last := (shift*8+5)/6, (shift+len(b))*8/6
				forms[fmt.Sprintf("%s%s+%d", name, encoding, shift)] = []byte(whole[first:last])
			}
		}
	}
	return forms
}

// leaks searches a text for secrets.
func leaks(where string, text []byte, secrets map[string][]byte) (found []string) {
	for name, s := range secrets {
		for form, b := range spellings(s) {
			if bytes.Contains(text, b) {
				found = append(found, fmt.Sprintf("%s stands %s in %s", name, form, where))
			}
		}
	}
	return found
}

// leaksBelow searches all files of a directory.
func leaksBelow(t *testing.T, dir string, secrets map[string][]byte, except ...string) (found []string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || slices.Contains(except, d.Name()) {
			return err
		}
		raw, err := os.ReadFile(path)
		files++
		found = append(found, leaks(d.Name(), raw, secrets)...)
		return err
	})
	if err != nil || files == 0 {
		t.Fatalf("%d files, %v", files, err)
	}
	return found
}

// lockedBuffer is a log that many may write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// Nothing secret shows in what custody writes, says, or leaves on disk.
func TestNothingLeaks(t *testing.T) {
	w := newWorld(t, 4, nil)
	var said lockedBuffer
	w.log = &said
	note := func(err error) {
		if err != nil {
			fmt.Fprintf(&said, "%v %+v %#v\n", err, err, err)
		}
	}
	ps := w.startAll()
	const password = "hunter-zwei-\u00e9-battery"
	whole, key := w.importKey(ps[1], password)
	secrets := map[string][]byte{"password": []byte(password)}
	whole.Expose(func(b *[bls.ScalarSize]byte) { secrets["whole key"] = bytes.Clone(b[:]) })

	_, err := ask(ps[1], MethodKeystore, keystoreRequest([]byte(`{"version":4}`), password))
	note(err)
	s := w.openStage(w.importParams(2, key[:]), key[:])
	s.run(4, func(i int, cert []byte) StepResult {
		for id := range ps[i].seeds.byID {
			ps[i].seeds.byID[id].Expose(func(b []byte) { secrets[fmt.Sprintf("seed of seat %d", i+1)] = bytes.Clone(b) })
		}
		if s.board.Phase() == dkg.PhaseVerify {
			if f := leaksBelow(t, w.dir, secrets, fileRoot); len(f) != 0 {
				t.Error(f)
			}
			fmt.Fprintf(&said, "%v %+v %#v\n", ps[i].seats, ps[i].imports, ps[i].identity)
			slog.New(slog.NewJSONHandler(&said, nil)).Info("x", "shares", &ps[i].shares, "imports", ps[i].imports, "seeds", &ps[i].seeds)
		}
		return s.plain(ps)(i, cert)
	})
	for i, p := range ps {
		held, ok := p.shares.get(key)
		share := held.share
		if !ok {
			t.Fatal("no share")
		}
		held.scalar.Expose(func(b []byte) { secrets[fmt.Sprintf("share of seat %d", i+1)] = bytes.Clone(b) })
		fmt.Fprintf(&said, "%v %+v %#v %s %x\n", share, share, share, share, share)
		w.combined(ps, key, eth.Duty{Fork: w.fork(), Message: &eth.RandaoReveal{Epoch: 1}})
		_, err := w.sign(p, key, w.attestation(9, 1, 1), nil)
		note(err)
		_, err = w.sign(p, key, eth.Duty{Fork: w.fork(), Message: &eth.VoluntaryExit{}}, nil)
		note(err)
		for method := range uint16(20) {
			if method != MethodClose {
				_, err := ask(p, method, []byte(password))
				note(err)
			}
		}
		root, err := os.ReadFile(filepath.Join(w.home(i), fileRoot))
		if err != nil {
			t.Fatal(err)
		}
		secrets[fmt.Sprintf("seal root of seat %d", i+1)] = root
	}
	if len(secrets) != 2+4+4+4 {
		t.Fatalf("%d secrets to look for", len(secrets))
	}
	for i := range ps {
		if f := leaksBelow(t, w.home(i), secrets, fileRoot); len(f) != 0 {
			t.Error(f)
		}
	}
	if f := leaks("what was said", said.b.Bytes(), secrets); len(f) != 0 {
		t.Error(f)
	}

	// A scanner that finds nothing has to find what is there.
	for name, secret := range secrets {
		for form, b := range spellings(secret) {
			dir := t.TempDir()
			text := slices.Concat(said.b.Bytes()[:50], b, said.b.Bytes()[50:99])
			if err := os.WriteFile(filepath.Join(dir, "log"), text, 0o600); err != nil {
				t.Fatal(err)
			}
			if f := leaksBelow(t, dir, secrets); len(f) == 0 {
				t.Errorf("%s, %s: not found", name, form)
			}
		}
		for before := range 3 {
			text := base64.StdEncoding.EncodeToString(slices.Concat(make([]byte, before+5), secret, []byte("after")))
			if len(leaks("x", []byte(text), secrets)) == 0 {
				t.Errorf("%s inside base64 after %d bytes: not found", name, before+5)
			}
		}
	}
}
