package bench

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/slashing"
)

// holder does what a custody process does with a duty: decode it, compute its
// root, check and record, sign, and let go when the record is on disk.
type holder struct {
	network *eth.Network
	record  *slashing.Record
	share   bls.Share
	voters  []*voter
}

// forgetful is a disk on which nothing has to be waited for. It exists here
// alone: the product has no way to turn durability off.
type forgetful struct{ durable.OS }

type forgetfulFile struct{ durable.File }

func (f forgetful) Open(path string, flag int, perm os.FileMode) (durable.File, error) {
	file, err := f.OS.Open(path, flag, perm)
	return forgetfulFile{file}, err
}

func (forgetful) SyncDir(string) error { return nil }
func (forgetfulFile) Sync() error      { return nil }
func (forgetfulFile) Datasync() error  { return nil }

func newHolder(dir string, disk durable.FS, n *eth.Network, callers int) (*holder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	c := slashing.Config{Dir: dir, FS: disk, Owner: durable.Identity{Domain: "bench"}}
	if n.GenesisValidatorsRoot != nil {
		c.Genesis = (*slashing.Root)(n.GenesisValidatorsRoot)
	}
	if err := slashing.Init(c); err != nil {
		return nil, err
	}
	record, err := slashing.Open(c)
	if err != nil {
		return nil, err
	}
	h := &holder{network: n, record: record}
	for range callers {
		key, shares, err := dealKey(1)
		if err != nil {
			return nil, errors.Join(err, h.close())
		}
		h.share = shares[0]
		h.voters = append(h.voters, newVoter(key, n))
		if err := record.Register(key.Bytes(), slashing.History{Mode: slashing.HistoryNone}); err != nil {
			return nil, errors.Join(err, h.close())
		}
	}
	return h, nil
}

func (h *holder) close() error { return h.record.Close() }

func (h *holder) sign(v *voter) error {
	duty, err := eth.DecodeDuty(eth.EncodeDuty(v.duty()))
	if err != nil {
		return err
	}
	root, err := duty.SigningRoot(h.network)
	if err != nil {
		return err
	}
	facts := duty.Slashable().(eth.AttestationFacts)
	genesis := slashing.Root(duty.Fork.GenesisValidatorsRoot)
	ticket := h.record.Begin(slashing.Bounds{MaxSlot: math.MaxUint64, MaxTarget: math.MaxUint64}, slashing.Item{
		Key: v.key.Bytes(), Genesis: &genesis,
		Facts: slashing.Attestation{Source: facts.SourceEpoch, Target: facts.TargetEpoch, Root: root.Bytes()},
	})
	if err := ticket.Refused(0); err != nil {
		return err
	}
	h.share.SignPartial(root)
	return ticket.Wait()[0]
}

// recordCost measures what the durable record takes of one holder's rate: the
// same holder on the disk of the cluster and on one that never waits, in turn.
func recordCost(c *Cluster, dir string, callers int, duration time.Duration) (Figure, error) {
	var sums [2]tally
	var holders []*holder
	for i, disk := range []durable.FS{durable.OS{}, forgetful{}} {
		h, err := newHolder(filepath.Join(dir, fmt.Sprintf("holder-%d", i)), disk, c.Network, callers)
		if err != nil {
			return Figure{}, fmt.Errorf("measure the durable record: %w", err)
		}
		defer h.close() //nolint:errcheck // a scratch record
		holders = append(holders, h)
	}
	for range 2 * rounds {
		for i, h := range holders {
			if err := repeat(callers, duration/(2*rounds), &sums[i], func(caller int) error { return h.sign(h.voters[caller]) }); err != nil {
				return Figure{}, fmt.Errorf("measure the durable record: %w", err)
			}
		}
	}
	durably, freely := sums[0], sums[1]
	f := Figure{
		Name: "durable_record_cost", N: len(c.Nodes), T: c.T, Concurrency: callers, Keys: callers, Unit: "partials/s",
		LimitIs: "the same holder on a disk whose fsync returns at once; the cost is 1 - ratio",
		P50:     percentile(durably.latency, 0.5), P99: percentile(durably.latency, 0.99),
		CPU: durably.cpuEach(), LimitCPU: freely.cpuEach(),
	}
	f.CPURatio = over(f.LimitCPU, f.CPU)
	return f.rate(durably.rate(), freely.rate()), nil
}
