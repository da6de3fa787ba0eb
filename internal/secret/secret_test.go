package secret_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/secret/secrettest"
)

var canary = []byte("\x91\x00canary-\xf0\x0d-of-thirty-two-bytes")

func TestBytesDoNotLeak(t *testing.T) {
	s := secret.New(bytes.Clone(canary))
	secrettest.Check(t, s, canary)
	runtime.KeepAlive(s)
}

func TestNewMoves(t *testing.T) {
	for _, n := range []int{0, 1, 31, 32, 33, 4096, 4097, 100_000} {
		want := make([]byte, n)
		_, _ = rand.Read(want)
		src := bytes.Clone(want)
		s := secret.New(src)
		if !bytes.Equal(src, make([]byte, n)) {
			t.Fatalf("%d bytes: source not wiped", n)
		}
		if s.Len() != n {
			t.Fatalf("length %d, want %d", s.Len(), n)
		}
		ok := s.Expose(func(b []byte) {
			if !bytes.Equal(b, want) {
				t.Errorf("%d bytes: exposed others than were put in", n)
			}
		})
		if !ok {
			t.Fatalf("%d bytes: nothing exposed", n)
		}
	}
}

func TestDestroy(t *testing.T) {
	s := secret.New([]byte("0123456789abcdef"))
	alias := s
	var mem []byte
	s.Expose(func(b []byte) { mem = b })
	s.Destroy()
	s.Destroy()
	if !bytes.Equal(mem, make([]byte, 16)) {
		t.Error("memory not wiped")
	}
	if alias.Expose(func([]byte) { t.Error("destroyed secret exposed") }) {
		t.Error("Expose reports a destroyed secret")
	}
	if alias.Equal(alias) {
		t.Error("a destroyed secret equals itself")
	}
	runtime.KeepAlive(s)
	var zero secret.Bytes
	zero.Destroy()
	if zero.Len() != 0 || zero.Equal(zero) || zero.Expose(func([]byte) {}) {
		t.Error("the zero value holds something")
	}
}

func TestEqual(t *testing.T) {
	a, b := secret.New([]byte("same secret")), secret.New([]byte("same secret"))
	if !a.Equal(b) || !a.Equal(a) {
		t.Error("equal secrets differ")
	}
	for _, other := range []string{"same secreT", "same secret ", "same", ""} {
		if a.Equal(secret.New([]byte(other))) {
			t.Errorf("equals %q", other)
		}
	}
}

// Many secrets that come and go must never share memory.
func TestCellsAreNotShared(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var live []secret.Bytes
			for i := range 3000 {
				live = append(live, secret.New([]byte{byte(g), byte(i), byte(i >> 8), 1}))
				if i%3 == 2 { // forgotten, for the collector to take back
					live = live[:len(live)-1]
				}
				if i%1000 == 999 {
					runtime.GC()
				}
			}
			for k, s := range live {
				i := k/2*3 + k%2
				s.Expose(func(b []byte) {
					if !bytes.Equal(b, []byte{byte(g), byte(i), byte(i >> 8), 1}) {
						t.Errorf("secret %d of goroutine %d was overwritten", i, g)
					}
				})
			}
		}()
	}
	wg.Wait()
}

func TestRandom(t *testing.T) {
	a, err := secret.Random(rand.Reader, 32)
	if err != nil {
		t.Fatal(err)
	}
	b, err := secret.Random(rand.Reader, 32)
	if err != nil {
		t.Fatal(err)
	}
	if a.Equal(b) || a.Len() != 32 {
		t.Error("not random")
	}
	broken := errors.New("no entropy")
	if _, err := secret.Random(iotest.ErrReader(broken), 32); !errors.Is(err, broken) {
		t.Errorf("got %v, want the reader's error", err)
	}
}

func BenchmarkNew(b *testing.B) {
	var src [32]byte
	b.ReportAllocs()
	for b.Loop() {
		secret.New(src[:]).Destroy()
	}
}
