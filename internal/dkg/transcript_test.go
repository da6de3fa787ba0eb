package dkg_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/dkgtest"
)

func transcript(t testing.TB, c *dkgtest.Ceremony) *dkg.Transcript {
	t.Helper()
	if err := c.Run(); err != nil || c.Board.Phase() != dkg.PhaseDone {
		t.Fatal(c.Board.Phase(), err)
	}
	x, err := dkg.ReadTranscript(c.Board, c.Source)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// What a ceremony leaves proves itself, and no byte of it can change.
func TestTranscript(t *testing.T) {
	for name, suite := range suites {
		for _, hybrid := range []bool{false, true} {
			c := open(t, dkgtest.Params(suite, hybrid, 4, 2))
			if hybrid {
				c.Acts[2] = dkgtest.Silent // QUAL without it, and nothing to it
			}
			proves(t, fmt.Sprintf("%s, hybrid %t", name, hybrid), c)
		}
		base := made(t, dkgtest.Params(suite, false, 4, 2))
		proves(t, name+", refresh", renew(t, base, nil))
		proves(t, name+", reshare", renew(t, base, reshare(0)))
	}
}

func proves(t *testing.T, name string, c *dkgtest.Ceremony) {
	t.Helper()
	x := transcript(t, c)
	result, err := dkg.ReadResult(c.Board, c.Source)
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range [][]byte{x.Archive(), x.Certificate()} {
		again, err := dkg.VerifyTranscript(raw)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if again.Params() != c.Board.Params() || again.Holders() != c.Board.Holders() || again.DepositSafe() != c.Board.DepositSafe() ||
			!slices.EqualFunc(again.PublicKeys(), result.PublicKeys(), bytes.Equal) {
			t.Errorf("%s: the %s proves something else", name, again.Outcome().File)
		}
		work := bytes.Clone(raw)
		for at := 0; at < len(work); at += 1 + len(work)/60 {
			work[at] ^= 1 << (at % 8)
			if _, err := dkg.VerifyTranscript(work); err == nil {
				t.Errorf("%s: byte %d of %d of the %s may flip", name, at, len(raw), again.Outcome().File)
			}
			work[at] ^= 1 << (at % 8)
		}
		for _, cut := range []int{0, 40, len(raw) / 2, len(raw) - 1} {
			if _, err := dkg.VerifyTranscript(raw[:cut]); err == nil {
				t.Errorf("%s: it may end after %d bytes", name, cut)
			}
		}
		if _, err := dkg.VerifyTranscript(append(work, 0)); err == nil {
			t.Errorf("%s: it may go on", name)
		}
	}
}

func FuzzVerifyTranscript(f *testing.F) {
	c := open(f, dkgtest.Params(dkg.SuiteRistretto, false, 4, 1))
	x := transcript(f, c)
	f.Add(x.Archive())
	f.Add(x.Certificate())
	f.Add(transcript(f, renew(f, c, nil)).Archive())
	f.Add(transcript(f, renew(f, c, reshare(0))).Archive())
	f.Fuzz(func(t *testing.T, raw []byte) {
		x, err := dkg.VerifyTranscript(raw)
		if err != nil {
			return
		}
		if again := x.Certificate(); x.Outcome().File == "certificate" && !bytes.Equal(again, raw) {
			t.Error("a certificate changes when it is read")
		}
	})
}
