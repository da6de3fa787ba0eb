package proof_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/proof/prooftest"
	"github.com/quorate/quorate/internal/wire"
)

const period = 24 * time.Hour

var (
	nodePath  = proof.Root.Node("node0")
	grantPath = proof.Root.Grant([]byte{1, 2, 3})
	otherPath = proof.Root.Grant([]byte{4})
)

// ledger4 has four validators, twenty nodes and a few blocks.
func ledger4() *prooftest.Ledger {
	l := prooftest.New(4)
	for i := range 20 {
		l.Set(proof.Root.Node(fmt.Sprintf("node%d", i)), []byte{byte(i + 1)})
	}
	for range 3 {
		l.Block(time.Second)
	}
	return l
}

func client(t testing.TB, trust proof.Trust) proof.Client {
	t.Helper()
	c, err := proof.NewClient(trust)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func accept(t testing.TB, c proof.Client, cert *proof.Certificate) (proof.Client, proof.Verified) {
	t.Helper()
	c, v, err := c.Verify(cert)
	if err != nil {
		t.Fatal(err)
	}
	return c, v
}

func refuse(t testing.TB, c proof.Client, cert *proof.Certificate, want error) {
	t.Helper()
	after, v, err := c.Verify(cert)
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
	if v.Height() != 0 || !reflect.DeepEqual(after, c) {
		t.Fatal("a refused certificate yields something")
	}
}

func TestVerifyYieldsWhatIsProven(t *testing.T) {
	l := ledger4()
	c, v := accept(t, client(t, l.Trust(period)), l.Certify(0, nodePath, grantPath))
	if got, ok := v.Get(nodePath); !ok || !bytes.Equal(got, []byte{1}) {
		t.Fatalf("node0 holds %x, %v", got, ok)
	}
	if _, ok := v.Get(grantPath); ok || !v.Absent(grantPath) {
		t.Fatal("the grant is not proven absent")
	}
	if _, ok := v.Get(otherPath); ok || v.Absent(otherPath) {
		t.Fatal("something is proven of a path that the certificate does not name")
	}
	if v.Absent(nodePath) {
		t.Fatal("present and absent")
	}
	if v.Height() != 3 || !v.Time().Equal(l.Time()) || c.Height() != 3 || !c.Time().Equal(l.Time()) {
		t.Fatal("height or time differ from the ledger's")
	}
	if _, ok := (proof.Verified{}).Get(nodePath); ok || (proof.Verified{}).Absent(nodePath) {
		t.Fatal("the zero value proves something")
	}
}

// Every byte of a certificate counts: with any one changed, it no longer says
// what it said.
func TestEveryByteCounts(t *testing.T) {
	l := ledger4()
	l.Replace(prooftest.Keys(5))
	l.Block(time.Second)
	l.Block(time.Second)
	raw, err := l.Certify(0, nodePath, grantPath, "!", "zzz").Encode() // present; absent inside, before, after
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, prooftest.New(4).Trust(period))
	cert, err := proof.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	accept(t, c, cert)
	t.Logf("certificate of %d bytes", len(raw))
	for i := range raw {
		for _, mask := range []byte{1, 0x80} {
			mutant := slices.Clone(raw)
			mutant[i] ^= mask
			cert, err := proof.Parse(mutant)
			if err != nil {
				continue
			}
			// The one change that verifies makes another true statement: of
			// another key that is absent between the same neighbours.
			_, v, err := c.Verify(cert)
			if _, present := v.Get(nodePath); err == nil && present && v.Absent(grantPath) && v.Absent("!") && v.Absent("zzz") {
				t.Fatalf("byte %d changed by %#x: accepted", i, mask)
			}
		}
	}
	for _, mutant := range [][]byte{nil, raw[:len(raw)-1], append(slices.Clone(raw), 0)} {
		if _, err := proof.Parse(mutant); !errors.Is(err, wire.ErrMalformed) {
			t.Fatalf("length %d of %d: %v", len(mutant), len(raw), err)
		}
	}
}

func TestValidatorChanges(t *testing.T) {
	l := prooftest.New(4)
	genesis := client(t, l.Trust(period))
	l.Block(time.Second) // 1
	at1, _ := accept(t, genesis, l.Certify(0))
	before := l.Certify(0, nodePath)

	l.Replace(prooftest.Keys(5))
	l.Block(time.Second) // 2 announces
	change := l.Certify(0)
	at2, v := accept(t, at1, change)
	if v.Height() != 2 || at2.Height() != 1 {
		t.Fatalf("client moved to %d past a change that it has no link for", at2.Height())
	}
	l.Block(time.Second) // 3: first of the new set
	refuse(t, at2, l.Certify(2), proof.ErrValidators)
	at3, _ := accept(t, at2, l.Certify(at2.Height()))
	if at3.Height() != 3 || at3.Validators().Len() != 5 {
		t.Fatal("client did not follow the change")
	}
	accept(t, at3, l.Certify(0)) // links already followed are passed over
	refuse(t, at3, before, proof.ErrValidators)

	l.Replace(prooftest.Keys(6)[2:])
	l.Block(time.Second)
	l.Block(time.Second)
	l.Replace(prooftest.Keys(4))
	l.Block(time.Second)
	l.Block(time.Second) // 7: back to the genesis set
	end := l.Certify(0, nodePath)
	if len(end.Links) != 3 {
		t.Fatalf("%d links", len(end.Links))
	}
	for _, c := range []proof.Client{genesis, at1, at2, at3} {
		got, _ := accept(t, c, end)
		if got.Height() != 7 || got.Validators().Len() != 4 {
			t.Fatalf("from height %d: at %d with %d validators", c.Height(), got.Height(), got.Validators().Len())
		}
	}
	// The same set again needs no links at all.
	bare := l.Certify(7)
	accept(t, at1, bare)

	// A header that was committed leads to the set that it announces, and not
	// to one that somebody made, who signs whatever he likes from there on.
	t.Run("a set of one's own", func(t *testing.T) {
		theirs := prooftest.New(4)
		theirs.Replace(prooftest.Keys(9)[5:])
		theirs.Set(grantPath, []byte("granted"))
		for range 9 {
			theirs.Block(time.Second)
		}
		for name, link := range map[string]proof.Link{"of a change": end.Links[0], "of no change": {Header: end.Header, Commit: end.Commit}} {
			cert := theirs.Certify(theirs.Height(), grantPath)
			link.Next = prooftest.Validators(prooftest.Keys(9)[5:])
			cert.Links = []proof.Link{link}
			c := genesis
			if name == "of no change" {
				c, _ = accept(t, genesis, before)
			}
			refuse(t, c, cert, proof.ErrCertificate)
		}
	})

	t.Run("forged links", func(t *testing.T) {
		for name, forge := range map[string]func(*proof.Certificate){
			"missing":       func(x *proof.Certificate) { x.Links = x.Links[1:] },
			"out of order":  func(x *proof.Certificate) { slices.Reverse(x.Links) },
			"another set":   func(x *proof.Certificate) { x.Links[0].Next = prooftest.Validators(prooftest.Keys(7)) },
			"no set":        func(x *proof.Certificate) { x.Links[0].Next = proof.ValidatorSet{} },
			"bad signature": func(x *proof.Certificate) { x.Links[0].Commit.Signatures[0].Signature[0] ^= 1 },
			"signed by the new": func(x *proof.Certificate) {
				h := &x.Links[0].Header
				nv := x.Links[0].Next.Hash()
				h.ValidatorsHash = nv[:]
				x.Links[0].Commit = prooftest.Sign(h, prooftest.Keys(5))
			},
		} {
			cert := l.Certify(0, nodePath)
			for i := range cert.Links {
				cert.Links[i].Commit.Signatures = slices.Clone(cert.Links[i].Commit.Signatures)
			}
			forge(cert)
			if _, _, err := genesis.Verify(cert); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
	})
}

func TestTimeAndForks(t *testing.T) {
	l := ledger4()
	old := l.Certify(0)
	c, _ := accept(t, client(t, l.Trust(period)), old)

	fork := ledger4()
	fork.Set(otherPath, []byte("fork"))
	twin := prooftest.New(4)
	for range 3 {
		twin.Block(time.Second)
	}
	refuse(t, c, twin.Certify(0), proof.ErrFork) // same height, other state
	c, _ = accept(t, c, old)                     // same height, same header

	twin.Block(-time.Second)
	refuse(t, c, twin.Certify(0), proof.ErrFork) // higher, but not later

	past := prooftest.New(4)
	past.Block(time.Hour)
	refuse(t, c, past.Certify(0), proof.ErrFork) // lower, and later

	l.Block(period)
	c2, _ := accept(t, c, l.Certify(0))
	if back, _ := accept(t, c2, old); !reflect.DeepEqual(back, c2) { // older, same set
		t.Errorf("an old certificate brings the client from height %d to %d", c2.Height(), back.Height())
	}
	l.Block(period + 1)
	refuse(t, c2, l.Certify(0), proof.ErrExpired)
	refuse(t, c, l.Certify(0), proof.ErrExpired)
	accept(t, client(t, l.Trust(period)), l.Certify(0)) // a new client has no time yet
}

func TestTrustInNothing(t *testing.T) {
	if _, err := proof.NewClient(proof.Trust{}); err == nil {
		t.Fatal("trust in nothing accepted")
	}
}

func FuzzParse(f *testing.F) {
	l := ledger4()
	l.Replace(prooftest.Keys(5))
	l.Block(time.Second)
	l.Block(time.Second)
	for _, paths := range [][]proof.Path{nil, {nodePath}, {"!", grantPath, nodePath, "zzz"}} {
		raw, err := l.Certify(0, paths...).Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	c := client(f, prooftest.New(4).Trust(period))
	f.Fuzz(func(t *testing.T, in []byte) {
		cert, err := proof.Parse(in)
		if err != nil {
			if !errors.Is(err, wire.ErrMalformed) {
				t.Fatalf("unwrapped error %v", err)
			}
			return
		}
		out, err := cert.Encode()
		if err != nil || !bytes.Equal(out, in) {
			t.Fatalf("parse then encode changed %x to %x, %v", in, out, err)
		}
		_, _, _ = c.Verify(cert) // must not panic
	})
}

func BenchmarkVerify(b *testing.B) {
	for _, n := range []int{4, 16} {
		l := prooftest.New(n)
		for i := range 5000 {
			l.Set(proof.Root.Node(fmt.Sprintf("node%d", i)), []byte{1})
		}
		l.Block(time.Second)
		cert := l.Certify(0, nodePath, grantPath)
		raw, _ := cert.Encode()
		c := client(b, l.Trust(period))
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, _, err := c.Verify(cert); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(raw)), "bytes")
		})
	}
}
