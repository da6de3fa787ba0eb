package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	cmttypes "github.com/cometbft/cometbft/types"

	"github.com/quorate/quorate/internal/proof"
)

// Certify proves what paths hold, in the state after block atLeast or a later
// one, to anybody who knows the genesis: header, commit and inclusion proofs.
// The AppHash of a block stands in the next header, so Certify waits for that
// one where the block changed the state; an idle ledger makes it wait for none.
func (n *Node) Certify(ctx context.Context, atLeast uint64, paths ...proof.Path) (*proof.Certificate, error) {
	for {
		h, moved := n.app.wait()
		cert, err := n.certifyAt(h.height, atLeast, paths)
		if !errors.Is(err, errNotYet) {
			return cert, err
		}
		select { // the block that proves the newest state is on its way
		case <-moved:
		case <-ctx.Done():
			return nil, fmt.Errorf("certify: %w", ctx.Err())
		}
	}
}

var errNotYet = errors.New("no header for a state that is still kept")

// certifyAt proves the state that the header of a committed block names, if
// it is the one after block atLeast or later.
func (n *Node) certifyAt(height, atLeast uint64, paths []proof.Path) (*proof.Certificate, error) {
	engine := n.engine.Load()
	if engine == nil {
		return nil, errStarting
	}
	blocks := engine.BlockStore()
	meta := blocks.LoadBlockMeta(int64(height))
	if meta == nil {
		return nil, fmt.Errorf("certify: block %d is not stored", height)
	}
	commit := blocks.LoadSeenCommit(int64(height))
	if commit == nil || commit.Height != int64(height) {
		commit = blocks.LoadBlockCommit(int64(height))
	}
	if commit == nil {
		return nil, fmt.Errorf("certify: no commit for block %d", height)
	}
	proven, ok := n.app.headWith(meta.Header.AppHash)
	if !ok || proven.height < atLeast {
		return nil, errNotYet
	}
	header := headerOf(&meta.Header)
	parts := proof.PartSetHeader{Total: meta.BlockID.PartSetHeader.Total, Hash: meta.BlockID.PartSetHeader.Hash}
	var votes []proof.Signature
	for i, s := range commit.Signatures {
		if s.BlockIDFlag == cmttypes.BlockIDFlagCommit && len(s.Signature) == ed25519.SignatureSize {
			votes = append(votes, proof.Signature{Index: i, Time: s.Timestamp, Signature: [ed25519.SignatureSize]byte(s.Signature)})
		}
	}
	c, err := proof.NewCommit(n.validators, &header, uint32(commit.Round), parts, votes)
	if err != nil {
		return nil, fmt.Errorf("certify block %d: %w", height, err)
	}
	claims, err := n.store.Prove(proven.height, paths...)
	if err != nil {
		return nil, fmt.Errorf("certify block %d: %w", height, err)
	}
	return &proof.Certificate{Header: header, Commit: c, State: proven.state, Claims: claims}, nil
}

// headerOf copies CometBFT's header, field by field, into ours.
func headerOf(h *cmttypes.Header) proof.Header {
	return proof.Header{
		BlockVersion: h.Version.Block,
		AppVersion:   h.Version.App,
		ChainID:      h.ChainID,
		Height:       uint64(h.Height),
		Time:         h.Time,
		LastBlockID: proof.BlockID{Hash: h.LastBlockID.Hash, Parts: proof.PartSetHeader{
			Total: h.LastBlockID.PartSetHeader.Total, Hash: h.LastBlockID.PartSetHeader.Hash}},
		LastCommitHash:     h.LastCommitHash,
		DataHash:           h.DataHash,
		ValidatorsHash:     h.ValidatorsHash,
		NextValidatorsHash: h.NextValidatorsHash,
		ConsensusHash:      h.ConsensusHash,
		AppHash:            h.AppHash,
		LastResultsHash:    h.LastResultsHash,
		EvidenceHash:       h.EvidenceHash,
		ProposerAddress:    h.ProposerAddress,
	}
}
