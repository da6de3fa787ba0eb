package ident

import (
	"bytes"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"os"
	"testing"

	"github.com/quorate/quorate/internal/wire"
)

// fromSSH turns the wire format of an SSH signature into ours.
func fromSSH(t *testing.T, key PublicKey, raw []byte) []byte {
	t.Helper()
	d := wire.NewDecoder(raw)
	d.String(wire.MaxName)
	sig := d.Bytes(256)
	if key.key.(*sshKey).ec != nil {
		inner := wire.NewDecoder(sig)
		r, s := new(big.Int).SetBytes(inner.Bytes(33)), new(big.Int).SetBytes(inner.Bytes(33))
		if err := inner.Finish(); err != nil {
			t.Fatal(err)
		}
		var err error
		if sig, err = EncodeP256(r, s); err != nil {
			t.Fatal(err)
		}
	}
	return append(sig, d.Rest()...)
}

// TestSSHVectors checks OpenSSH's own signatures, in its namespace.
func TestSSHVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/sshsig.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name              string
		Public, Signature []byte
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	signed := sshsig("unittest", []byte("This is a test, this is only a test"))
	counted := 0
	for _, v := range vectors {
		key, err := NewSSH(v.Public, false)
		if v.Name == "rsa" || v.Name == "ecdsa_sk_webauthn" { // its application is a domain
			if err == nil {
				t.Errorf("%s: taken", v.Name)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		d := wire.NewDecoder(v.Signature[len("SSHSIG")+4:])
		if blob := d.Bytes(1 << 10); !bytes.Equal(blob, v.Public) {
			t.Fatalf("%s: another key", v.Name)
		}
		d.String(64)
		d.String(0)
		d.String(16)
		sig := fromSSH(t, key, d.Bytes(1<<10))
		k := key.key.(*sshKey)
		if !k.verifySigned(signed, sig) {
			t.Errorf("%s does not verify", v.Name)
		}
		for i := range sig {
			bad := bytes.Clone(sig)
			bad[i] ^= 1
			if k.verifySigned(signed, bad) {
				t.Errorf("%s: byte %d does not count", v.Name, i)
			}
		}
		if k.verify("", [32]byte{}, sig) || k.verifySigned(sshsig(SSHNamespace, []byte("This is a test, this is only a test")), sig) {
			t.Errorf("%s verifies in another namespace", v.Name)
		}
		if k.need != 0 { // the vectors' tokens did not ask for a PIN
			strict, err := NewSSH(v.Public, true)
			if err != nil {
				t.Fatal(err)
			}
			if strict.key.(*sshKey).verifySigned(signed, sig) {
				t.Errorf("%s verifies without the user's verification", v.Name)
			}
		} else if _, err := NewSSH(v.Public, true); err == nil {
			t.Errorf("%s: a key without a token asks for verification", v.Name)
		}
		counted++
	}
	if counted != 4 {
		t.Errorf("%d vectors verified, want 4", counted)
	}
}

func TestEncodeP256(t *testing.T) {
	n := elliptic.P256().Params().N
	one, half := big.NewInt(1), halfOrder()
	for _, c := range []struct {
		r, s *big.Int
		ok   bool
	}{
		{one, one, true}, {one, half, true}, {one, new(big.Int).Sub(n, one), true},
		{one, n, false}, {n, one, false}, {new(big.Int), one, false}, {one, new(big.Int), false}, {big.NewInt(-1), one, false},
	} {
		out, err := EncodeP256(c.r, c.s)
		if (err == nil) != c.ok {
			t.Errorf("(%v, %v): %v", c.r, c.s, err)
		}
		if err == nil && new(big.Int).SetBytes(out[32:]).Cmp(half) > 0 {
			t.Errorf("(%v, %v): the larger s", c.r, c.s)
		}
	}
}

func FuzzVerifySSH(f *testing.F) {
	k := agent{seeded(f, false, 1), "ssh:", 1}
	pk, err := ParsePublicKey(k.encoded(flagPresent))
	if err != nil {
		f.Fatal(err)
	}
	good := k.over(f, SSHMessage(wire.TagTx))
	f.Add(good)
	f.Add(good[:65])
	f.Fuzz(func(t *testing.T, sig []byte) {
		if pk.Verify(sig, wire.TagTx) == nil && !bytes.Equal(sig, good) {
			t.Fatalf("another signature verifies: %s", base64.StdEncoding.EncodeToString(sig))
		}
	})
}
