package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/custody"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/signer"
	"github.com/quorate/quorate/internal/slashing"
)

// ImportSlashing raises the watermarks of an EIP-3076 interchange at n - f
// holders of each key at least: a quorum of signers always has one honest among them. The
// ledger grants each part of it beforehand.
func (n *Node) ImportSlashing(ctx context.Context, interchange []byte) error {
	ic, err := slashing.ParseInterchange(interchange)
	if err != nil {
		return rpc.Errorf(rpc.CodeMalformed, "%v", err)
	}
	// Holders keep the maximum alone, and years of history exceed a frame.
	if ic, err = slashing.MergeMax(ic); err != nil {
		return rpc.Errorf(rpc.CodeMalformed, "%v", err)
	}
	for keys := range slices.Chunk(ic.Keys, custody.MaxHistoryKeys) {
		part, err := slashing.Interchange{Genesis: ic.Genesis, Keys: keys}.Encode()
		if err != nil {
			return rpc.Errorf(rpc.CodeInternal, "%v", err)
		}
		if err := (signerLedger{n}).Grant(ctx, custody.HistoryAction(part, len(keys))); err != nil {
			return err
		}
		// The node's own custody first, because its refusal says what is wrong:
		// another chain, or a future that no holder accepts.
		switch err := n.takeHistory(ctx, part); rpc.CodeOf(err) {
		case rpc.CodeMalformed, rpc.CodeOutOfRange:
			return err
		}
		answers, failed := n.askAll(ctx, methodSlashing, part)
		took := func(node string) bool { _, ok := answers[node]; return ok }
		for _, h := range keys {
			if err := n.enough(h.Key, took); err != nil {
				return rpc.Errorf(rpc.CodeUnavailable, "the history was taken by too few: %v: %v", err, failed)
			}
		}
	}
	return nil
}

// takeHistory hands the own custody a history, once the ledger has granted it.
func (n *Node) takeHistory(ctx context.Context, document []byte) error {
	ic, err := slashing.ParseInterchange(document)
	if err != nil {
		return rpc.Errorf(rpc.CodeMalformed, "%v", err)
	}
	ev, err := (signerLedger{n}).ProveGrant(ctx, custody.HistoryAction(document, len(ic.Keys)))
	if err != nil {
		return err
	}
	ctx, cancel := lasting(ctx)
	defer cancel()
	return n.custody.ImportSlashing(ctx, ev, document)
}

// enough says why those who spoke of a key's past, or were told of it, are too
// few: it takes n - f holders. Who has no share does not count.
func (n *Node) enough(key signer.Key, did func(node string) bool) error {
	holders := n.names() // whoever imports a key makes all of them its holders
	th, err := action.DefaultThreshold(len(holders))
	if record, listed := n.signer.Record(key); listed {
		holders = n.holders(record)
		th, err = action.NewThreshold(int(record.T), record.Holders())
	}
	if err != nil {
		return err
	}
	got := len(slices.DeleteFunc(holders, func(node string) bool { return !did(node) }))
	if got < th.Quorum() {
		return fmt.Errorf("%d of %d holders of key 0x%x, %d are needed", got, th.N(), key, th.Quorum())
	}
	return nil
}

// ExportSlashing returns the history of keys: per record the maximum over
// n - f holders at least, which include an honest one of every quorum that
// ever signed. A key that still signs outgrows it at once.
func (n *Node) ExportSlashing(ctx context.Context, keys []signer.Key) (slashing.Interchange, error) {
	return n.export(keys, func(batch []signer.Key) ([]slashing.Interchange, error) {
		answers, failed := n.askAll(ctx, methodHistory, custody.EncodeKeys(batch))
		told, bad := n.histories(answers)
		spoke := map[signer.Key][]string{}
		for node, ic := range told {
			for _, h := range ic.Keys {
				spoke[h.Key] = append(spoke[h.Key], node)
			}
		}
		for _, k := range batch {
			if err := n.enough(k, func(node string) bool { return slices.Contains(spoke[k], node) }); err != nil {
				code := rpc.CodeUnavailable
				if r, listed := n.signer.Record(k); !listed || r.Held() {
					code = rpc.CodeUnknownKey
				}
				return nil, rpc.Errorf(code, "too few gave a history: %v: %v", err, errors.Join(failed, bad))
			}
		}
		return slices.Collect(maps.Values(told)), nil
	})
}

// ExportOwnSlashing returns the history of keys that this node's holder has.
// Another holder may have signed later.
func (n *Node) ExportOwnSlashing(ctx context.Context, keys []signer.Key) (slashing.Interchange, error) {
	return n.export(keys, func(batch []signer.Key) ([]slashing.Interchange, error) {
		ic, err := n.custody.ExportSlashing(ctx, batch)
		return []slashing.Interchange{ic}, err
	})
}

// export joins what ask says of keys, as many at a time as fit into a frame.
func (n *Node) export(keys []signer.Key, ask func([]signer.Key) ([]slashing.Interchange, error)) (slashing.Interchange, error) {
	if len(keys) == 0 { // complete, even when there is nothing to tell
		root, _ := n.signer.GenesisRoot()
		return slashing.Interchange{Genesis: slashing.Root(root)}, nil
	}
	var all []slashing.Interchange
	asked := map[signer.Key]bool{}
	for batch := range slices.Chunk(keys, custody.MaxHistoryKeys) {
		parts, err := ask(batch)
		if err != nil {
			return slashing.Interchange{}, err
		}
		all = append(all, parts...)
		for _, k := range batch {
			asked[k] = true
		}
	}
	ic, err := slashing.MergeMax(all...)
	ic.Keys = slices.DeleteFunc(ic.Keys, func(h slashing.KeyHistory) bool { return !asked[h.Key] })
	return ic, err
}

// histories reads what holders answered, and leaves out what no honest one
// says: another chain, or duties further ahead than any holder signs. One
// lying holder could else spoil a history, which is a maximum, for ever.
func (n *Node) histories(answers map[string][]byte) (told map[string]slashing.Interchange, bad error) {
	told = map[string]slashing.Interchange{}
	root, pinned := n.signer.GenesisRoot()
	slot, known := n.network.SlotAt(n.now().Add(clockSkew))
	epoch := n.network.EpochOf(slot) + 1
	for node, a := range answers {
		ic, err := slashing.ParseInterchange(a)
		switch {
		case err != nil:
		case pinned && ic.Genesis != slashing.Root(root):
			err = fmt.Errorf("a history of another chain, 0x%x", ic.Genesis)
		case known && slices.ContainsFunc(ic.Keys, func(h slashing.KeyHistory) bool {
			return max(h.Vote.Source, h.Vote.Target, n.network.EpochOf(h.Block.Slot)) > epoch
		}):
			err = fmt.Errorf("a history beyond epoch %d", epoch)
		}
		if err != nil {
			bad = errors.Join(bad, fmt.Errorf("%s: %w", node, err))
			continue
		}
		told[node] = ic
	}
	return told, bad
}

// clockSkew is how far apart honest clocks may be.
const clockSkew = time.Minute

// answerHistory tells another node what the own custody knows of keys. It is
// no secret: it only ever makes somebody sign less.
func (n *Node) answerHistory(ctx context.Context, body []byte) ([]byte, error) {
	keys, err := custody.DecodeKeys(body, custody.MaxHistoryKeys)
	if err != nil {
		return nil, rpc.Errorf(rpc.CodeMalformed, "%v", err)
	}
	ic, err := n.knownHistory(ctx, keys)
	if err != nil {
		return nil, err
	}
	return ic.Encode()
}

// knownHistory leaves out the keys that custody cannot speak of, because it
// never held them or because its record of them is not whole, and is an error
// only when there is no other. Custody answers for all of them or none, so the
// keys are halved until each half has its answer.
func (n *Node) knownHistory(ctx context.Context, keys []signer.Key) (slashing.Interchange, error) {
	ic, err := n.custody.ExportSlashing(ctx, keys)
	if err == nil {
		return ic, nil
	}
	if rpc.CodeOf(err) != rpc.CodeUnknownKey || len(keys) == 1 {
		return slashing.Interchange{}, err
	}
	half := len(keys) / 2
	a, errA := n.knownHistory(ctx, keys[:half])
	b, errB := n.knownHistory(ctx, keys[half:])
	switch {
	case errA != nil && errB != nil:
		return a, errA
	case errA != nil:
		return b, nil
	case errB != nil:
		return a, nil
	}
	return slashing.MergeMax(a, b)
}
