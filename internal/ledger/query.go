package ledger

import (
	"fmt"
	"strings"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/wire"
)

// mustParse turns damage of one's own state into a stop: a replica that
// skips a record it cannot read forks.
func mustParse[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("ledger: own state is damaged: %v", err))
	}
	return v
}

// Node returns a node's record.
func (s *State) Node(name string) (*action.NodeRecord, bool) {
	for _, n := range s.Nodes() {
		if n.Name == name {
			return n, true
		}
	}
	return nil, false
}

// Nodes returns all nodes, in order of their names. The caller must not change
// them: they are kept, because to read them costs more than all the rest of
// checking a transaction whose signature was seen.
func (s *State) Nodes() []*action.NodeRecord {
	if s.nodes == nil {
		s.iterate(s.ns.Prefix("node"), func(_, v []byte) bool {
			s.nodes = append(s.nodes, mustParse(action.ParseNodeRecord(v)))
			return true
		})
	}
	return s.nodes
}

// Member returns a member's record.
func (s *State) Member(id string) (*action.MemberRecord, bool) {
	raw := s.Get(s.ns.Member([]byte(id)))
	if raw == nil {
		return nil, false
	}
	return mustParse(action.ParseMemberRecord(raw)), true
}

// Key returns a key of the inventory.
func (s *State) Key(domain action.Domain, publicKey []byte) (*action.KeyRecord, error) {
	raw := s.Get(s.ns.Key(string(domain), publicKey))
	if raw == nil {
		return nil, refuse(CodeNotFound, "key 0x%x is not in the %s inventory", publicKey, domain)
	}
	return mustParse(action.ParseKeyRecord(raw)), nil
}

func (s *State) putKey(k *action.KeyRecord) {
	s.set(s.ns.Key(string(k.Domain), k.PublicKey), k.Encode())
}

// Keys visits a domain's inventory in order of the keys.
func (s *State) Keys(domain action.Domain, visit func(*action.KeyRecord) bool) {
	s.iterate(s.ns.Prefix("key", string(domain)), func(_, v []byte) bool {
		return visit(mustParse(action.ParseKeyRecord(v)))
	})
}

// ChangedKeys returns the keys that this block put into the inventory or
// changed there.
func (s *State) ChangedKeys() (out []*action.KeyRecord) {
	prefix := string(s.ns.Prefix("key"))
	for _, w := range s.Writes() {
		if strings.HasPrefix(string(w.Key), prefix) && w.Value != nil {
			out = append(out, mustParse(action.ParseKeyRecord(w.Value)))
		}
	}
	return out
}

// LastUse returns when a key was last reported used, in milliseconds of
// block time; 0 is never.
func (s *State) LastUse(domain action.Domain, publicKey []byte) uint64 {
	return wire.NewDecoder(s.Get(s.lastUsePath(domain, publicKey))).U64()
}
