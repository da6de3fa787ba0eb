package verify

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
)

// credentialVector is a key, a message under the tag of transactions, a
// signature, and what the product says of them.
type credentialVector struct{ Name, Key, Message, Signature, Judgement string }

func credentialVectors(t testing.TB) (all []credentialVector) {
	t.Helper()
	raw, err := os.ReadFile("../spec/vectors/credentials.json")
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	if err != nil || len(all) == 0 {
		t.Fatal("no vectors: ", err)
	}
	return all
}

func (v credentialVector) bytes(t testing.TB) (key, message, sig []byte) {
	t.Helper()
	key, err1 := hex.DecodeString(v.Key)
	message, err2 := hex.DecodeString(v.Message)
	sig, err3 := hex.DecodeString(v.Signature)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return key, message, sig
}

func judge(key, message, sig []byte) string {
	id, err := newIdentity(key)
	switch {
	case err != nil:
		return "key refused"
	case !id.verify("quorate/v1/tx", message, sig):
		return "signature refused"
	}
	return "holds"
}

// SSH keys and passkeys are judged as the product judges them.
func TestCredentialVectors(t *testing.T) {
	for _, v := range credentialVectors(t) {
		if got := judge(v.bytes(t)); got != v.Judgement {
			t.Errorf("%s: %s, and the product says %s", v.Name, got, v.Judgement)
		}
	}
}

// No byte of a signature that holds or of its message can change, none of
// signature and key be cut off.
func TestTamperedCredentials(t *testing.T) {
	checked := 0
	for _, v := range credentialVectors(t) {
		key, message, sig := v.bytes(t)
		if v.Judgement != "holds" || len(sig) > 512 {
			continue
		}
		checked++
		for at := range sig {
			sig[at] ^= 1 << (at % 8)
			if judge(key, message, sig) == "holds" {
				t.Errorf("%s: a bit of byte %d of the signature may flip", v.Name, at)
			}
			sig[at] ^= 1 << (at % 8)
		}
		for cut := range sig {
			if judge(key, message, sig[:cut]) == "holds" {
				t.Errorf("%s: the signature may end after %d bytes", v.Name, cut)
			}
		}
		for at := range message {
			message[at] ^= 1
			if judge(key, message, sig) == "holds" {
				t.Errorf("%s: byte %d of the message may change", v.Name, at)
			}
			message[at] ^= 1
		}
		for cut := range key {
			if judge(key[:cut], message, sig) == "holds" {
				t.Errorf("%s: the key may end after %d bytes", v.Name, cut)
			}
		}
	}
	if checked < 20 {
		t.Errorf("%d vectors are short and hold", checked)
	}
}

// Who signs with a key of his own is no forger; what must not be is another
// signature under one of ours.
func FuzzIdentity(f *testing.F) {
	keys, signatures := map[string]bool{}, map[string]bool{}
	for _, v := range credentialVectors(f) {
		key, message, sig := v.bytes(f)
		keys[string(key)], signatures[string(sig)] = true, true
		if string(message) == "what is signed" {
			f.Add(key, sig)
		}
	}
	f.Fuzz(func(t *testing.T, key, sig []byte) {
		if judge(key, []byte("what is signed"), sig) == "holds" && keys[string(key)] && !signatures[string(sig)] {
			t.Fatalf("forged %x under %x", sig, key)
		}
	})
}
