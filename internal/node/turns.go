package node

import (
	"context"
	"sync"

	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/signer"
)

// turns bounds what one peer has this node do at once, so that one that floods
// us leaves room for the others.
type turns struct {
	mu   sync.Mutex
	busy map[turn]int
}

// turn is what is counted: one peer's requests of a kind.
type turn struct {
	from   string
	method uint16
}

// maxPartials is as many as a node asks for at once that lets no more sign
// requests in than that (signerapi's InFlight). Custody's socket has room for
// so many of every peer.
const maxPartials = 256

// most says how many requests of a kind one peer may have under way: more than
// a node asks for at once, some of which it may have withdrawn before.
func most(method uint16) int {
	switch method {
	case signer.MethodPartial:
		return maxPartials
	case methodStop:
		return 64 // one for each client of the Keymanager API that deletes keys
	case methodSlashing:
		return 4 // of 4 MiB, which wait for their grant
	}
	// Of a beacon's rounds one for everybody else and one for a ceremony; of
	// histories one for each client that exports; of all others one.
	return 8
}

// begin takes a turn, which done ends, or refuses it.
func (t *turns) begin(from string, method uint16) (done func(), err error) {
	who, limit := turn{from, method}, most(method)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.busy[who] == limit {
		return nil, rpc.Errorf(rpc.CodeUnavailable, "%d requests of %s are under way", limit, from)
	}
	if t.busy == nil {
		t.busy = map[turn]int{}
	}
	t.busy[who]++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.busy[who]--
	}, nil
}

// lasting is for what custody does for a peer: it goes on with what is
// withdrawn, and until it has answered the turn is not over.
func lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), askTime)
}
