package transcript

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
)

// federate judges what cohorts with keys of their own converged in.
func federate(r *reader) (*Outcome, error) {
	t, count := r.number(2), r.count(mostDeal, 4)
	if r.err == nil && (count < 2 || t > count || t < count-(count-1)/3) {
		return nil, fmt.Errorf("%d of %d cohorts", t, count)
	}
	all := &Outcome{Threshold: t, Phase: "done"}
	var keys []element
	var leaves []digest
	for i := range count {
		raw := r.string(mostCertificate)
		c, err := readCohort(r, raw)
		if err != nil {
			return nil, fmt.Errorf("cohort %d: %w", i+1, err)
		}
		o := c.outcome()
		o.Kind = "ceremony certificate"
		all.Cohorts = append(all.Cohorts, o)
		all.Exercise = all.Cohorts[0].Exercise
		all.Participants += o.Participants
		key, _ := curve.element(c.key())
		for _, other := range keys {
			if bytes.Equal(other.bytes(), c.key()) {
				return nil, fmt.Errorf("cohort %d: another has the same key", i+1)
			}
		}
		if o.Exercise != all.Exercise {
			return nil, errors.New("exercises and real ceremonies do not mix")
		}
		keys, leaves = append(keys, key), append(leaves, leafHash(raw))
	}
	if r.err != nil {
		return nil, r.err
	}
	over := treeRoot(leaves)
	message := h("quorate/v1/federation", u16(t), u16(count), over[:])
	for i := range count {
		signature := r.string(96)
		if len(signature) == 0 {
			continue // it did not sign
		}
		if r.err == nil && len(curve.attested(keys[i:i+1], message, [][]byte{signature})) > 0 {
			return nil, fmt.Errorf("cohort %d: the signature is not that of its key", i+1)
		}
		all.Confirmed++
	}
	all.Ceremony = hex.EncodeToString(message[:])
	if r.err == nil && all.Confirmed < t {
		return nil, fmt.Errorf("%d cohorts signed, want %d", all.Confirmed, t)
	}
	return all, r.end()
}

func readCohort(r *reader, raw []byte) (*certificate, error) {
	if r.err != nil {
		return nil, r.err
	}
	if !bytes.HasPrefix(raw, []byte(certificateLine)) {
		return nil, errors.New("not a certificate")
	}
	c, err := readCertificate(&reader{all: raw, at: len(certificateLine)})
	if err == nil {
		err = c.check()
	}
	return c, err
}
