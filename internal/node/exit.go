package node

import (
	"bytes"
	"context"
	"errors"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/signer"
)

// An exit names an epoch, so that what was agreed on yesterday is another
// action than what one would ask for now. Whoever comes back for an exit gets
// the one that was asked for.

// Exit signs a voluntary exit. One that was granted, or waits for approval, is
// gone on with; else this node asks for it, without an epoch for the present
// one, without a validator index for the one that the key's duties named.
func (n *Node) Exit(ctx context.Context, key signer.Key, index, epoch *uint64) (x eth.VoluntaryExit, sig [bls.SignatureSize]byte, err error) {
	view, err := n.View()
	if err != nil {
		return x, sig, err
	}
	if duty, waits := n.askedExit(view, key, index, epoch); waits != nil {
		return x, sig, unavailable(waits)
	} else if duty != nil {
		return n.signExit(ctx, key, *duty)
	}
	duty, err := n.exitDuty(key, index, epoch)
	if err != nil {
		return x, sig, err
	}
	return n.signExit(ctx, key, duty)
}

// ExitGranted signs the very exit that a request asked for, once it is granted.
func (n *Node) ExitGranted(ctx context.Context, request [32]byte) (x eth.VoluntaryExit, sig [bls.SignatureSize]byte, err error) {
	view, err := n.View()
	if err != nil {
		return x, sig, err
	}
	r, ok := view.Request(request)
	if !ok {
		return x, sig, &ledger.Error{Code: ledger.CodeNotFound, Err: errors.New("there is no such request (hint: quorate request list --all)")}
	}
	switch {
	case r.State.Live():
		return x, sig, unavailable(&ledger.Waiting{Request: request})
	case r.State != ledger.RequestExecuted:
		return x, sig, &ledger.Error{Code: ledger.CodePhase, Err: errors.New("the request is " + r.State.String() + ": nothing was granted")}
	}
	return n.ExitOf(ctx, r.Action)
}

// ExitOf signs the exit of a canonical action, if a grant for it holds. It asks
// for none.
func (n *Node) ExitOf(ctx context.Context, canonical []byte) (x eth.VoluntaryExit, sig [bls.SignatureSize]byte, err error) {
	a, err := action.ParseAction(canonical)
	if err != nil {
		return x, sig, rpc.Errorf(rpc.CodeMalformed, "%v", err)
	}
	if a.Rule != action.RuleExit || len(a.PublicKey) != bls.PublicKeySize {
		return x, sig, rpc.Errorf(rpc.CodeMalformed, "the action is %s, not an exit", a.Rule)
	}
	view, err := n.View()
	if err != nil {
		return x, sig, err
	}
	if !n.granted(view, a.Hash(n.cluster)) {
		return x, sig, &ledger.Error{Code: ledger.CodePhase, Err: errors.New("no grant for it holds: one ends after 10 minutes (hint: ask for the exit again)")}
	}
	duty, err := eth.DecodeDuty(a.Duty)
	if err != nil {
		return x, sig, err
	}
	return n.signExit(ctx, signer.Key(a.PublicKey), duty)
}

// ExitAction is what Exit asks for, to be asked for by somebody else.
func (n *Node) ExitAction(key signer.Key, index, epoch *uint64) (*action.Action, error) {
	duty, err := n.exitDuty(key, index, epoch)
	if err != nil {
		return nil, err
	}
	return &action.Action{Rule: action.RuleExit, Domain: action.DomainValidator, PublicKey: key[:], Duty: eth.EncodeDuty(duty)}, nil
}

// granted reports whether a grant for an action is there and holds.
func (n *Node) granted(view *ledger.State, hash [32]byte) bool {
	_, now := n.Height()
	g, ok := view.Grant(hash)
	return ok && uint64(now.UnixMilli()) < g.Expires
}

// askedExit finds such an exit: the duty of the last one, if its grant holds,
// or else a request that waits.
func (n *Node) askedExit(view *ledger.State, key signer.Key, index, epoch *uint64) (granted *eth.Duty, waits *ledger.Waiting) {
	wanted := func(canonical []byte) *eth.Duty {
		a, err := action.ParseAction(canonical)
		if err != nil || a.Rule != action.RuleExit || !bytes.Equal(a.PublicKey, key[:]) {
			return nil
		}
		duty, err := eth.DecodeDuty(a.Duty)
		x, ok := duty.Message.(*eth.VoluntaryExit)
		if err != nil || !ok || index != nil && *index != x.ValidatorIndex || epoch != nil && *epoch != x.Epoch {
			return nil
		}
		return &duty
	}
	_, now := n.Height()
	if g, ok := view.ExitGrant(key[:]); ok && uint64(now.UnixMilli()) < g.Expires {
		granted = wanted(g.Action)
	}
	if granted != nil {
		return granted, nil
	}
	view.LiveRequests(func(id [32]byte, r *ledger.Request) bool {
		if wanted(r.Action) != nil {
			waits = &ledger.Waiting{Request: id}
		}
		return waits == nil
	})
	return nil, waits
}

func (n *Node) signExit(ctx context.Context, key signer.Key, duty eth.Duty) (x eth.VoluntaryExit, sig [bls.SignatureSize]byte, err error) {
	m, ok := duty.Message.(*eth.VoluntaryExit)
	if !ok {
		return x, sig, rpc.Errorf(rpc.CodeMalformed, "a duty of kind %s is no exit", duty.Kind())
	}
	sig, err = n.signer.Sign(ctx, "", key, duty)
	return *m, sig, err
}

// exitDuty fills in what was left open.
func (n *Node) exitDuty(key signer.Key, index, epoch *uint64) (duty eth.Duty, err error) {
	if index == nil {
		known, ok := n.signer.ValidatorIndex(key)
		if !ok {
			return duty, rpc.Errorf(rpc.CodeMalformed, "the validator's index is not known: no duty that this node was asked for named one (hint: give --validator-index, over HTTP validator_index)")
		}
		index = &known
	}
	if epoch == nil {
		slot, ok := n.network.SlotAt(n.now())
		if !ok {
			return duty, rpc.Errorf(rpc.CodeMalformed, "the network has no present epoch (hint: give --epoch, over HTTP epoch)")
		}
		epoch = new(n.network.EpochOf(slot))
	}
	root, ok := n.signer.GenesisRoot()
	if !ok {
		return duty, rpc.Errorf(rpc.CodeMalformed, "the network's genesis_validators_root is not known (hint: set GENESIS_VALIDATORS_ROOT in the network file)")
	}
	at := n.network.ForkAt(*epoch)
	return eth.Duty{
		Message: &eth.VoluntaryExit{Epoch: *epoch, ValidatorIndex: *index},
		Fork: eth.ForkInfo{CurrentVersion: n.network.Forks[at].Version, PreviousVersion: n.network.Forks[max(at, 1)-1].Version,
			Epoch: n.network.Forks[at].Epoch, GenesisValidatorsRoot: root},
	}, nil
}
