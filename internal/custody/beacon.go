package custody

import (
	"fmt"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/seal"
	"github.com/quorate/quorate/internal/wire"
)

// RoundRequest asks for a partial signature of a beacon's round. The answer is
// a [SignResponse].
type RoundRequest struct {
	Key         [bls.PublicKeySize]byte
	Epoch       uint32 // of the shares that are to be combined
	Height      uint64
	Certificate []byte // proves a header of that height or a later one, and the key's record
}

// Encode returns the canonical bytes.
func (r RoundRequest) Encode() []byte {
	var e wire.Encoder
	e.Fixed(r.Key[:])
	e.U32(r.Epoch)
	e.U64(r.Height)
	e.Bytes(r.Certificate)
	return e.Out()
}

// ParseRoundRequest reads what Encode returned.
func ParseRoundRequest(b []byte) (r RoundRequest, err error) {
	d := wire.NewDecoder(b)
	d.Fixed(r.Key[:])
	r.Epoch, r.Height = d.U32(), d.U64()
	r.Certificate = d.Bytes(wire.MaxProof)
	if err := d.Finish(); err != nil {
		return RoundRequest{}, fmt.Errorf("parse round request: %w", err)
	}
	return r, nil
}

// round answers with a partial signature of a height of the ledger, once the
// validators have signed that height's header: so nobody knows an output
// before, unless t holders do as they like. A round has one signature only,
// whatever is asked how often, so that there is nothing to record.
func (p *Process) round(body []byte) ([]byte, error) {
	p.signing.RLock()
	defer p.signing.RUnlock()
	if p.closed {
		return nil, errEnding
	}
	req, err := ParseRoundRequest(body)
	if err != nil {
		return nil, malformed(err)
	}
	held, err := p.share(req.Key, req.Epoch, action.UseBeacon)
	if err != nil {
		return nil, err
	}
	v, err := p.chain.verify(req.Certificate)
	if err != nil {
		return nil, err
	}
	if v.Height() < req.Height {
		return nil, rpc.Errorf(rpc.CodeNotGranted, "the certificate proves height %d: height %d is not known to be final", v.Height(), req.Height)
	}
	raw, ok := v.Get(p.chain.ns.Key(string(p.domain), req.Key[:]))
	if !ok {
		return nil, rpc.Errorf(rpc.CodeNotGranted, "the certificate does not prove the key's record")
	}
	key, err := action.ParseKeyRecord(raw)
	switch {
	case err != nil:
		return nil, malformed(err)
	case key.State != action.KeyActive || key.Use != action.UseBeacon || key.Epoch != req.Epoch:
		return nil, rpc.Errorf(rpc.CodeNotGranted, "the ledger holds a %s key for %s in epoch %d", key.State, key.Use, key.Epoch)
	}
	partial := held.share.SignRound(bls.NewRound(p.cluster, req.Height))
	return SignResponse{Partial: partial.Bytes(), Epoch: held.epoch, Incarnation: p.life.id}.Encode(), nil
}

// share returns the share that is to sign, if it is there, of that epoch and
// for that use. What a share is for stands in its seal: no request, and no
// certificate, makes it sign anything else.
func (p *Process) share(key [bls.PublicKeySize]byte, epoch uint32, use action.Use) (held, error) {
	making := p.seeds.some() // before the shares: the seed goes after they have come
	h, ok := p.shares.get(key)
	switch {
	case !ok && p.shares.keeps(key):
		return held{}, rpc.Errorf(rpc.CodeEpoch, "the share of key 0x%x here is of an epoch that this process was not shown to be committed", key[:8])
	case !ok && making:
		return held{}, rpc.Errorf(rpc.CodeEpoch, "no share of key 0x%x here, but ceremonies of which this process was not shown the end", key[:8])
	case !ok:
		return held{}, rpc.Errorf(rpc.CodeUnknownKey, "no share of key 0x%x here", key[:8])
	case h.use != use:
		return held{}, rpc.Errorf(rpc.CodeNotGranted, "key 0x%x is for %s and signs nothing else", key[:8], h.use)
	case h.epoch != epoch || h.retired:
		return held{}, rpc.Errorf(rpc.CodeEpoch, "the share of key 0x%x here is of epoch %d, not %d", key[:8], h.epoch, epoch)
	}
	return h, nil
}

// sealedAs is the kind of record that shares for a use are sealed as.
func sealedAs(use action.Use) seal.Kind {
	if use == action.UseBeacon {
		return seal.KindBeacon
	}
	return seal.KindShare
}

// sealsShare reports whether records of a kind hold shares of committed epochs.
func sealsShare(kind seal.Kind) bool {
	return kind == seal.KindShare || kind == seal.KindBeacon || kind == seal.KindRetired
}

// useOf is what a sealed share is for. A beacon's is never sealed as retired.
func useOf(kind seal.Kind) action.Use {
	if kind == seal.KindBeacon {
		return action.UseBeacon
	}
	return action.UseDuties
}

// recorded reports whether the slashing record has to know the keys of a
// ceremony. It knows none of a beacon, and so refuses any duty for one.
func recorded(p dkg.Params) bool { return p.Use == action.UseDuties }
