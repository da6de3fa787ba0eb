package hall

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/ledger"
)

// Config says on which ledger the ceremonies are.
type Config struct {
	// View returns the committed state, to be read and forgotten.
	View func() (*ledger.State, error)
	// Submit hands a transaction of the node to the ledger, and returns what
	// became of it once a block carries it. A refusal is a *ledger.Error.
	Submit func(ctx context.Context, kind action.Kind, body []byte) (ledger.Result, error)
	// Dir is where ciphertexts lie while a ceremony needs them.
	Dir string
}

const (
	maxFollowed = 12  // boards of ceremonies, of up to 50 MB; of open ones the ledger allows 8
	maxPosts    = 160 // transactions under way; the others of the node's 256 in a block are its own
	maxOfSeat   = 4   // of them from one participant: a dealer has a header and three chunks
	maxSums     = 8   // of all while sums are published, which everybody has and one is enough to say
	maxRefused  = 64  // messages of one participant that the ledger refused, before its node carries no more
)

// Hall follows ceremonies. Make it with New.
type Hall struct {
	config Config
	posts  chan struct{}
	door   chan struct{} // holds one element while a dealing is checked

	mu       sync.Mutex
	open     []*Room          // least recently asked for first
	dealings map[dealing]bool // under way
}

// New makes a hall with nobody in it.
func New(c Config) *Hall {
	return &Hall{config: c, posts: make(chan struct{}, maxPosts), door: make(chan struct{}, 1), dealings: map[dealing]bool{}}
}

// Room is one ceremony, as the node has followed it.
type Room struct {
	ID       [32]byte
	Record   *action.AssemblyRecord // that the follower has come to
	Follower *assembly.Follower     // for the reader alone, while it reads
	Refused  map[int]int            // messages that the ledger did not take, by whose they are

	hall    *Hall
	ended   atomic.Bool            // of the ceremony, to be known without the lock
	mu      sync.Mutex             // of all but hall and ended
	posts   map[int]int            // under way, by participant
	waiting map[assembly.Phase]int // of them, by the phase in which they came
	entries map[[32]byte]uint64    // by hash
	refused map[[32]byte]uint64    // how long the log was, by the hash of the entry that was none
	mail    map[int]*mailbag
}

// ErrUnknown is returned for a ceremony that is not on the ledger.
var ErrUnknown = errors.New("no such ceremony among participants is on the ledger")

// room returns the place of a ceremony, and makes room for it.
func (h *Hall) room(id [32]byte) *Room {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := slices.IndexFunc(h.open, func(r *Room) bool { return r.ID == id })
	r := &Room{ID: id, Refused: map[int]int{}, hall: h, posts: map[int]int{}, waiting: map[assembly.Phase]int{}, entries: map[[32]byte]uint64{}, refused: map[[32]byte]uint64{}, mail: map[int]*mailbag{}}
	if at >= 0 {
		r = h.open[at]
		h.open = slices.Delete(h.open, at, at+1)
	} else if len(h.open) == maxFollowed {
		// Who asks for what has ended pushes out nothing that goes on.
		out := max(0, slices.IndexFunc(h.open, func(r *Room) bool { return r.ended.Load() }))
		h.open = slices.Delete(h.open, out, out+1)
	}
	h.open = append(h.open, r)
	return r
}

// Read lets somebody look at a ceremony as it is now. What read is given it
// must not keep.
func (h *Hall) Read(id [32]byte, read func(*Room) error) error {
	view, err := h.config.View()
	if err != nil {
		return err
	}
	record, ok := view.Assembly(id)
	if !ok {
		return ErrUnknown
	}
	r := h.room(id)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.follow(view, record); err != nil {
		return err
	}
	return read(r)
}

// follow reads on in the log. Somebody may have read further since.
func (r *Room) follow(view *ledger.State, record *action.AssemblyRecord) error {
	if r.Follower == nil {
		f, err := assembly.Follow(view.AssemblyEntry(r.ID, 0))
		if err != nil {
			return err
		}
		r.Follower, r.Record = f, record
	}
	for r.Follower.Entries() < record.Entries {
		entry := view.AssemblyEntry(r.ID, r.Follower.Entries()+1)
		if err := r.Follower.Take(entry); err != nil {
			return err
		}
		r.entries[sha256.Sum256(entry)] = r.Follower.Entries()
	}
	r.ended.Store(r.Follower.Board().Phase().Ended())
	if record.Entries == r.Follower.Entries() && record.Seals >= r.Record.Seals {
		if r.Follower.Link() != record.Link {
			return fmt.Errorf("follow ceremony %x: the log ends with another link than the ledger's", r.ID[:8])
		}
		r.Record = record
	}
	return nil
}

// FollowOpen reads on in the logs of all open ceremonies, and forgets the mail
// of those that have ended.
func (h *Hall) FollowOpen() error {
	view, err := h.config.View()
	if err != nil {
		return err
	}
	open := view.OpenAssemblies()
	var failed error
	for _, id := range open {
		failed = errors.Join(failed, h.Read(id, func(*Room) error { return nil }))
	}
	return errors.Join(failed, h.dropMail(open))
}

// Rooms lets somebody look at all ceremonies that are open, as far as they
// have been followed.
func (h *Hall) Rooms(visit func(*Room)) error {
	view, err := h.config.View()
	if err != nil {
		return err
	}
	for _, id := range view.OpenAssemblies() {
		err = errors.Join(err, h.Read(id, func(r *Room) error {
			visit(r)
			return nil
		}))
	}
	return err
}

// ErrBusy is returned to a participant of whom enough is under way, or that
// has said too much that the ledger did not take.
var ErrBusy = errors.New("too much of this participant's is under way, or was refused")

// errRefused is the answer to what was refused, while the log is as it was then:
// later it may be in place. A vote that comes after n-f others is refused, and
// whoever carried it has it: to bring it again and again must not use up what
// its participant may say.
var errRefused = errors.New("the ledger did not take this message before, and nothing has happened since")

// Say carries a participant's message to the ledger and returns the number of
// its entry, also when somebody brings it again: whoever reads the log can. A
// refusal is a *ledger.Error.
func (h *Hall) Say(ctx context.Context, m ledger.AssemblyMessage) (entry uint64, err error) {
	seat := int(m.Seat)
	hash := sha256.Sum256(assembly.PostEntry(seat, m.Message, m.Signature))
	var room *Room
	var phase assembly.Phase
	var length uint64
	if err := h.Read(m.Ceremony, func(r *Room) (err error) {
		room, phase, length = r, r.Follower.Board().Phase(), r.Follower.Entries()
		if entry = r.entries[hash]; entry > 0 {
			return nil
		}
		if at, ok := r.refused[hash]; ok && at == length {
			return &ledger.Error{Code: ledger.CodePhase, Err: errRefused}
		}
		if err = r.admit(phase, seat, m); err == nil {
			r.posts[seat]++
			r.waiting[phase]++
		}
		return err
	}); err != nil || entry > 0 {
		return entry, err
	}
	res, err := h.submit(ctx, action.KindAssembly, m.Encode())
	room.mu.Lock()
	defer room.mu.Unlock()
	room.posts[seat]--
	room.waiting[phase]--
	if refused := (*ledger.Error)(nil); errors.As(err, &refused) && refused.Code == ledger.CodePhase {
		if _, again := room.refused[hash]; !again {
			room.Refused[seat]++
		}
		room.refused[hash] = length
	}
	return res.Entry, err
}

// admit refuses what the ledger would refuse, as far as that is cheap to see,
// and what would crowd out others.
func (r *Room) admit(phase assembly.Phase, seat int, m ledger.AssemblyMessage) error {
	if _, err := r.Follower.Roster().CheckMessage(seat, m.Message, m.Signature); err != nil {
		code := ledger.CodeMalformed
		if errors.Is(err, ident.ErrSignature) {
			code = ledger.CodeSigner
		}
		return &ledger.Error{Code: code, Err: err}
	}
	switch {
	case phase.Ended() || phase.AwaitsRandomness():
		return &ledger.Error{Code: ledger.CodePhase, Err: fmt.Errorf("the ceremony is in phase %s, where nobody is asked", phase)}
	case r.posts[seat] >= maxOfSeat || r.Refused[seat] >= maxRefused || phase == assembly.PhasePublish && r.waiting[phase] >= maxSums:
		return ErrBusy
	}
	return nil
}

// Seal carries a participant's seal to the ledger, once: it is brought to every
// node.
func (h *Hall) Seal(ctx context.Context, s ledger.AssemblySeal) error {
	view, err := h.config.View()
	if err != nil {
		return err
	}
	if slices.Equal(view.AssemblySealOf(s.Ceremony, int(s.Seat)), s.Signature) && len(s.Signature) > 0 {
		return nil
	}
	if err := h.Read(s.Ceremony, func(r *Room) error {
		if err := r.Follower.CheckSeal(assembly.Seal{Seat: int(s.Seat), Signature: s.Signature}); err != nil {
			return &ledger.Error{Code: ledger.CodeSigner, Err: err}
		}
		return nil
	}); err != nil {
		return err
	}
	_, err = h.submit(ctx, action.KindAssemblySeal, s.Encode())
	return err
}

// submit waits for its turn: the node's own transactions find room in every
// block.
func (h *Hall) submit(ctx context.Context, kind action.Kind, body []byte) (ledger.Result, error) {
	select {
	case h.posts <- struct{}{}:
		defer func() { <-h.posts }()
	case <-ctx.Done():
		return ledger.Result{}, fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
	}
	return h.config.Submit(ctx, kind, body)
}
