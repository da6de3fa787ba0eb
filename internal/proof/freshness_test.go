package proof_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/proof"
)

func TestFreshness(t *testing.T) {
	l := ledger4()
	path := proof.Root.Fresh("node0", "secret")
	nonce := [32]byte{1, 2, 3}
	c := client(t, l.Trust(period))
	stale := l.Certify(0, path)
	_, old := accept(t, c, stale)

	l.Set(path, nonce[:])
	l.Block(time.Second)
	_, v := accept(t, c, l.Certify(0, path))
	l.Block(time.Second)
	_, later := accept(t, c, l.Certify(0))

	const window, asked = time.Minute, 1000 * time.Second
	f := proof.NewFreshness(window)
	must := func(want bool, err error) {
		t.Helper()
		if (err == nil) != want || err != nil && !errors.Is(err, proof.ErrStale) {
			t.Fatalf("got %v, want fresh = %v", err, want)
		}
	}
	must(false, f.Fresh(v, asked))
	_, err := f.Prove(v, path) // nothing was asked
	must(false, err)
	f = f.Ask([32]byte{9}, asked)
	_, err = f.Prove(v, path) // another nonce
	must(false, err)
	f = f.Ask(nonce, asked)
	_, err = f.Prove(old, path) // absent
	must(false, err)
	_, err = f.Prove(v, nodePath) // not shown
	must(false, err)
	if _, ok := f.Latest(asked); ok {
		t.Fatal("time without an anchor")
	}
	f, err = f.Prove(v, path)
	must(true, err)
	_, err = f.Prove(v, path) // a nonce serves once
	must(false, err)

	must(true, f.Fresh(v, asked+window))
	must(true, f.Fresh(later, asked+window))
	must(false, f.Fresh(old, asked+1))
	must(false, f.Fresh(later, asked+window+1))
	must(false, f.Fresh(later, asked-1)) // a clock that ran backwards proves nothing
	must(false, f.Fresh(proof.Verified{}, asked))
	must(false, proof.Freshness{}.Fresh(later, 0))
	if at, ok := f.Latest(asked + 10*time.Second); !ok || !at.Equal(v.Time().Add(10*time.Second)) {
		t.Fatalf("latest %v %v", at, ok)
	}
	if _, ok := f.Latest(asked + window + 1); ok {
		t.Fatal("time after the window")
	}
	if h, at, since, ok := f.Anchored(); !ok || h != v.Height() || !at.Equal(v.Time()) || since != asked {
		t.Fatal("anchor differs")
	}
	// Asking again leaves the anchor; proving moves it, never down.
	f = f.Ask(nonce, asked+2*window)
	must(false, f.Fresh(v, asked+2*window))
	f, err = f.Prove(v, path)
	must(true, err)
	must(true, f.Fresh(v, asked+3*window))
}

func TestPathsAreDistinct(t *testing.T) {
	seen := map[proof.Path]string{}
	for _, c := range [][]string{
		{"a", "b"}, {"a/b"}, {"a", ""}, {"a"}, {"", "a"}, {"a%2fb"}, {"a%2Fb"}, {"a", "b", ""}, {"A"}, {"ä"}, {"a\x00"}, {"a "}, {"."}, {".."},
	} {
		p := proof.Root.Path("kind", c...)
		if was, ok := seen[p]; ok {
			t.Errorf("%q and %s share %q", c, was, p)
		}
		seen[p] = fmt.Sprintf("%q", c)
	}
	if p := proof.Root.Key("validator", []byte{0xab, 1}); p != "root/key/validator/ab01" {
		t.Error(p)
	}
	if p := proof.Namespace("team/a").Node("n 0"); p != "team%2fa/node/n%200" {
		t.Error(p)
	}
	if p := proof.Root.Prefix("node"); p != "root/node/" {
		t.Error(p)
	}
}
