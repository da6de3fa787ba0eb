package cli

import (
	"context"
	"fmt"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/node"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/signerapi"
	"github.com/quorate/quorate/internal/slashing"
)

// keymanager is the node as the Keymanager API sees it.
type keymanager struct{ *node.Node }

func (k keymanager) Import(ctx context.Context, keystore, password []byte) (bool, [48]byte, error) {
	return k.ImportKeystore(ctx, keystore, password)
}

// Delete stops one key after the other. A key that could not be stopped on
// enough holders is an error of its own: it may still sign.
func (k keymanager) Delete(ctx context.Context, keys [][48]byte) ([]signerapi.DeleteOutcome, []byte, error) {
	var outcomes []signerapi.DeleteOutcome
	var histories []slashing.Interchange
	for _, key := range keys {
		history, stoppedBefore, err := k.DeleteKey(ctx, key)
		switch {
		case err == nil && stoppedBefore:
			outcomes = append(outcomes, signerapi.DeleteOutcome{Status: signerapi.DeleteNotActive})
		case err == nil:
			outcomes = append(outcomes, signerapi.DeleteOutcome{Status: signerapi.Deleted})
		case rpc.CodeOf(err) == rpc.CodeUnknownKey:
			outcomes = append(outcomes, signerapi.DeleteOutcome{Status: signerapi.DeleteNotFound})
		default:
			outcomes = append(outcomes, signerapi.DeleteOutcome{Status: signerapi.DeleteError, Message: err.Error()})
		}
		if err == nil {
			histories = append(histories, history)
		}
	}
	doc, err := k.interchange(histories)
	return outcomes, doc, err
}

// interchange joins histories into one document, which is complete even when
// there are none.
func (k keymanager) interchange(histories []slashing.Interchange) ([]byte, error) {
	if len(histories) == 0 {
		var none slashing.Interchange
		if root, ok := k.Signer().GenesisRoot(); ok {
			none.Genesis = slashing.Root(root)
		}
		return none.Encode()
	}
	all, err := slashing.MergeMax(histories...)
	if err != nil {
		return nil, fmt.Errorf("join slashing histories: %w", err)
	}
	return all.Encode()
}

func (k keymanager) Settings(_ context.Context, key [48]byte) (own, cluster action.ProposerSettings, err error) {
	own, err = k.Node.Settings(key)
	return own, k.Genesis().ProposerDefaults, err
}

func (k keymanager) Exit(ctx context.Context, key [48]byte, index, epoch *uint64) (signerapi.SignedVoluntaryExit, error) {
	x, sig, err := k.Node.Exit(ctx, key, index, epoch)
	return signerapi.SignedVoluntaryExit{Epoch: x.Epoch, ValidatorIndex: x.ValidatorIndex, Signature: sig}, err
}
