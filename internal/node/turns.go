package node

import (
	"sync"

	"github.com/quorate/quorate/internal/rpc"
)

// turns bounds what one peer has this node do at once, so that one that floods
// us leaves room for the others.
type turns struct {
	mu   sync.Mutex
	busy map[string]int
}

const (
	// maxPartials is as many as a node asks for at once that lets no more sign
	// requests in than that (signerapi's InFlight). Custody's socket has room
	// for so many of every peer.
	maxPartials = 256
	// maxRounds is more than a node asks for at once: one for everybody else,
	// and one for a ceremony, each of which may have been withdrawn before.
	maxRounds = 8
	// maxHistories of 4 MiB each wait for their grant.
	maxHistories = 4
)

// begin takes a turn, which done ends, or refuses it.
func (t *turns) begin(from string, most int) (done func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.busy[from] == most {
		return nil, rpc.Errorf(rpc.CodeUnavailable, "%d requests of %s are under way", most, from)
	}
	if t.busy == nil {
		t.busy = map[string]int{}
	}
	t.busy[from]++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.busy[from]--
	}, nil
}
