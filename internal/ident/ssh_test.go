package ident

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
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

// token signs as PROTOCOL.u2f says a security key does.
type token struct {
	key   ed25519.PrivateKey
	app   string
	flags byte
}

func (k token) blob() []byte {
	var e wire.Encoder
	e.String(sshSKEd25519)
	e.Bytes(k.key.Public().(ed25519.PublicKey))
	e.String(k.app)
	return e.Out()
}

func (k token) sign(tag wire.Tag, parts ...[]byte) []byte {
	app, sum := sha256.Sum256([]byte(k.app)), sha256.Sum256(SSHMessage(tag, parts...))
	tail := []byte{k.flags, 0, 0, 0, 9}
	sig := ed25519.Sign(k.key, append(append(app[:], tail...), sum[:]...))
	return append(append([]byte{byte(SSH)}, sig...), tail...)
}

func TestTokenFlags(t *testing.T) {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	for flags, want := range map[byte][2]bool{ // without and with verification asked for
		0x00: {}, 0x01: {true, false}, 0x04: {}, 0x05: {true, true}, 0x1d: {true, true}, 0x85: {}, 0x45: {},
	} {
		k := token{key, "ssh:quorate", flags}
		for i, verified := range []bool{false, true} {
			pk, err := NewSSH(k.blob(), verified)
			if err != nil {
				t.Fatal(err)
			}
			if got := pk.Verify(k.sign(wire.TagTx, []byte("x")), wire.TagTx, []byte("x")) == nil; got != want[i] {
				t.Errorf("flags %#x, verification asked %v: verifies %v", flags, verified, got)
			}
			if pk.Verify(k.sign(wire.TagTx, []byte("x")), wire.TagGrant, []byte("x")) == nil {
				t.Errorf("flags %#x: verifies under another tag", flags)
			}
		}
	}
}

func TestParseSSHRefuses(t *testing.T) {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	good := token{key, "ssh:", 1}.blob()
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	point, _ := ec.PublicKey.Bytes()
	p256 := func(curve string, point []byte) []byte {
		var e wire.Encoder
		e.String(sshP256)
		e.String(curve)
		e.Bytes(point)
		return e.Out()
	}
	off := bytes.Clone(point)
	off[64] ^= 1
	for name, in := range map[string][]byte{
		"nothing":             nil,
		"flags alone":         {1},
		"no presence":         append([]byte{0}, good...),
		"verification alone":  append([]byte{4}, good...),
		"other flags":         append([]byte{3}, good...),
		"trailing byte":       append(append([]byte{1}, good...), 0),
		"truncated":           append([]byte{1}, good[:len(good)-1]...),
		"a domain's token":    append([]byte{1}, token{key, "example.org", 1}.blob()...),
		"flags without token": append([]byte{1}, p256("nistp256", point)...),
		"other curve":         append([]byte{0}, p256("nistp384", point)...),
		"off the curve":       append([]byte{0}, p256("nistp256", off)...),
		"compressed":          append([]byte{0}, p256("nistp256", elliptic.MarshalCompressed(elliptic.P256(), ec.X, ec.Y))...),
		"infinity":            append([]byte{0}, p256("nistp256", []byte{0})...),
		"huge length":         {0, 0xff, 0xff, 0xff, 0xff},
	} {
		if _, err := ParsePublicKey(append([]byte{byte(SSH)}, in...)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if pk, err := ParsePublicKey(append([]byte{byte(SSH), 0}, p256("nistp256", point)...)); err != nil || !bytes.Equal(pk.SSHBlob(), p256("nistp256", point)) || pk.Ed25519() != nil {
		t.Errorf("a good one: %v", err)
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
	k := token{ed25519.NewKeyFromSeed(make([]byte, 32)), "ssh:", 1}
	pk, err := NewSSH(k.blob(), false)
	if err != nil {
		f.Fatal(err)
	}
	good := k.sign(wire.TagTx)
	f.Add(good)
	f.Add(good[:65])
	f.Fuzz(func(t *testing.T, sig []byte) {
		if pk.Verify(sig, wire.TagTx) == nil && !bytes.Equal(sig, good) {
			t.Fatalf("another signature verifies: %s", base64.StdEncoding.EncodeToString(sig))
		}
	})
}
