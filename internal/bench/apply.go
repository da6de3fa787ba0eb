package bench

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/policy"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/store"
)

// requestsPerBlock leaves each member within what one signer may send for one
// block.
const requestsPerBlock = 100

// council is two custodians who agree on what is written about a third member.
type council struct {
	genesis *action.Genesis
	cluster action.ClusterID
	policy  [32]byte
	keys    [2]ident.PrivateKey
	nonces  [2]uint64
	agreed  int // requests so far
}

var (
	custodians = [2]action.Signer{{Class: action.SignerMember, Name: "ana"}, {Class: action.SignerMember, Name: "bo"}}
)

const councilPolicy = `version: 1
name: bench
permissions: |
  @id("custodians")
  permit (principal in Role::"custodian", action, resource);
tiers:
  - name: govern
    actions: ["*"]
    approvals: 2
    operators: 2
    approvers: [custodian]
    self_approval: true
    deadline: 1d
    veto: [custodian]
`

// newCouncil founds a ledger of the nodes of another.
func newCouncil(of action.Genesis) (*council, error) {
	c := &council{}
	rules, err := policy.Compile([]byte(councilPolicy))
	if err != nil {
		return nil, err
	}
	c.policy = rules.Hash()
	of.Policy, of.Members = councilPolicy, nil
	for i, who := range custodians {
		if c.keys[i], _, err = ident.Generate(ident.Ed25519, rand.Reader); err != nil {
			return nil, err
		}
		of.Members = append(of.Members, action.MemberRecord{
			ID: who.Name, Name: who.Name, Operator: fmt.Sprint("op", i), Region: "lisbon",
			Roles: []string{action.RoleCustodian}, Keys: []ident.PublicKey{c.keys[i].Public()},
		})
	}
	key, _, err := ident.Generate(ident.Ed25519, rand.Reader)
	if err != nil {
		return nil, err
	}
	of.Members = append(of.Members, action.MemberRecord{
		ID: "carol", Name: "Carol", Operator: "op2", Region: "denver", Roles: []string{action.RoleObserver}, Keys: []ident.PublicKey{key.Public()},
	})
	doc, err := json.Marshal(of)
	if err != nil {
		return nil, err
	}
	c.genesis, c.cluster, err = action.ParseGenesis(doc)
	return c, err
}

// request is what it takes to give the subject another name: one asks, both
// approve, and with the last word it happens.
func (c *council) request() [][]byte {
	c.agreed++
	renamed := c.genesis.Members[len(custodians)]
	renamed.Name = fmt.Sprint("Carol ", c.agreed)
	a := &action.Action{Rule: action.RuleUpdate, Member: &renamed}
	asked := c.sign(0, action.KindRequest, ledger.Ask{Action: a}.Encode())
	r := action.Request{Action: a.Encode(), Nonce: action.HashTx(asked), Policy: c.policy, By: custodians[0].String()}
	d := action.Decision{Request: r.ID(c.cluster), Action: action.HashAction(c.cluster, r.Action), Policy: c.policy, Verdict: action.Approve}
	return [][]byte{asked, c.sign(0, action.KindDecision, d.Encode()), c.sign(1, action.KindDecision, d.Encode())}
}

func (c *council) sign(who int, kind action.Kind, body []byte) []byte {
	c.nonces[who]++
	tx := action.Tx{Cluster: c.cluster, Kind: kind, Signer: custodians[who], Nonce: c.nonces[who], Body: body}
	rand.Read(tx.Salt[:])
	return tx.Sign(c.keys[who])
}

// verify checks the signatures of a block's transactions, and nothing else.
func (c *council) verify(txs [][]byte) error {
	for _, raw := range txs {
		tx, err := action.ParseTx(raw)
		if err != nil {
			return err
		}
		key := c.keys[0]
		if tx.Signer == custodians[1] {
			key = c.keys[1]
		}
		if err := tx.VerifySignature(key.Public()); err != nil {
			return err
		}
	}
	return nil
}

// replica is what a node does with a block that is agreed on, the store on
// disk included.
type replica struct {
	*council
	store    *store.Store
	cache    ledger.Cache
	seen     *ledger.Seen // nil: no signature was checked before
	frontier []byte
}

// change is what a block writes.
type change struct{ state, bodies []store.Write }

func (r *replica) view() (*ledger.State, error) {
	return ledger.NewState(r.cluster, proof.Namespace(r.genesis.Namespace), r.store.State(), r.store.Bodies(), r.frontier, &r.cache)
}

// check is what the mempool asks of each transaction.
func (r *replica) check(txs [][]byte) error {
	s, err := r.view()
	if err != nil {
		return err
	}
	for _, raw := range txs {
		tx, err := ledger.Parse(raw)
		if err != nil {
			return err
		}
		if _, err := s.Verify(tx, r.seen); err != nil {
			return err
		}
	}
	return nil
}

// apply carries out a block; the first brings the genesis.
func (r *replica) apply(txs [][]byte) (change, error) {
	s, err := r.view()
	if err != nil {
		return change{}, err
	}
	height := r.store.Height() + 1
	if height == 1 {
		if err := s.Genesis(r.genesis); err != nil {
			return change{}, err
		}
	}
	b := ledger.Block{Height: int64(height), Time: uint64(r.genesis.Time.UnixMilli()) + 1000*height}
	s.Begin(b)
	for _, raw := range txs {
		tx, err := ledger.Parse(raw)
		if err != nil {
			return change{}, err
		}
		v, err := s.Verify(tx, r.seen)
		if err != nil {
			return change{}, err
		}
		if res := s.Apply(b, v); res.Code != ledger.OK {
			return change{}, fmt.Errorf("%s: %s", res.Code, res.Info)
		}
	}
	r.frontier = s.Frontier()
	c := change{toStore(s.Writes()), toStore(s.Bodies())}
	return c, write(r.store, c)
}

func toStore(in []ledger.Write) []store.Write {
	out := make([]store.Write, len(in))
	for i, w := range in {
		out[i] = store.Write(w)
	}
	return out
}

// write makes a block's changes durable.
func write(to *store.Store, c change) error {
	height := to.Height() + 1
	if _, err := to.Stage(height, c.state); err != nil {
		return err
	}
	return to.Commit(height, nil, c.bodies)
}

// executed checks that all the council agreed on has happened.
func (r *replica) executed() error {
	s, err := r.view()
	if err != nil {
		return err
	}
	carol := r.genesis.Members[len(custodians)].ID
	if m, ok := s.Member(carol); !ok || m.Name != fmt.Sprint("Carol ", r.agreed) {
		return fmt.Errorf("%d requests were agreed on, and %s did not get the last name", r.agreed, carol)
	}
	return nil
}

// Apply measures how many transactions of governance a replica carries out in
// a second of one core: requests that two members approve, a third of the
// transactions each. From raw transactions to the block on disk; processor
// time, so that waiting for the disk does not count. First with signatures
// that the mempool has checked, then without. The limit takes turns.
func Apply(dir string, of action.Genesis, blocks int, progress func(string, ...any)) ([]Figure, error) {
	var figures []Figure
	for _, one := range []struct {
		name, limit string
		seen        *ledger.Seen
	}{
		{"apply_throughput", "the same writes into a store, root and commit", new(ledger.Seen)},
		{"apply_throughput_cold", "one signature check per transaction + the same writes into a store, root and commit", nil},
	} {
		f, err := applyOne(filepath.Join(dir, one.name), of, one.seen, blocks)
		if err != nil {
			return nil, fmt.Errorf("measure %s: %w", one.name, err)
		}
		f.Name, f.LimitIs = one.name, one.limit
		progress("%s: %.0f transactions/s of one core, limit %.0f/s", f.Name, f.Measured, f.Limit)
		figures = append(figures, f)
	}
	return figures, nil
}

func applyOne(dir string, of action.Genesis, seen *ledger.Seen, blocks int) (Figure, error) {
	th, err := action.DefaultThreshold(len(of.Nodes))
	if err != nil {
		return Figure{}, err
	}
	c, err := newCouncil(of)
	if err != nil {
		return Figure{}, err
	}
	r := &replica{council: c, seen: seen}
	if r.store, err = store.Open(store.Config{Dir: filepath.Join(dir, "replica")}); err != nil {
		return Figure{}, err
	}
	defer r.store.Close() //nolint:errcheck // a scratch ledger
	bare, err := store.Open(store.Config{Dir: filepath.Join(dir, "limit")})
	if err != nil {
		return Figure{}, err
	}
	defer bare.Close() //nolint:errcheck // a scratch ledger
	founded, err := r.apply(nil)
	if err == nil {
		err = write(bare, founded)
	}
	var measured, limit time.Duration
	total := 0
	for range blocks {
		var txs [][]byte
		for range requestsPerBlock {
			txs = append(txs, c.request()...)
		}
		if err == nil && seen != nil {
			err = r.check(txs)
		}
		var block change
		took, failed := spend(func() (err error) { block, err = r.apply(txs); return err })
		if err = errors.Join(err, failed); err != nil {
			return Figure{}, err
		}
		least, err := spend(func() error {
			if seen == nil {
				if err := c.verify(txs); err != nil {
					return err
				}
			}
			return write(bare, block)
		})
		if err != nil {
			return Figure{}, err
		}
		measured, limit, total = measured+took, limit+least, total+len(txs)
	}
	f := Figure{N: th.N(), T: th.T(), Concurrency: 1, Unit: "transactions/s"}
	return f.rate(float64(total)/measured.Seconds(), float64(total)/limit.Seconds()), r.executed()
}
