package custody

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/proof/prooftest"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/wire"
)

// exit is an exit, granted on the ledger, and what it takes to have it signed.
func (w *world) exit(p *Process, key [48]byte, index uint64) (eth.Duty, proof.Path) {
	duty := eth.Duty{Fork: w.fork(), Message: &eth.VoluntaryExit{Epoch: 7, ValidatorIndex: index}}
	a := &action.Action{Rule: action.RuleExit, Domain: action.DomainValidator, PublicKey: key[:], Duty: eth.EncodeDuty(duty)}
	hash := a.Hash(w.cluster)
	path := ns.Grant(hash[:])
	g := action.Grant{Request: action.Request{Action: a.Encode(), By: "node/node0"}, Height: 1, Expires: uint64(w.ledger.Time().Add(time.Hour).UnixMilli())}
	w.ledger.Set(path, g.Encode())
	return duty, path
}

// Only a certificate of this very chain, by more than two thirds of its
// validators, counts.
func TestForgedCertificatesAreRefused(t *testing.T) {
	w := newWorld(t, 4, nil)
	p := w.start(0)
	key := w.give(p, "key")
	duty, path := w.exit(p, key, 1)
	good := w.certify(path)
	cert := w.ledger.Certify(0, path)
	encode := func(c *proof.Certificate) []byte {
		raw, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	other := func(edit func(*prooftest.Ledger), keys []ed25519.PrivateKey) []byte {
		l := prooftest.New(4)
		l.Cluster, l.ChainID = w.cluster, w.cluster.ChainID()
		if edit != nil {
			edit(l)
		}
		l.Replace(keys)
		l.Set(path, cert.Claims[0].Value)
		for l.Height() <= w.ledger.Height() {
			l.Block(time.Since(l.Time()) + time.Second)
		}
		return encode(l.Certify(0, path))
	}
	strangers := []ed25519.PrivateKey{prooftest.Key(10), prooftest.Key(11), prooftest.Key(12), prooftest.Key(13)}
	mutate := func(edit func(*proof.Certificate)) []byte {
		c := *cert
		c.Commit.Signatures = slices.Clone(c.Commit.Signatures)
		c.Claims = slices.Clone(c.Claims)
		edit(&c)
		return encode(&c)
	}
	for name, raw := range map[string][]byte{
		"two of four signed":  mutate(func(c *proof.Certificate) { c.Commit.Signatures = c.Commit.Signatures[:2] }),
		"one signed twice":    mutate(func(c *proof.Certificate) { c.Commit.Signatures[1] = c.Commit.Signatures[0] }),
		"false signature":     mutate(func(c *proof.Certificate) { c.Commit.Signatures[1].Signature[9] ^= 1 }),
		"another height":      mutate(func(c *proof.Certificate) { c.Header.Height++ }),
		"another state":       mutate(func(c *proof.Certificate) { c.State.LogSize++ }),
		"another value":       mutate(func(c *proof.Certificate) { c.Claims[0].Value = append(bytes.Clone(c.Claims[0].Value), 0) }),
		"another path":        mutate(func(c *proof.Certificate) { c.Claims[0].Key = []byte(ns.Grant([]byte{1})) }),
		"another cluster":     other(func(l *prooftest.Ledger) { l.Cluster[0]++ }, prooftest.Keys(4)),
		"another chain":       other(func(l *prooftest.Ledger) { l.ChainID += "x" }, prooftest.Keys(4)),
		"other validators":    other(nil, strangers),
		"nothing proven":      w.prove(),
		"proof of the record": w.prove(ns.Fresh(nodeName(0), "validator")),
	} {
		_, err := w.sign(p, key, duty, raw)
		refused(t, name, err, rpc.CodeNotGranted)
	}
	for name, raw := range map[string][]byte{
		"no certificate":  nil,
		"trailing byte":   append(bytes.Clone(good), 0),
		"truncated":       good[:len(good)-1],
		"not one":         []byte("certificate"),
		"oversize":        make([]byte, wire.MaxProof+1),
		"wrong direction": bytes.Repeat([]byte{0xff}, 100),
	} {
		if _, err := w.sign(p, key, duty, raw); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	w.signed(p, key, duty, good)
}

// What is true counts only while it is proven to be recent, by this process's
// own nonce and clock.
func TestCertificatesHaveToBeFresh(t *testing.T) {
	w := newWorld(t, 4, nil)
	p := w.open(0)
	key := w.give(p, "key")
	clock := time.Hour
	p.chain.clock = func() time.Duration { return clock }
	duty, path := w.exit(p, key, 1)

	_, err := w.sign(p, key, duty, w.certify(path))
	refused(t, "before an anchor", err, rpc.CodeNotGranted)
	if statusOf(t, p).Anchored != 0 {
		t.Error("anchored without an anchor")
	}
	before := w.certify(path)

	// A nonce of another process, a nonce that nobody drew, and one that was
	// replaced prove nothing.
	own := ns.Fresh(nodeName(0), "validator")
	first := w.must(p, MethodChallenge, nil)
	w.ledger.Set(ns.Fresh(nodeName(1), "validator"), first)
	_, err = ask(p, MethodAnchor, w.certify(ns.Fresh(nodeName(1), "validator")))
	refused(t, "the nonce at another's path", err, rpc.CodeNotGranted)
	w.ledger.Set(own, make([]byte, 32))
	_, err = ask(p, MethodAnchor, w.certify(own))
	refused(t, "a nonce of zeros", err, rpc.CodeNotGranted)
	w.must(p, MethodChallenge, nil)
	w.ledger.Set(own, first)
	_, err = ask(p, MethodAnchor, w.certify(own))
	refused(t, "a nonce that was replaced", err, rpc.CodeNotGranted)

	w.anchor(p)
	if got := statusOf(t, p).Anchored; got != w.ledger.Height() {
		t.Errorf("anchored at %d, want %d", got, w.ledger.Height())
	}
	_, err = w.sign(p, key, duty, before)
	refused(t, "older than the anchor", err, rpc.CodeNotGranted)
	after := w.certify(path)
	w.signed(p, key, duty, after)

	clock += wire.FreshnessWindow
	w.signed(p, key, duty, w.certify(path))
	clock++
	_, err = w.sign(p, key, duty, after)
	refused(t, "60 s after the nonce", err, rpc.CodeNotGranted)
	_, err = w.sign(p, key, duty, w.certify(path))
	refused(t, "new, but 60 s after the nonce", err, rpc.CodeNotGranted)
	w.anchor(p)
	w.signed(p, key, duty, w.certify(path))
	clock -= time.Minute
	_, err = w.sign(p, key, duty, w.certify(path))
	refused(t, "with a clock that ran backwards", err, rpc.CodeNotGranted)

	// A process that ran for months without a certificate takes the next.
	clock += 100 * 24 * time.Hour
	w.ledger.Block(100 * 24 * time.Hour)
	w.anchor(p)
	duty, path = w.exit(p, key, 2)
	w.signed(p, key, duty, w.certify(path))

	// So does one that was restarted, and it takes nothing from before.
	stale := w.certify(path)
	p = w.restart(p)
	_, err = w.sign(p, key, duty, stale)
	refused(t, "from before the restart", err, rpc.CodeNotGranted)
	w.signed(p, key, duty, w.certify(path))
}

// statusOf asks a process who it is.
func statusOf(t testing.TB, p *Process) Status {
	t.Helper()
	raw, err := ask(p, MethodStatus, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseStatus(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
