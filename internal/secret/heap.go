package secret

import (
	"math/bits"
	"sync"
)

// memory is the process's locked heap. It is a package variable for the
// reason that Go's own heap is: memory belongs to the process, not to whoever
// asked first, and ten thousand shares must not need ten thousand mappings.
var memory heap

const (
	slabSize = 32 << 10 // one mapping; half of the smallest usual RLIMIT_MEMLOCK
	minClass = 32       // one scalar
	maxClass = 4 << 10  // above this a secret has a mapping of its own
)

// heap hands out cells of locked memory. A slab is cut into cells of one
// power-of-two size; released cells are wiped and used again, slabs stay.
type heap struct {
	mu       sync.Mutex
	free     map[int][][]byte // released or fresh cells by size
	unlocked bool             // some mapping could not be locked
}

// alloc returns n zero bytes. A capacity above n is the rest of the cell.
func (h *heap) alloc(n int) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	size := class(n)
	if size > maxClass {
		return h.mapPages(size)[:n]
	}
	if len(h.free[size]) == 0 {
		if h.free == nil {
			h.free = make(map[int][][]byte)
		}
		slab := h.mapPages(slabSize)
		for ; len(slab) >= size; slab = slab[size:] {
			h.free[size] = append(h.free[size], slab[:size:size])
		}
	}
	cells := h.free[size]
	last := len(cells) - 1
	mem := cells[last]
	h.free[size] = cells[:last]
	return mem[:n]
}

// release takes back what alloc returned.
func (h *heap) release(mem []byte) {
	mem = mem[:cap(mem)]
	Wipe(mem)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(mem) > maxClass {
		unmapPages(mem)
		return
	}
	h.free[len(mem)] = append(h.free[len(mem)], mem)
}

func (h *heap) mapPages(size int) []byte {
	mem, locked := mapPages(size)
	if !locked {
		h.unlocked = true
	}
	return mem
}

func class(n int) int {
	if n <= minClass {
		return minClass
	}
	if n > maxClass {
		return (n + pageMask) &^ pageMask
	}
	return 1 << bits.Len(uint(n-1))
}

// pageMask rounds large secrets to whole pages of the usual size; the kernel
// rounds further where pages are larger.
const pageMask = 4<<10 - 1

// Locked reports whether all secrets so far stand in memory that cannot be
// swapped out. It is false where RLIMIT_MEMLOCK is too small or the platform
// has no such thing; a process that cares says so at start.
func Locked() bool {
	memory.mu.Lock()
	defer memory.mu.Unlock()
	return !memory.unlocked
}
