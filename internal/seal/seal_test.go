package seal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/secret/secrettest"
	"github.com/quorate/quorate/internal/wire"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func hold(s string) secret.Bytes { return secret.New([]byte(s)) }

func bytesOf(s secret.Bytes) (out []byte) {
	s.Expose(func(b []byte) { out = bytes.Clone(b) })
	return out
}

var (
	cluster = action.ClusterID{0xc1, 31: 0x1c}
	owner   = Owner{Cluster: cluster, Domain: action.DomainValidator}
)

func testRoot(fill byte) Root {
	return Root{key: secret.New(bytes.Repeat([]byte{fill}, RootSize))}
}

func testKey() *Key { return must(testRoot(7).Key(cluster, action.DomainValidator)) }

func shareHeader(epoch uint32) Header {
	return Header{
		Kind: KindShare, Cluster: cluster, Domain: action.DomainValidator, Namespace: "root",
		Key: bytes.Repeat([]byte{0xaa}, 48), Curve: action.CurveBLS12381G1, Epoch: epoch, N: 4, T: 3, X: 2,
	}
}

// Golden bytes: changing them needs a decision record, because shares at rest
// stand on them.
func TestGoldenRecord(t *testing.T) {
	h := shareHeader(0x01020304)
	var e wire.Encoder
	h.encode(&e)
	header := slices.Concat(
		[]byte("QRTS"),                               // magic
		[]byte{1},                                    // format version
		[]byte{1},                                    // kind: share
		[]byte{0xc1}, make([]byte, 30), []byte{0x1c}, // cluster id
		[]byte{0, 0, 0, 9}, []byte("validator"), // domain
		[]byte{0, 0, 0, 4}, []byte("root"), // namespace
		[]byte{0},                                           // exercise
		[]byte{0, 0, 0, 48}, bytes.Repeat([]byte{0xaa}, 48), // public key
		[]byte{1},                // curve: BLS12-381 G1
		[]byte{1, 2, 3, 4},       // epoch
		[]byte{0, 4, 0, 3, 0, 2}, // n, t, x
	)
	if got := e.Out(); !bytes.Equal(got, header) {
		t.Fatalf("header is\n%x, want\n%x", got, header)
	}
	aad := slices.Concat([]byte{0, 0, 0, 15}, []byte("quorate/v1/seal"), header)
	if got := h.associated(); !bytes.Equal(got, aad) {
		t.Fatalf("associated data is\n%x, want\n%x", got, aad)
	}

	var nonce [24]byte
	for i := range nonce {
		nonce[i] = byte(i)
	}
	sealed := must(testKey().seal(nonce, aad, hold("thirty-two bytes of golden share")))
	const want = "000102030405060708090a0b0c0d0e0f1011121314151617" + // nonce
		"b090bf80cdc72c79300e4e8faa65871c23fea8f54a084d5b93e91d9a545c3d365b3a5fd2b6fe385e8fa0a8b17b1e868a" // ciphertext and tag
	if got := hex.EncodeToString(sealed); got != want {
		t.Fatalf("sealed is\n%s, want\n%s", got, want)
	}
	record := slices.Concat(header, []byte{0, 0, 0, 72}, sealed)
	got, value, err := OpenRecord(testKey(), record)
	if err != nil || got.Slot() != h.Slot() || string(bytesOf(value)) != "thirty-two bytes of golden share" {
		t.Fatalf("opens as %+v, %v", got, err)
	}
}

func TestEveryFlipIsRefused(t *testing.T) {
	key := testKey()
	record := must(SealRecord(key, shareHeader(1), hold("thirty-two bytes of secret share")))
	for i := range record {
		for bit := range 8 {
			bad := bytes.Clone(record)
			bad[i] ^= 1 << bit
			if _, _, err := OpenRecord(key, bad); err == nil {
				t.Fatalf("bit %d of byte %d flipped: opens", bit, i)
			} else if !errors.Is(err, ErrSealed) && !errors.Is(err, wire.ErrMalformed) {
				t.Fatalf("bit %d of byte %d flipped: %v", bit, i, err)
			}
		}
		if _, _, err := OpenRecord(key, record[:i]); err == nil {
			t.Fatalf("cut to %d bytes: opens", i)
		}
	}
	if _, _, err := OpenRecord(key, append(bytes.Clone(record), 0)); err == nil {
		t.Fatal("opens with a byte more")
	}
}

func TestAnotherSealDoesNotOpen(t *testing.T) {
	record := must(SealRecord(testKey(), shareHeader(1), hold("share")))
	for name, key := range map[string]*Key{
		"root":    must(testRoot(8).Key(cluster, action.DomainValidator)),
		"cluster": must(testRoot(7).Key(action.ClusterID{1}, action.DomainValidator)),
		"domain":  must(testRoot(7).Key(cluster, "secret")),
	} {
		if _, _, err := OpenRecord(key, record); !errors.Is(err, ErrSealed) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	key := testKey()
	key.Destroy()
	if _, _, err := OpenRecord(key, record); err == nil {
		t.Error("a destroyed key opens")
	}
	if _, err := SealRecord(key, shareHeader(1), hold("share")); err == nil {
		t.Error("a destroyed key seals")
	}
	root := testRoot(7)
	root.Destroy()
	if _, err := root.Key(cluster, "secret"); err == nil {
		t.Error("a destroyed root derives")
	}
	if a, b := must(SealRecord(testKey(), shareHeader(1), hold("share"))), record; bytes.Equal(a, b) {
		t.Error("the same secret seals to the same record twice")
	}
}

func TestHeaderRefuses(t *testing.T) {
	for name, change := range map[string]func(*Header){
		"no kind":         func(h *Header) { h.Kind = 0 },
		"unknown kind":    func(h *Header) { h.Kind = 9 },
		"no domain":       func(h *Header) { h.Domain = "" },
		"long domain":     func(h *Header) { h.Domain = action.Domain(make([]byte, wire.MaxName+1)) },
		"no namespace":    func(h *Header) { h.Namespace = "" },
		"long namespace":  func(h *Header) { h.Namespace = string(make([]byte, wire.MaxName+1)) },
		"unknown curve":   func(h *Header) { h.Curve = 9 },
		"another curve":   func(h *Header) { h.Curve = action.CurveRistretto255 },
		"no key":          func(h *Header) { h.Key = nil },
		"long key":        func(h *Header) { h.Key = append(h.Key, 0) },
		"index 0":         func(h *Header) { h.X = 0 },
		"index above n":   func(h *Header) { h.X = h.N + 1 },
		"threshold 0":     func(h *Header) { h.T = 0 },
		"threshold > n":   func(h *Header) { h.T = h.N + 1 },
		"shared identity": func(h *Header) { h.Kind = KindIdentity },
	} {
		h := shareHeader(1)
		change(&h)
		if _, err := SealRecord(testKey(), h, hold("share")); err == nil {
			t.Errorf("%s: sealed", name)
		}
		var e wire.Encoder
		h.encode(&e)
		e.Bytes(make([]byte, 64))
		if _, _, err := parseRecord(e.Out()); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: parsed, %v", name, err)
		}
	}
	for _, n := range []int{0, wire.MaxSealedSecret + 1} {
		if _, err := SealRecord(testKey(), shareHeader(1), secret.New(make([]byte, n))); err == nil {
			t.Errorf("%d bytes sealed", n)
		}
	}
	identity := Header{Kind: KindIdentity, Cluster: cluster, Domain: "secret", Namespace: "root", Key: make([]byte, 1985)}
	record := must(SealRecord(testKey(), identity, secret.New(make([]byte, wire.MaxSealedSecret))))
	if _, value, err := OpenRecord(testKey(), record); err != nil || value.Len() != wire.MaxSealedSecret {
		t.Errorf("an identity does not open: %v", err)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(must(SealRecord(testKey(), shareHeader(1), hold("share"))))
	f.Add(must(SealRecord(testKey(), Header{Kind: KindIdentity, Domain: "d", Namespace: "n", Key: []byte{1}}, hold("seed"))))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, sealed, err := parseRecord(in)
		if err != nil {
			return
		}
		var e wire.Encoder
		h.encode(&e)
		e.Bytes(sealed)
		if !bytes.Equal(e.Out(), in) {
			t.Fatalf("parse then marshal changed %x to %x", in, e.Out())
		}
	})
}

func TestSecretsDoNotLeak(t *testing.T) {
	canary := []byte("canary-of-a-root-thirty-two-long")
	root := Root{key: secret.New(bytes.Clone(canary))}
	secrettest.Check(t, root, canary)
	secrettest.Check(t, Key{key: secret.New(bytes.Clone(canary))}, canary)
}

func TestRootFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root")
	if _, err := ReadRoot(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("read without a file: %v", err)
	}
	if err := InitRoot(path); err != nil {
		t.Fatal(err)
	}
	if err := InitRoot(path); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("created twice: %v", err)
	}
	a, b := must(ReadRoot(path)), must(ReadRoot(path))
	if !a.key.Equal(b.key) || a.key.Len() != RootSize {
		t.Fatal("two reads differ")
	}
	if mode := must(os.Stat(path)).Mode().Perm(); mode != 0o600 {
		t.Fatalf("created with mode %o", mode)
	}
	record := must(SealRecord(must(a.Key(cluster, "secret")), shareHeader(1), hold("share")))
	if _, _, err := OpenRecord(must(b.Key(cluster, "secret")), record); err != nil {
		t.Fatal(err)
	}
}

func TestRootFileRefused(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	if err := InitRoot(good); err != nil {
		t.Fatal(err)
	}
	content := must(os.ReadFile(good))
	file := func(name string, content []byte, mode fs.FileMode) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, content, 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	file("group readable", content, 0o640)
	file("world readable", content, 0o604)
	file("group writable", content, 0o620)
	file("executable by others", content, 0o601)
	file("short", content[:31], 0o600)
	file("long", append(content, 0), 0o600)
	file("empty", nil, 0o600)
	file("zeros", make([]byte, RootSize), 0o600)
	if err := errors.Join(
		os.Symlink(good, filepath.Join(dir, "symbolic link")),
		os.Symlink("nowhere", filepath.Join(dir, "dangling link")),
		os.Mkdir(filepath.Join(dir, "directory"), 0o700),
		syscall.Mkfifo(filepath.Join(dir, "named pipe"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	for _, e := range must(os.ReadDir(dir)) {
		path := filepath.Join(dir, e.Name())
		_, err := ReadRoot(path)
		if good := e.Name() == "good"; good != (err == nil) {
			t.Errorf("%s: %v", e.Name(), err)
		}
		if err := InitRoot(path); !errors.Is(err, fs.ErrExist) {
			t.Errorf("init over %s: %v", e.Name(), err)
		}
	}
	if os.Geteuid() == 0 {
		path := filepath.Join(dir, "good")
		if err := os.Chown(path, 65534, -1); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadRoot(path); err == nil {
			t.Error("another user's root was read")
		}
	}
}
