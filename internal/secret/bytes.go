package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"runtime"
	"sync"
)

// Bytes holds secret bytes in locked memory. Copies of a Bytes share one
// memory, and its methods may be called by many goroutines. The zero value
// holds nothing.
//
// The only field is a function because fmt prints the contents of unexported
// arrays, slices and pointers of structs that contain them, whatever their
// methods say, but of a function it can print only the address. It also makes
// the type incomparable with ==.
type Bytes struct {
	Redacted
	open func() *cell
}

// cell is the shared state of all copies of one Bytes.
type cell struct {
	mu  sync.RWMutex
	mem []byte // nil once destroyed; never Go heap
}

// New moves src into locked memory: src is wiped.
func New(src []byte) Bytes {
	mem := memory.alloc(len(src))
	copy(mem, src)
	Wipe(src)
	return hold(mem)
}

// Random fills n bytes of locked memory from random.
func Random(random io.Reader, n int) (Bytes, error) {
	mem := memory.alloc(n)
	if _, err := io.ReadFull(random, mem); err != nil {
		memory.release(mem)
		return Bytes{}, fmt.Errorf("read %d random bytes: %w", n, err)
	}
	return hold(mem), nil
}

func hold(mem []byte) Bytes {
	c := &cell{mem: mem}
	// The cleanup must not reach c, so it is handed the memory alone.
	runtime.AddCleanup(c, func(mem []byte) { memory.release(mem) }, mem)
	return Bytes{open: func() *cell { return c }}
}

// Expose calls use with the bytes themselves, not a copy, and reports whether
// there were any: a zero or destroyed holder never calls it. The slice is
// valid until use returns. use must not call Destroy or Expose on the same
// secret.
func (b Bytes) Expose(use func([]byte)) bool {
	if b.open == nil {
		return false
	}
	c := b.open()
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.mem == nil {
		return false
	}
	use(c.mem)
	return true
}

// Len is the number of bytes held; 0 for a zero or destroyed holder.
func (b Bytes) Len() int {
	n := 0
	b.Expose(func(p []byte) { n = len(p) })
	return n
}

// Equal compares in time that depends on the lengths alone. A zero or
// destroyed holder equals nothing, itself included.
func (b Bytes) Equal(other Bytes) bool {
	// Digests, so that no two locks are ever held at once.
	x, okX := b.digest()
	y, okY := other.digest()
	return okX && okY && subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func (b Bytes) digest() (sum [32]byte, ok bool) {
	ok = b.Expose(func(p []byte) { sum = sha256.Sum256(p) })
	return sum, ok
}

// Destroy wipes the bytes, for every copy of b, after running Expose calls
// ended. It may be called again. A holder that is merely forgotten is wiped
// when the garbage collector notices.
func (b Bytes) Destroy() {
	if b.open == nil {
		return
	}
	c := b.open()
	c.mu.Lock()
	defer c.mu.Unlock()
	// The cell itself goes back to the heap with the cleanup, not here, so
	// that no memory is released twice.
	Wipe(c.mem)
	c.mem = nil
}

// Wipe overwrites b with zeros.
func Wipe(b []byte) {
	clear(b)
	runtime.KeepAlive(b)
}
