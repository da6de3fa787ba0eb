package ledger

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ledger/ledgertest"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/wire"
)

// merkle is RFC 6962, section 2.1, word for word.
func merkle(leaves [][32]byte) [32]byte {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, leaves[0][:]...))
	default:
		k := 1
		for 2*k < n {
			k *= 2
		}
		left, right := merkle(leaves[:k]), merkle(leaves[k:])
		return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
	}
}

func TestFrontier(t *testing.T) {
	log, err := parseFrontier(nil)
	if err != nil {
		t.Fatal(err)
	}
	var leaves [][32]byte
	for i := range 300 {
		if log.size() != uint64(i) || log.root() != merkle(leaves) {
			t.Fatalf("wrong root over %d leaves", i)
		}
		again, err := parseFrontier(log.encode())
		if err != nil || !bytes.Equal(again.encode(), log.encode()) {
			t.Fatalf("the frontier of %d leaves changes when it is parsed: %v", i, err)
		}
		leaf := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		branch := log.clone()
		branch.append(sha256.Sum256([]byte("a transaction that fails")), nil)
		if i%2 == 0 {
			log = again // as from the disk
		}
		log.append(leaf, nil)
		leaves = append(leaves, leaf)
	}
	if size := len(log.encode()); size > 8+64*32 {
		t.Errorf("frontier of %d bytes", size)
	}
}

func FuzzParseFrontier(f *testing.F) {
	log, _ := parseFrontier(nil)
	for i := range 40 {
		f.Add(log.encode())
		log.append([32]byte{byte(i)}, nil)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		log, err := parseFrontier(in)
		if err != nil || len(in) == 0 {
			return
		}
		if !bytes.Equal(log.encode(), in) {
			t.Fatalf("parse then encode changed %x", in)
		}
		log.root()
		log.clone().append([32]byte{1}, nil)
	})
}

func sampleEvent() *Event {
	return &Event{Kind: EventGranted, Height: 7, Time: 8, Actor: "member/alice", Human: "alice", Operator: "op", Region: "r", Purpose: "why",
		Object: "validator/00", Request: [32]byte{1}, Cause: 3, Exercise: true, Detail: "detail", Salt: [16]byte{9}}
}

func FuzzParseEvent(f *testing.F) {
	ev := sampleEvent()
	f.Add(append(ev.Salt[:], ev.Encode()...))
	f.Add(append(make([]byte, 16), (&Event{}).Encode()...))
	f.Fuzz(func(t *testing.T, in []byte) {
		ev, err := ParseEvent(in)
		if err == nil && !bytes.Equal(append(ev.Salt[:], ev.Encode()...), in) {
			t.Fatalf("parse then encode changed %x", in)
		}
	})
}

func FuzzParseAbout(f *testing.F) {
	f.Add(About{}.encode())
	f.Add(About{Purpose: "p", Owner: "o", By: "node/n", Opened: 1, Time: 2, Keys: [][]byte{{1}, nil, {2, 3}}}.encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		a, err := parseAbout(in)
		if err == nil && !bytes.Equal(a.encode(), in) {
			t.Fatalf("parse then encode changed %x", in)
		}
	})
}

// TestLog: every body opens its salted leaf, the leaves make the root, and an
// erased body leaves everything else as it was.
func TestLog(t *testing.T) {
	w := newWorld(t, 4)
	k := w.giveKey(action.KeyRecord{PublicKey: []byte{1}, State: action.KeyActive})
	for i := range uint64(20) {
		w.next(w.Tx(node0, action.KindRequest, settingsOf(k, i)), w.Tx(olga, action.KindRequest, settingsOf(k, i)))
	}
	s := w.view()
	size, root := s.LogRoot()
	if size != 41 || size != uint64(len(w.events)) {
		t.Fatalf("%d events, %d recorded", size, len(w.events))
	}
	var leaves [][32]byte
	salts := map[[16]byte]bool{}
	for i := range size {
		ev := s.Event(i)
		if ev == nil || *ev != w.events[i] {
			t.Fatalf("event %d is %+v, was %+v", i, ev, w.events[i])
		}
		if salts[ev.Salt] || ev.Salt == [16]byte{} {
			t.Fatalf("event %d has the salt of another", i)
		}
		salts[ev.Salt] = true
		leaves = append(leaves, wire.Hash(wire.TagEventLeaf, ev.Salt[:], ev.Encode()))
	}
	if merkle(leaves) != root {
		t.Fatal("the leaves do not make the root")
	}
	if s.Event(size) != nil {
		t.Fatal("an event after the last")
	}
	delete(w.bodies, string(EventPath(7)))
	s = w.view()
	if s.Event(7) != nil || s.Event(8) == nil {
		t.Fatal("erased the wrong one")
	}
	w.next(w.Tx(node0, action.KindRequest, settingsOf(k, 99)))
	leaves = append(leaves, w.events[size].Leaf())
	if grown, now := w.view().LogRoot(); grown != size+1 || now != merkle(leaves) {
		t.Fatal("the log does not go on after an erasure")
	}
}

// A leaf commits to every field, and without the salt to nothing.
func TestLeaf(t *testing.T) {
	leaf := sampleEvent().Leaf()
	for name, change := range map[string]func(*Event){
		"kind": func(e *Event) { e.Kind++ }, "height": func(e *Event) { e.Height++ }, "time": func(e *Event) { e.Time++ },
		"actor": func(e *Event) { e.Actor += "x" }, "human": func(e *Event) { e.Human = "" }, "operator": func(e *Event) { e.Operator = "r"; e.Region = "op" },
		"region": func(e *Event) { e.Region += "x" }, "purpose": func(e *Event) { e.Purpose = "" }, "object": func(e *Event) { e.Object = "" },
		"request": func(e *Event) { e.Request[31]++ }, "cause": func(e *Event) { e.Cause = 0 }, "exercise": func(e *Event) { e.Exercise = false },
		"detail": func(e *Event) { e.Detail = "Detail" }, "salt": func(e *Event) { e.Salt[15]++ },
	} {
		ev := sampleEvent()
		change(ev)
		if ev.Leaf() == leaf {
			t.Errorf("the leaf does not depend on the %s", name)
		}
	}
}

func TestLongDetail(t *testing.T) {
	w := newWorld(t, 4)
	s := w.view()
	s.record(txContext{block: w.block}, Event{Kind: EventGranted, Detail: strings.Repeat("x", 5000)})
	w.commit(s)
	if ev := w.view().Event(1); ev == nil || len(ev.Detail) != maxEventField {
		t.Fatalf("event %+v", ev)
	}
}

func TestEventNames(t *testing.T) {
	seen := map[string]bool{}
	for k := EventGenesis; k <= EventIncarnation; k++ {
		if name := k.String(); seen[name] || strings.HasPrefix(name, "event ") {
			t.Errorf("kind %d is called %q", k, name)
		} else {
			seen[name] = true
		}
	}
}

// iterate against a sorted merge of maps.
func TestIterate(t *testing.T) {
	keys := rapid.StringMatching(`[ab]{0,3}`)
	value := rapid.SliceOfN(rapid.Byte(), 1, 2)
	rapid.Check(t, func(t *rapid.T) {
		base := ledgertest.Memory{}
		for k, v := range rapid.MapOf(keys, value).Draw(t, "base") {
			base[k] = v
		}
		s, err := NewState(action.ClusterID{}, "root", base, ledgertest.Memory{}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		change := func(s *State, name string) {
			for range rapid.IntRange(0, 8).Draw(t, name) {
				v := value.Draw(t, "value")
				if rapid.Bool().Draw(t, "delete") {
					v = nil
				}
				s.kv[keys.Draw(t, "key")] = v
			}
		}
		change(s, "block")
		s.attempt(func(s *State) Code {
			change(s, "attempt")
			want := ledgertest.Memory{}
			for k, v := range base {
				want[k] = v
			}
			for _, l := range []layer{s.outer.kv, s.kv} {
				for k, v := range l {
					if want[k] = v; v == nil {
						delete(want, k)
					}
				}
			}
			prefix, limit := rapid.StringMatching(`[ab]{0,2}`).Draw(t, "prefix"), rapid.IntRange(1, 9).Draw(t, "limit")
			from := rapid.StringMatching(`[ab]{0,3}`).Draw(t, "from")
			collect := func(iterate func(prefix, from []byte, visit func(k, v []byte) bool)) (got []string) {
				iterate([]byte(prefix), []byte(from), func(k, v []byte) bool {
					got = append(got, string(k)+"="+string(v))
					return len(got) < limit
				})
				return got
			}
			got := collect(func(p, from []byte, visit func(k, v []byte) bool) {
				s.iterateFrom(proof.Path(p), proof.Path(from), visit)
			})
			if oracle := collect(want.Iterate); strings.Join(got, ",") != strings.Join(oracle, ",") {
				t.Fatalf("prefix %q, from %q, limit %d: %q, want %q", prefix, from, limit, got, oracle)
			}
			return OK
		})
	})
}
