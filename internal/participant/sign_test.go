package participant

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/secret"
)

// holders plays a ceremony of five, one of them absent, and returns its
// certificate and the shares as they are on disk.
func holders(t *testing.T, nonce byte) (*assembly.Certificate, []byte, []*Share) {
	p := shapes["everybody deals"]
	p.Nonce[0] = nonce
	h, dir := newHall(t, p), t.TempDir()
	var seats []*Seat
	for i := 1; i < int(p.N); i++ {
		seats = append(seats, h.seat(dir, i))
	}
	h.run(seats, nil)
	var all []*Share
	for _, s := range seats {
		share, err := ReadShare(s.config.Dir, credential.Box{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, share)
		defer s.Close()
	}
	c, err := seats[0].Board().Certificate()
	if err != nil {
		t.Fatal(err)
	}
	raw := c.Encode()
	if c, err = assembly.ParseCertificate(raw); err == nil {
		err = c.Verify()
	}
	if err != nil {
		t.Fatal(err)
	}
	return c, raw, all
}

func partsOf(t *testing.T, shares []*Share, st assembly.Statement) (parts []assembly.Part) {
	for _, s := range shares {
		p, err := assembly.SignPart(s.Params, s.Seat, s.Secret, st)
		if err == nil {
			p, err = assembly.ParsePart(p.Encode())
		}
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, p)
	}
	return parts
}

// TestSign has the shares on disk sign a message: t together do, fewer do not,
// a false part is named, and nothing passes for anything else.
func TestSign(t *testing.T) {
	c, _, shares := holders(t, 0)
	p := c.Params()
	st := assembly.StatementOf(p.ID(), []byte("we hold the key"))
	parts := partsOf(t, shares, st)
	s, liars, err := c.Combine(st, parts)
	if err == nil {
		s, err = assembly.ParseSignature(s.Encode())
	}
	if err != nil || len(liars) > 0 || c.CheckSignature(s) != nil {
		t.Fatal(liars, err)
	}
	if _, _, err := c.Combine(st, parts[1:]); err == nil {
		t.Error("three of five sign where four must")
	}
	if _, _, err := c.Combine(st, append(slices.Clone(parts[1:]), parts[1])); err == nil {
		t.Error("one participant counts for two")
	}
	other := assembly.StatementOf(p.ID(), []byte("we do not"))
	if _, _, err := c.Combine(other, parts); err == nil {
		t.Error("parts sign another message")
	}
	s.Statement = other
	if c.CheckSignature(s) == nil {
		t.Error("the signature passes for another message")
	}
	fifth := *shares[3]
	fifth.Seat, fifth.Secret = 5, secret.New(bytes.Repeat([]byte{7}, 32))
	five := append(slices.Clone(parts), partsOf(t, []*Share{&fifth}, st)...)
	if s, liars, err = c.Combine(st, five); err != nil || !slices.Equal(liars, []int{5}) || c.CheckSignature(s) != nil {
		t.Errorf("a false part among good ones: blamed %v, %v", liars, err)
	}
}

// TestSignFederation has two ceremonies converge by what is on their
// participants' disks.
func TestSignFederation(t *testing.T) {
	var raws [][]byte
	var shares [][]*Share
	var certificates []*assembly.Certificate
	for nonce := range byte(2) {
		c, raw, all := holders(t, nonce)
		certificates, raws, shares = append(certificates, c), append(raws, raw), append(shares, all)
	}
	f, err := assembly.NewFederation(2, raws)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range certificates {
		s, _, err := c.Combine(f.Statement(), partsOf(t, shares[i], f.Statement()))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Accept(s); err != nil {
			t.Fatal(err)
		}
		s.Ceremony[0] ^= 1
		if f.Accept(s) == nil {
			t.Error("a signature of no cohort is taken")
		}
	}
	if _, err := assembly.Verify(f.Encode()); err != nil {
		t.Fatal(err)
	}
}

// TestShareFile opens for its seat, its passphrase and its kind alone.
func TestShareFile(t *testing.T) {
	_, _, shares := holders(t, 0)
	if shares[0].Seat != 1 || shares[0].Params.N != 5 {
		t.Error(shares[0].Seat, shares[0].Params)
	}
	dir := t.TempDir()
	seed, err := credential.Box{}.Seal(whatSeed, secret.New(bytes.Repeat([]byte{1}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, fileShare), seed, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadShare(dir, credential.Box{}); err == nil {
		t.Error("a seed is read as a share")
	}
	for name, raw := range map[string]string{"empty": "", "short": "short", "long": strings.Repeat("x", 500)} {
		if s, err := parseShare([]byte(raw)); err == nil {
			t.Errorf("%s: %v", name, s.Seat)
		}
	}
}

func FuzzPart(f *testing.F) {
	f.Add((&assembly.Part{Seat: 1}).Encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		if p, err := assembly.ParsePart(raw); err == nil && !bytes.Equal(p.Encode(), raw) {
			t.Fatal("another encoding of a part")
		}
		if s, err := assembly.ParseSignature(raw); err == nil && !bytes.Equal(s.Encode(), raw) {
			t.Fatal("another encoding of a signature")
		}
	})
}
