package bench

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/signerapi"
)

func mainnet(t testing.TB) *eth.Network {
	n, err := eth.LookupNetwork("mainnet")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// whole is a key that nobody split, as a signer in memory may have it.
func whole(t testing.TB, name string) bls.SecretKey {
	t.Helper()
	scalar := sha256.Sum256([]byte(name))
	scalar[0] = 1
	key, err := bls.NewSecretKey(&scalar)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// The signer reads from a body the root that we verify, and slashing
// protection finds nothing in what one key is asked to sign.
func TestVoterAsksForWhatItSays(t *testing.T) {
	n := mainnet(t)
	a, b := newVoter(whole(t, "a").PublicKey(), n), newVoter(whole(t, "b").PublicKey(), n)
	seen := map[[32]byte]bool{}
	var last uint64
	for range 100 {
		for _, v := range []*voter{a, b} {
			body, root, err := v.next()
			if err != nil {
				t.Fatal(err)
			}
			req, err := signerapi.ParseSignRequest(body, n)
			if err != nil {
				t.Fatalf("%v in %s", err, body)
			}
			got, err := req.Duty.SigningRoot(n)
			if err != nil || got != root || req.SigningRoot == nil || *req.SigningRoot != root.Bytes() {
				t.Fatalf("root %v, want %v: %v", got, root, err)
			}
			if seen[root.Bytes()] {
				t.Fatalf("%s is asked for twice", root)
			}
			seen[root.Bytes()] = true
			f := req.Duty.Slashable().(eth.AttestationFacts)
			if f.SourceEpoch+1 != f.TargetEpoch || f.TargetEpoch < last || f.TargetEpoch > last+1 {
				t.Fatalf("vote %+v after target %d", f, last)
			}
			last = f.TargetEpoch
		}
	}
}

// signer answers sign requests with a whole key, or as answer says.
func signer(t *testing.T, key bls.SecretKey, answer func(w http.ResponseWriter, n int) bool) Node {
	asked := 0
	network := mainnet(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if asked++; answer != nil && answer(w, asked) {
			return
		}
		req, err := signerapi.ParseSignRequest(body, network)
		if err != nil {
			t.Errorf("%v in %s", err, body)
			return
		}
		root, err := req.Duty.SigningRoot(network)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprint(w, key.Sign(root))
	}))
	t.Cleanup(s.Close)
	return Node{Signer: strings.TrimPrefix(s.URL, "http://")}
}

func driveOne(t *testing.T, key bls.SecretKey, n Node, duration time.Duration) (*load, error) {
	t.Helper()
	c, err := newClient([]*voter{newVoter(key.PublicKey(), mainnet(t))}, []Node{n})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	var l load
	return &l, drive(t.Context(), []*client{c}, duration, &l)
}

func TestOnlySignaturesCount(t *testing.T) {
	key := whole(t, "a")
	refuse := func(w http.ResponseWriter, n int) bool {
		if n%2 == 0 {
			http.Error(w, "slashable", http.StatusPreconditionFailed)
		}
		return n%2 == 0
	}
	l, err := driveOne(t, key, signer(t, key, refuse), 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if d := l.signed - l.failures; d != 0 && d != 1 || len(l.latency) != l.signed || !strings.Contains(l.failure, "412: slashable") {
		t.Errorf("%d signed, %d refused, %d latencies, %q", l.signed, l.failures, len(l.latency), l.failure)
	}
	if err := l.verify(); err != nil {
		t.Error(err)
	}

	// Every second answer being another key's signature must not go unseen.
	l, err = driveOne(t, key, signer(t, whole(t, "b"), nil), 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.verify(); err == nil || !strings.Contains(err.Error(), "did not sign") {
		t.Errorf("another key's signatures: %v", err)
	}

	never := func(w http.ResponseWriter, _ int) bool {
		http.Error(w, "no quorum", http.StatusServiceUnavailable)
		return true
	}
	l, err = driveOne(t, key, signer(t, key, never), 5*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.verify(); err == nil || !strings.Contains(err.Error(), "no quorum") {
		t.Errorf("a signer that never signs: %v", err)
	}
}

func TestPrimitivesSign(t *testing.T) {
	p, err := newPrimitives(t.TempDir(), mainnet(t), 3)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for _, callers := range []int{1, 4} {
		var sum tally
		if err := p.measure(callers, 20*time.Millisecond, &sum); err != nil {
			t.Fatal(err)
		}
		if sum.signed < callers || len(sum.latency) != sum.signed || sum.rate() <= 0 || sum.cpuEach() <= 0 {
			t.Errorf("%d callers: %+v", callers, sum)
		}
	}
	var synced uint64
	for _, log := range p.logs {
		synced += log.Stats().Records
	}
	if signed := p.turn.Load(); synced != 3*signed {
		t.Errorf("%d records of %d signatures", synced, signed)
	}
	// A share of another key among them does not pass for fast.
	_, other, err := dealKey(3)
	if err != nil {
		t.Fatal(err)
	}
	p.shares[1] = other[1]
	if err := p.sign(false); err == nil {
		t.Error("a false share made a signature")
	}
}

func TestRehearsalMakesKeys(t *testing.T) {
	r, err := rehearse(4, 3)
	if err != nil {
		t.Fatal(err)
	}
	result, err := dkg.ReadResult(r.board, r.body)
	if err != nil || result.Keys() != 3 || r.board.Dealers().Len() != 4 || len(r.board.Faults()) != 0 {
		t.Fatalf("%v, dealers %s, faults %v", err, r.board.Dealers(), r.board.Faults())
	}
	for i, s := range r.seats {
		if s.deal <= 0 || s.verify <= 0 || s.others <= 0 {
			t.Errorf("seat %d has a step without cost: %+v", i+1, s)
		}
	}
	if r.settle <= 0 {
		t.Error("the ledger's verification cost nothing")
	}
}

// The work that stands for a limit must be done, not merely timed.
func TestGroupwork(t *testing.T) {
	w := newGroupwork(4, 3, 2)
	for name, work := range map[string]func() error{"deal": w.deal, "verify": w.verify, "rest": w.rest, "settle": w.settle} {
		if err := work(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.encoded = bytes.Repeat([]byte{0xff}, len(w.encoded))
	if w.verify() == nil || w.settle() == nil {
		t.Error("points that are none were not read")
	}
	c := newConfirmations(4)
	if err := c.verify(); err != nil {
		t.Error(err)
	}
	c.encoded[0], c.encoded[1] = c.encoded[1], c.encoded[0]
	if c.verify() == nil {
		t.Error("false confirmations verify")
	}
}

func TestParseStat(t *testing.T) {
	const tail = " S 1 2 3 4 5 6 7 8 9 10 700 42 0 0 20 0 9"
	for _, name := range []string{"(quorate)", "(a b)", "(x) S 1)", "()"} {
		if got, err := parseStat("77 " + name + tail); err != nil || got != 742 {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
	for _, bad := range []string{"", "77 (quorate) S 1 2", "77 (quorate) S 1 2 3 4 5 6 7 8 9 10 many 42"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

// The kernel's account of this process agrees with itself.
func TestAccounts(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc here")
	}
	own := ownCPU()
	spent, err := spend(func() error {
		for began := time.Now(); time.Since(began) < 50*time.Millisecond; {
			whole(t, "a").PublicKey()
		}
		return nil
	})
	if err != nil || spent <= 0 {
		t.Fatalf("busy for %v: %v", spent, err)
	}
	all, err := cpuOf([]int{os.Getpid()})
	if err != nil || all < own-100*time.Millisecond {
		t.Errorf("%v by stat, %v by rusage: %v", all, own, err)
	}
	if mib, err := rssOf([]int{os.Getpid()}); err != nil || mib < 1 || mib > 1<<12 {
		t.Errorf("%v MiB: %v", mib, err)
	}
	if _, err := cpuOf([]int{1 << 30}); err == nil {
		t.Error("a process that does not exist has an account")
	}
}

func TestFigures(t *testing.T) {
	if f := (Figure{}).rate(300, 400); f.Ratio != 0.75 {
		t.Errorf("rate: %v", f.Ratio)
	}
	if f := (Figure{}).duration(4, 3); f.Ratio != 0.75 {
		t.Errorf("duration: %v", f.Ratio)
	}
	v := []float64{9, 1, 5, 3, 7}
	if percentile(v, 0.5) != 5 || percentile(v, 0.99) != 9 || percentile(v, 0) != 1 || percentile(nil, 0.5) != 0 {
		t.Error("percentiles are wrong")
	}
}
