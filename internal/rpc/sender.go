package rpc

import (
	"context"
	"io"
	"sync"
)

const (
	// maxQueued is how many bytes wait behind the write in progress before
	// senders wait too: what a peer that does not read can make us hold,
	// plus one frame per waiting sender.
	maxQueued = 1 << 20
	// keepBuffer is the largest buffer kept for the next write.
	keepBuffer = 64 << 10
)

// sender merges frames into few writes: whatever queues up while one write
// is in progress leaves with the next one. Its one goroutine is run.
type sender struct {
	w    io.Writer
	wake chan struct{} // holds a token while queued is not empty
	done chan struct{} // closed once err is set

	mu     sync.Mutex
	queued []byte
	room   chan struct{} // closed when queued is taken; nil while nobody waits
	err    error
}

func newSender(w io.Writer) *sender {
	return &sender{w: w, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// send queues a frame, of which it keeps no reference. It waits only for
// room, and no longer than ctx.
func (s *sender) send(ctx context.Context, kind uint8, id uint64, word uint16, body []byte) error {
	for {
		room, err := s.offer(kind, id, word, body)
		if room == nil {
			return err
		}
		select {
		case <-room:
		case <-s.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// offer queues a frame if there is room, else returns a channel that is
// closed when there may be.
func (s *sender) offer(kind uint8, id uint64, word uint16, body []byte) (<-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return nil, s.err
	case len(s.queued) == 0:
		s.wake <- struct{}{} // run took the last token together with the queue
	case len(s.queued)+len(body) > maxQueued:
		if s.room == nil {
			s.room = make(chan struct{})
		}
		return s.room, nil
	}
	s.queued = appendFrame(roomFor(s.queued, headerSize+len(body)), kind, id, word, body)
	return nil, nil
}

// roomFor returns b with room for n more bytes, and leaves nothing in memory
// that it gives up.
func roomFor(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	grown := make([]byte, len(b), max(2*cap(b), len(b)+n))
	copy(grown, b)
	clear(b)
	return grown
}

// run writes until a write fails or stop is called, and returns why.
func (s *sender) run() error {
	var buf []byte
	for {
		select {
		case <-s.wake:
		case <-s.done:
			return s.err
		}
		s.mu.Lock()
		buf, s.queued = s.queued, buf[:0]
		if s.room != nil {
			close(s.room)
			s.room = nil
		}
		s.mu.Unlock()
		_, err := s.w.Write(buf)
		clear(buf) // a password may have been in it
		if err != nil {
			s.stop(err)
			return err
		}
		if cap(buf) > keepBuffer {
			buf = nil
		}
	}
}

// stop makes every send fail with err and ends run. The first err stays.
func (s *sender) stop(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		close(s.done)
	}
}
