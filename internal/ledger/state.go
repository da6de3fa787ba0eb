package ledger

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/proof"
)

// Reader is committed state. A value that it returns must not be changed.
// There is no error: a replica that cannot read its own state must stop
// rather than guess, so an implementation panics.
type Reader interface {
	Get(key []byte) []byte
	// Iterate visits the keys that begin with prefix and are not below from, in
	// order, until visit returns false.
	Iterate(prefix, from []byte, visit func(key, value []byte) bool)
}

// Write is one change; a nil Value deletes.
type Write struct{ Key, Value []byte }

// State is the ledger as of one point of one block: what is committed, and
// what the block has changed so far.
type State struct {
	cluster action.ClusterID
	ns      proof.Namespace
	base    Reader
	bodies  Reader
	kv      layer  // what this block, or this attempt within it, changed
	body    layer  // bulk data that the state names by hash; it lies beside the tree and can be erased
	outer   *State // during an attempt: the state that it may change
	log     logFrontier
	events  []Event
	nodes   []*action.NodeRecord // what Nodes has read; only Genesis writes them
	cache   *Cache
	drafts  map[string]int // policies that transactions of this block asked for, by who asked
}

// layer is a set of uncommitted writes.
type layer map[string][]byte

func (l layer) sorted() []Write {
	out := make([]Write, 0, len(l))
	for _, k := range slices.Sorted(maps.Keys(l)) {
		out = append(out, Write{[]byte(k), l[k]})
	}
	return out
}

// NewState opens a block on committed state. The frontier is what
// [State.Frontier] returned at the end of the block before, nil at genesis.
// The cache may be nil; who opens many blocks passes the same one.
func NewState(cluster action.ClusterID, namespace proof.Namespace, base, bodies Reader, frontier []byte, cache *Cache) (*State, error) {
	log, err := parseFrontier(frontier)
	if err != nil {
		return nil, err
	}
	return &State{cluster: cluster, ns: namespace, base: base, bodies: bodies, kv: layer{}, body: layer{}, log: log, cache: cache, drafts: map[string]int{}}, nil
}

// Get returns the value of a key, nil when there is none.
func (s *State) Get(path proof.Path) []byte {
	key := string(path)
	for l := s; l != nil; l = l.outer {
		if v, ok := l.kv[key]; ok {
			return v
		}
	}
	return s.base.Get([]byte(key))
}

func (s *State) set(path proof.Path, value []byte) { s.kv[string(path)] = value }
func (s *State) delete(path proof.Path)            { s.kv[string(path)] = nil }

// setBody stores bulk data; getBody reads it back within or after the block.
func (s *State) setBody(key, value []byte) { s.body[string(key)] = value }

func (s *State) getBody(key []byte) []byte {
	for l := s; l != nil; l = l.outer {
		if v, ok := l.body[string(key)]; ok {
			return v
		}
	}
	return s.bodies.Get(key)
}

// iterate visits committed and changed keys alike, in order.
func (s *State) iterate(prefix proof.Path, visit func(key, value []byte) bool) {
	s.iterateFrom(prefix, "", visit)
}

// iterateFrom begins at the first key that is not below from.
func (s *State) iterateFrom(prefix, from proof.Path, visit func(key, value []byte) bool) {
	changed := layer{}
	for l := s; l != nil; l = l.outer {
		for k, v := range l.kv {
			if _, newer := changed[k]; !newer && strings.HasPrefix(k, string(prefix)) && k >= string(from) {
				changed[k] = v
			}
		}
	}
	ahead, more := changed.sorted(), true
	next := func(key, value []byte) {
		more = more && (value == nil || visit(key, value))
	}
	s.base.Iterate([]byte(prefix), []byte(from), func(k, v []byte) bool {
		for ; len(ahead) > 0 && bytes.Compare(ahead[0].Key, k) < 0; ahead = ahead[1:] {
			next(ahead[0].Key, ahead[0].Value)
		}
		if len(ahead) == 0 || !bytes.Equal(ahead[0].Key, k) {
			next(k, v)
		}
		return more
	})
	for _, w := range ahead {
		next(w.Key, w.Value)
	}
}

// Writes returns what the block changed, in key order.
func (s *State) Writes() []Write { return s.kv.sorted() }

// Bodies returns the bulk data that the block adds (or, with a nil Value,
// erases), in key order.
func (s *State) Bodies() []Write { return s.body.sorted() }

// Events returns what the block recorded, in order.
func (s *State) Events() []Event { return s.events }

// Frontier returns the event log's frontier, which the next block opens with.
func (s *State) Frontier() []byte { return s.log.encode() }

// LogRoot returns the size and the RFC 6962 root of the event log.
func (s *State) LogRoot() (uint64, [32]byte) { return s.log.size(), s.log.root() }

// attempt runs change and keeps what it did only if it returns OK, so that a
// transaction that fails leaves no trace.
func (s *State) attempt(change func(*State) Code) Code {
	next := *s
	next.outer, next.kv, next.body = s, layer{}, layer{}
	next.log = s.log.clone()
	code := change(&next)
	if code == OK {
		maps.Copy(s.kv, next.kv)
		maps.Copy(s.body, next.body)
		s.log, s.events = next.log, next.events
	}
	return code
}

// Paths that only the state machine reads; the others are in package proof.

func (s *State) lastUsePath(d action.Domain, publicKey []byte) proof.Path {
	return s.ns.Path("use", string(d), proof.Hex(publicKey))
}
