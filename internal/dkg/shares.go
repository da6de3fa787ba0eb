package dkg

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/secret"
)

// This file holds what a ceremony makes secret. What it makes public is in
// result.go.

// ShareOut is a seat's share of one key.
type ShareOut struct {
	Key       int // position in the result
	PublicKey []byte
	Secret    secret.Bytes
}

// held is a holding behind its suite.
type held interface {
	// settle returns the holding shifted by δ; nil shifts nothing.
	settle(unbias func(k int) [64]byte) (held, error)
	// leaves returns the public points, ready to be cut.
	leaves() []byte
	// attest confirms the weighted sum of all shares.
	attest(weight func(int) [16]byte, msg []byte) []byte
	// expose copies the shares out.
	expose() []ShareOut
	// wipe overwrites them.
	wipe()
}

// errLowDegree: fewer than t shares would do. Dealings that hide it from each
// other take more than f dealers who know each other's polynomials.
var errLowDegree = errors.New("the sharing is of too low a degree")

var errIdentityKey = errors.New("the key is the identity")

func (h *holding[S, P]) settle(unbias func(k int) [64]byte) (held, error) {
	t, g := int(h.params.T), h.e.g
	points, secrets := append([]P(nil), h.points...), append([]S(nil), h.secrets()...)
	leading := make([]P, t)
	for k := range secrets {
		if unbias != nil {
			var delta S
			wide := unbias(k)
			g.SetWide(&delta, &wide)
			g.AddScalar(&secrets[k], &delta)
			var shift P
			g.BaseMult(&shift, &delta)
			for j := range t {
				g.AddPoint(&points[k*t+j], &shift)
			}
		}
		if g.IsIdentity(&points[k*t]) {
			return nil, fmt.Errorf("settle key %d: %w", k, errIdentityKey)
		}
		copy(leading, points[k*t:(k+1)*t])
		if lead(leading, g.SubPoint); g.IsIdentity(&leading[0]) {
			return nil, fmt.Errorf("settle key %d: %w", k, errLowDegree)
		}
	}
	return &holding[S, P]{e: h.e, params: h.params, me: h.me, points: points, secrets: func() []S { return secrets }}, nil
}

func (h *holding[S, P]) attest(weight func(int) [16]byte, msg []byte) []byte {
	var sum S
	secrets := h.secrets()
	for k, w := range h.e.weights(len(secrets), weight) {
		h.e.g.MulScalar(&w, &secrets[k])
		h.e.g.AddScalar(&sum, &w)
	}
	return h.e.g.Attest(&sum, msg)
}

func (h *holding[S, P]) expose() []ShareOut {
	out, t := make([]ShareOut, 0, len(h.secrets())), int(h.params.T)
	for k := range h.secrets() {
		key := h.e.g.AppendPoints(nil, h.points[k*t:k*t+1])
		out = append(out, ShareOut{k, key, secret.New(h.e.g.AppendScalar(nil, &h.secrets()[k]))})
	}
	return out
}

func (h *holding[S, P]) wipe() { clear(h.secrets()) }
