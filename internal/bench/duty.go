package bench

import (
	"encoding/binary"
	"fmt"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/eth"
)

// voter is a key that attests to one epoch after the other, from the first
// on: every duty is slashable, distinct, and passes the slashing rules.
type voter struct {
	key     bls.PublicKey
	path    string
	network *eth.Network
	epoch   uint64 // of the last target
}

func newVoter(key bls.PublicKey, n *eth.Network) *voter {
	return &voter{key: key, path: "/api/v1/eth2/sign/" + key.String(), network: n}
}

// duty returns the next duty.
func (v *voter) duty() eth.Duty {
	v.epoch++
	a := &eth.AttestationData{
		Slot:   v.epoch * v.network.Preset.SlotsPerEpoch,
		Source: eth.Checkpoint{Epoch: v.epoch - 1, Root: rootOf(v.epoch - 1)},
		Target: eth.Checkpoint{Epoch: v.epoch, Root: rootOf(v.epoch)},
	}
	// No two keys see one block, or the hash to the curve of one would serve
	// all of them.
	pk := v.key.Bytes()
	copy(a.BeaconBlockRoot[:], pk[:])
	binary.BigEndian.PutUint64(a.BeaconBlockRoot[24:], v.epoch)
	fork := v.network.Forks[v.network.ForkAt(v.epoch)]
	duty := eth.Duty{Message: a, Fork: eth.ForkInfo{PreviousVersion: fork.Version, CurrentVersion: fork.Version, Epoch: fork.Epoch}}
	if v.network.GenesisValidatorsRoot != nil {
		duty.Fork.GenesisValidatorsRoot = *v.network.GenesisValidatorsRoot
	}
	return duty
}

// next returns the body of the next request, as a validator client writes it,
// and the root that its signature has to be of.
func (v *voter) next() ([]byte, eth.SigningRoot, error) {
	duty := v.duty()
	a, fork := duty.Message.(*eth.AttestationData), duty.Fork
	root, err := duty.SigningRoot(v.network)
	if err != nil {
		return nil, root, err
	}
	return fmt.Appendf(nil, `{"type":"ATTESTATION","fork_info":{"fork":{"previous_version":"0x%x","current_version":"0x%x","epoch":"%d"},"genesis_validators_root":"0x%x"},`+
		`"signingRoot":"%s","attestation":{"slot":"%d","index":"%d","beacon_block_root":"0x%x","source":{"epoch":"%d","root":"0x%x"},"target":{"epoch":"%d","root":"0x%x"}}}`,
		fork.PreviousVersion[:], fork.CurrentVersion[:], fork.Epoch, fork.GenesisValidatorsRoot[:],
		root, a.Slot, a.Index, a.BeaconBlockRoot[:], a.Source.Epoch, a.Source.Root[:], a.Target.Epoch, a.Target.Root[:]), root, nil
}

func rootOf(n uint64) (r eth.Root) {
	binary.BigEndian.PutUint64(r[24:], n)
	return r
}
