package custody

import (
	"bytes"
	"testing"

	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/wire"
)

func FuzzParseSignRequest(f *testing.F) {
	f.Add(SignRequest{Key: [48]byte{1}, Duty: eth.EncodeDuty(eth.Duty{Message: &eth.RandaoReveal{Epoch: 1}}), Evidence: Evidence{Certificate: []byte("c")}}.Encode())
	f.Add(SignRequest{Evidence: Evidence{Approvals: [][]byte{[]byte("a"), []byte("b")}}}.Encode())
	f.Add(SignRequest{}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseSignRequest(b); err == nil && !bytes.Equal(r.Encode(), b) {
			t.Error("it encodes to something else")
		}
	})
}

func FuzzParseSignResponse(f *testing.F) {
	f.Add(SignResponse{Incarnation: [32]byte{1}}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseSignResponse(b); err == nil && !bytes.Equal(r.Encode(), b) {
			t.Error("it encodes to something else")
		}
	})
}

func FuzzParseStepResult(f *testing.F) {
	f.Add(StepResult{Posts: []Post{{Seat: 1, Message: []byte("m"), Signature: []byte("s")}}, Need: [][32]byte{{1}}, Active: [][]byte{{2}}}.encode())
	f.Add(StepResult{}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseStepResult(b); err == nil && !bytes.Equal(r.encode(), b) {
			t.Error("it encodes to something else")
		}
	})
}

func FuzzParseStatus(f *testing.F) {
	f.Add(Status{Identity: []byte("id"), Keys: 2, Registered: true, Anchored: 3, Pending: [][32]byte{{1}}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseStatus(b); err == nil && !bytes.Equal(s.encode(), b) {
			t.Error("it encodes to something else")
		}
	})
}

func FuzzParseUsage(f *testing.F) {
	f.Add(Usage{Sequence: 1, Keys: [][]byte{{1}, {2}}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if u, err := parseUsage(b); err == nil && !bytes.Equal(u.encode(), b) {
			t.Error("it encodes to something else")
		}
	})
}

func FuzzParseTestimony(f *testing.F) {
	f.Add(Testimony{Witness: 1, Closing: Closing{Seat: 2, Sequence: 3, Signature: []byte("s")}}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if u, err := ParseTestimony(b); err == nil && !bytes.Equal(u.Encode(), b) {
			t.Error("it encodes to something else")
		}
	})
}

func FuzzDecodeKeys(f *testing.F) {
	f.Add(EncodeKeys([][48]byte{{1}, {2}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if keys, err := DecodeKeys(b, wire.MaxKeysPerBatch); err == nil && !bytes.Equal(EncodeKeys(keys), b) {
			t.Error("it encodes to something else")
		}
	})
}

// Whatever comes over the socket gets an answer or an error, and makes no
// partial signature but of a duty.
func FuzzHandle(f *testing.F) {
	w := newWorld(f, 4, nil)
	p := w.start(0)
	key := w.give(p, "key")
	exit, path := w.exit(p, key, 1)
	granted := w.certify(path)
	for _, duty := range []eth.Duty{w.block(1, 1), w.attestation(1, 2, 3), {Fork: w.fork(), Message: &eth.RandaoReveal{}}, exit} {
		f.Add(MethodSign, SignRequest{Key: key, Duty: eth.EncodeDuty(duty), Evidence: Evidence{Certificate: granted}}.Encode())
	}
	s := w.openStage(w.params(1, 1))
	f.Add(MethodCeremony, ceremonyRequest(s.board.ID(), s.cert(), nil))
	f.Add(MethodBlob, blobRequest(s.board.ID(), [32]byte{}, []byte("x")))
	f.Add(MethodKeystore, keystoreRequest([]byte(`{"version":4}`), "x"))
	f.Add(MethodAnchor, granted)
	f.Add(MethodLease, granted)
	f.Add(MethodStop, keyList([48]byte{1}))
	f.Add(MethodForget, keyList(key))
	f.Add(MethodExportSlashing, keyList(key))
	f.Add(MethodImportSlashing, []byte(`{"metadata":{"interchange_format_version":"5"},"data":[]}`))
	f.Add(MethodUsage, make([]byte, 8))
	f.Add(MethodWitness, Closing{Seat: 2}.Encode())
	f.Add(MethodTestify, make([]byte, 34))
	f.Add(MethodRound, RoundRequest{Key: key, Height: 1, Certificate: granted}.Encode())
	var prove wire.Encoder
	prove.Bytes(granted)
	prove.Count(0)
	f.Add(MethodProve, prove.Out())
	f.Fuzz(func(t *testing.T, method uint16, body []byte) {
		if method == MethodClose {
			return // it would end all that follows
		}
		out, err := ask(p, method, body)
		if method == MethodRound && err == nil {
			t.Error("a round of a key that is no beacon's")
		}
		if method == MethodSign && err == nil {
			req, err := ParseSignRequest(body)
			if err != nil {
				t.Fatal(err)
			}
			duty, err := eth.DecodeDuty(req.Duty)
			answer, err2 := ParseSignResponse(out)
			if err != nil || err2 != nil || !w.verifies(req.Key, duty, answer) {
				t.Error("a partial of something else than the duty")
			}
			if !duty.IsDuty() && !bytes.Equal(req.Duty, eth.EncodeDuty(exit)) {
				t.Errorf("a %s was signed without its grant", duty.Kind())
			}
		}
	})
}
