package bls

import (
	"encoding/hex"
	"errors"
	"fmt"

	blst "github.com/supranational/blst/bindings/go"

	"github.com/quorate/quorate/internal/secret"
)

// SelfTest signs, combines and verifies a known answer, so that a process
// with a miscompiled library or a broken machine stops before it signs
// anything real.
func SelfTest() error {
	if err := selfTest(knownAnswer); err != nil {
		return fmt.Errorf("self-test BLS: %w", err)
	}
	return nil
}

// answer is the 2-of-3 case of the remote-signing API (CC0): the polynomial
// 1 + 2x, so that the key is 1 and its public key the generator.
type answer struct{ root, publicKey, partial1, signature string }

var knownAnswer = answer{
	root:      "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b",
	publicKey: "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb",
	partial1:  "832aa3a6a5b6833e2cd87588ed18645484670b001e8f1553203da74625adb99b08f0c435af5ebe2a2c6340bf309e72f503bf7173a6db728cfe4917c4584cabd5bf819a5ea9cf42bfe5f5f20ec4b95056a712f9e5a71cfedab8e3db29c9f53889",
	signature: "938445e5b65cb7fe199ba1c7832dced4d1c01f64725883e9e4d16b936479deb81fab65f19cf7d619801e1c694f9da2431923795a588884f4e0906af5a90fc9d3d78380034afeff58cc0ad8d5b4fef8d0648d07c38a062cf86a578d877af13e85",
}

func selfTest(want answer) error {
	msg, err := hex.DecodeString(want.root)
	if err != nil {
		return err
	}
	root := HashedRoot{point: *blst.HashToG2(msg, dstEthereum)}
	var partials []Partial
	for _, index := range []uint16{1, 3} {
		scalar := [ScalarSize]byte{ScalarSize - 1: byte(1 + 2*index)}
		share, err := NewShare(index, &scalar)
		if err != nil {
			return err
		}
		partials = append(partials, share.SignHashed(root))
		share.Destroy()
	}
	if got := hex.EncodeToString(partials[0].sig.point.Compress()); got != want.partial1 {
		return errors.New("partial signature differs from the known one")
	}
	sig, err := Combine(2, partials)
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(sig.point.Compress()); got != want.signature {
		return errors.New("combined signature differs from the known one")
	}
	one := [ScalarSize]byte{ScalarSize - 1: 1}
	key, err := NewSecretKey(&one)
	if err != nil {
		return err
	}
	defer key.Destroy()
	if got := key.PublicKey().String(); got != "0x"+want.publicKey {
		return errors.New("public key differs from the known one")
	}
	if !VerifyHashed(key.PublicKey(), root, sig) {
		return errors.New("known signature does not verify")
	}
	other := HashedRoot{point: *blst.HashToG2(msg[1:], dstEthereum)}
	if VerifyHashed(key.PublicKey(), other, sig) {
		return errors.New("known signature verifies for another root")
	}
	if err := holdsScalar(); err != nil {
		return err
	}
	return holdsPoint()
}

// holdsPoint checks the other: blst's coordinates are what comb.go selects and
// negates. Digits of -1 have either sign.
func holdsPoint() error {
	var one, minusOne G1Scalar
	G1{}.SetWeight(&one, &[16]byte{1})
	G1{}.SubScalar(&minusOne, &one)
	var p G1Point
	G1{}.BaseMult(&p, &minusOne)
	if *p.p.ToAffine() != negGenerator {
		return errors.New("a multiple of the generator differs from the known one")
	}
	return nil
}

// holdsScalar checks one of two assumptions about memory that this package
// makes: blst's scalar is its 32 bytes, least significant first.
func holdsScalar() error {
	scalar := [ScalarSize]byte{0: 0x12, ScalarSize - 1: 0x34}
	k, err := NewSecretKey(&scalar)
	if err != nil {
		return err
	}
	defer k.Destroy()
	ok := false
	k.scalar.Expose(func(b []byte) {
		out := blstScalar(b).Serialize()
		ok = out[0] == 0x12 && out[ScalarSize-1] == 0x34
		secret.Wipe(out)
	})
	if !ok {
		return errors.New("the library's scalars are not laid out as expected")
	}
	return nil
}
