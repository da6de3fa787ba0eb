package proof_test

import (
	"bytes"
	"crypto/ed25519"
	"math/rand/v2"
	"testing"
	"time"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/crypto/merkle"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmtversion "github.com/cometbft/cometbft/proto/tendermint/version"
	"github.com/cometbft/cometbft/types"

	"github.com/quorate/quorate/internal/proof"
)

// CometBFT is the oracle for everything that it hashes or signs.

type dice struct{ *rand.Rand }

func (d dice) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(d.Uint32())
	}
	return b
}

// hash is mostly a hash and sometimes empty.
func (d dice) hash() []byte {
	if d.IntN(6) == 0 {
		return nil
	}
	return d.bytes(32)
}

// time has every width of its varints, before and after 1970.
func (d dice) time() time.Time {
	switch d.IntN(4) {
	case 0:
		return time.Unix(d.Int64N(253402300800), 0).UTC()
	case 1:
		return time.Unix(-d.Int64N(62135596800), d.Int64N(1e9)).UTC()
	}
	return time.Unix(d.Int64N(1<<33), d.Int64N(1e9)).UTC()
}

// uint is of any width.
func (d dice) uint(bits int) uint64 { return d.Uint64() >> (64 - 1 - d.IntN(bits)) }

func (d dice) header() types.Header {
	return types.Header{
		Version: cmtversion.Consensus{Block: d.uint(64), App: uint64(d.IntN(3))},
		ChainID: string(bytes.Repeat([]byte("c"), 1+d.IntN(50))),
		Height:  int64(1 + d.uint(62)),
		Time:    d.time(),
		LastBlockID: types.BlockID{Hash: d.hash(),
			PartSetHeader: types.PartSetHeader{Total: uint32(d.uint(32)), Hash: d.hash()}},
		LastCommitHash: d.hash(), DataHash: d.hash(),
		ValidatorsHash: d.bytes(32), NextValidatorsHash: d.bytes(32),
		ConsensusHash: d.hash(), AppHash: d.hash(), LastResultsHash: d.hash(), EvidenceHash: d.hash(),
		ProposerAddress: d.bytes(20),
	}
}

// convert is what the node does with CometBFT's headers.
func convert(h *types.Header) proof.Header {
	return proof.Header{
		BlockVersion: h.Version.Block, AppVersion: h.Version.App, ChainID: h.ChainID,
		Height: uint64(h.Height), Time: h.Time,
		LastBlockID: proof.BlockID{Hash: h.LastBlockID.Hash,
			Parts: proof.PartSetHeader{Total: h.LastBlockID.PartSetHeader.Total, Hash: h.LastBlockID.PartSetHeader.Hash}},
		LastCommitHash: h.LastCommitHash, DataHash: h.DataHash,
		ValidatorsHash: h.ValidatorsHash, NextValidatorsHash: h.NextValidatorsHash,
		ConsensusHash: h.ConsensusHash, AppHash: h.AppHash, LastResultsHash: h.LastResultsHash,
		EvidenceHash: h.EvidenceHash, ProposerAddress: h.ProposerAddress,
	}
}

func TestHeaderHashIsCometBFTs(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(1, 2))}
	for range 2000 {
		theirs := d.header()
		ours := convert(&theirs)
		if got, want := ours.Hash(), theirs.Hash(); !bytes.Equal(got[:], want) {
			t.Fatalf("got %x want %x for %+v", got, want, theirs)
		}
	}
}

func TestSignBytesAreCometBFTs(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(3, 4))}
	for range 2000 {
		h := d.header()
		ours := convert(&h)
		c := proof.Commit{Round: uint32(d.uint(31)), Parts: proof.PartSetHeader{Total: 1 + uint32(d.uint(31)), Hash: d.bytes(32)}}
		vote := &cmtproto.Vote{
			Type: cmtproto.PrecommitType, Height: h.Height, Round: int32(c.Round), Timestamp: d.time(),
			BlockID: cmtproto.BlockID{Hash: h.Hash(), PartSetHeader: cmtproto.PartSetHeader{Total: c.Parts.Total, Hash: c.Parts.Hash}},
		}
		want := types.VoteSignBytes(h.ChainID, vote)
		if got := c.SignBytes(&ours, vote.Timestamp); !bytes.Equal(got, want) {
			t.Fatalf("got %x want %x", got, want)
		}
	}
}

// TestCommitsOfCometBFT makes whole commits with CometBFT, with absent votes
// and votes for nil among them, and checks that both verifiers agree.
func TestCommitsOfCometBFT(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(5, 6))}
	verified, refused := 0, 0
	for range 150 {
		privs := map[string]cmted25519.PrivKey{}
		var theirs []*types.Validator
		var mine []proof.Validator
		for range 1 + d.IntN(16) {
			k := cmted25519.GenPrivKeyFromSecret(d.bytes(32))
			power := int64(1 + d.uint(2+d.IntN(20)))
			privs[string(k.PubKey().Address())] = k
			theirs = append(theirs, types.NewValidator(k.PubKey(), power))
			mine = append(mine, proof.Validator{PubKey: ed25519.PublicKey(k.PubKey().Bytes()), Power: uint64(power)})
		}
		set := types.NewValidatorSet(theirs)
		ours, err := proof.NewValidatorSet(mine)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := ours.Hash(), set.Hash(); !bytes.Equal(got[:], want) {
			t.Fatalf("validator set hash %x want %x", got, want)
		}

		h := d.header()
		h.ValidatorsHash = set.Hash()
		id := types.BlockID{Hash: h.Hash(), PartSetHeader: types.PartSetHeader{Total: 1, Hash: d.bytes(32)}}
		commit := &types.Commit{Height: h.Height, Round: int32(d.IntN(3)), BlockID: id}
		var votes []proof.Signature
		for i, v := range set.Validators {
			s := types.NewCommitSigAbsent()
			if roll := d.IntN(8); roll > 0 {
				s = types.CommitSig{BlockIDFlag: types.BlockIDFlagCommit, ValidatorAddress: v.Address, Timestamp: d.time()}
				if roll == 1 {
					s.BlockIDFlag = types.BlockIDFlagNil
				}
			}
			commit.Signatures = append(commit.Signatures, s)
			if s.BlockIDFlag == types.BlockIDFlagAbsent {
				continue
			}
			s.Signature, _ = privs[string(v.Address)].Sign(commit.VoteSignBytes(h.ChainID, int32(i)))
			commit.Signatures[i] = s
			if s.BlockIDFlag == types.BlockIDFlagCommit {
				votes = append(votes, proof.Signature{Index: i, Time: s.Timestamp, Signature: [64]byte(s.Signature)})
			}
		}
		header := convert(&h)
		c, err := proof.NewCommit(ours, &header, uint32(commit.Round), proof.PartSetHeader{Total: 1, Hash: id.PartSetHeader.Hash}, votes)
		if err == nil {
			err = proof.VerifyCommit(ours, &header, &c)
		}
		if theirErr := set.VerifyCommitLight(h.ChainID, id, h.Height, commit); (err == nil) != (theirErr == nil) {
			t.Fatalf("CometBFT says %v, we say %v", theirErr, err)
		}
		if err == nil {
			verified++
		} else {
			refused++
		}
	}
	if verified < 20 || refused < 20 {
		t.Fatalf("one-sided: %d verified, %d refused", verified, refused)
	}
}

func TestGenesisSetHashForAnyPower(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(7, 8))}
	for range 500 {
		k := d.bytes(32)
		power := 1 + d.uint(59)
		ours, err := proof.NewValidatorSet([]proof.Validator{{PubKey: k, Power: power}})
		if err != nil {
			t.Fatal(err)
		}
		v := types.NewValidator(cmted25519.PubKey(k), int64(power))
		want := merkle.HashFromByteSlices([][]byte{v.Bytes()})
		if got := ours.Hash(); !bytes.Equal(got[:], want) {
			t.Fatalf("power %d: got %x want %x", power, got, want)
		}
		if a := ours.Validators()[0].Address(); !bytes.Equal(a[:], v.Address) {
			t.Fatal("address differs")
		}
	}
}
