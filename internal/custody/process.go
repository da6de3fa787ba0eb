package custody

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/keystore"
	"github.com/quorate/quorate/internal/seal"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/slashing"
)

// Files of a home. The root and the identity exist from Init on, the others
// from Bind on; Run makes nothing.
const (
	fileRoot     = "seal.root"
	fileIdentity = "identity.sealed"
	fileGenesis  = "genesis.json"
	fileNode     = "node"
	fileSafe     = "shares.safe"
)

// Config is what Run needs to know beside the home.
type Config struct {
	Home     string
	Socket   string // unix socket to answer on
	AllowUID int    // the one user that may ask
	Log      *slog.Logger
	// Unconfined leaves the system call filter out, for tests in one process.
	Unconfined bool

	fs durable.FS // under the safe and the record; durable.OS if nil
}

func (c Config) disk() durable.FS {
	if c.fs == nil {
		return durable.OS{}
	}
	return c.fs
}

// Process is a custody process of one domain.
type Process struct {
	log       *slog.Logger
	cluster   action.ClusterID
	domain    action.Domain
	genesis   *action.Genesis
	network   *eth.Network
	roster    action.Roster
	seat      action.Seat
	identity  ident.PrivateKey
	chain     *chain
	safe      *seal.Safe
	record    *slashing.Record
	life      *incarnation
	shares    shares
	hashed    hashCache
	decrypter *keystore.Decrypter

	torn atomic.Bool // the record's last entries were lost, and no floor stands for them yet

	signing sync.RWMutex // read-locked while something is signed
	closed  bool         // guarded by signing: the last word was said

	closings sync.Mutex
	seen     map[uint16]ending // last words of other seats, guarded by closings

	seeds      seeds
	ceremonies sync.Mutex // guards what follows, and the order of steps
	seats      map[[32]byte]*seat
	imports    map[string]secret.Bytes  // whole keys that wait to be dealt, by public key
	next       map[seal.Slot]seal.Entry // shares of epochs that are not committed
	handovers  map[[32]byte]bool        // ceremonies that replaced shares and were obeyed; true: of shares that were here
}

// unbound is the cluster of records that are older than the cluster: the
// identity, which the genesis names.
var unbound action.ClusterID

// Init creates a home: the seal's root and an identity. It returns what the
// genesis has to say of this process.
func Init(home string, domain action.Domain) (action.CustodyRecord, error) {
	none := action.CustodyRecord{}
	if domain != action.DomainValidator {
		return none, fmt.Errorf("init custody: unknown key domain %q (hint: validator)", domain)
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return none, fmt.Errorf("init custody: %w", err)
	}
	if err := seal.InitRoot(filepath.Join(home, fileRoot)); err != nil {
		return none, fmt.Errorf("init custody: %w", err)
	}
	sealer, err := sealerOf(home, unbound, domain)
	if err != nil {
		return none, fmt.Errorf("init custody: %w", err)
	}
	key, seed, err := ident.Generate(ident.Ed25519MLDSA65, rand.Reader)
	if err != nil {
		return none, fmt.Errorf("init custody: %w", err)
	}
	h := seal.Header{Kind: seal.KindIdentity, Cluster: unbound, Domain: domain, Namespace: "root", Key: key.Public().Bytes()}
	sealed, err := seal.SealRecord(sealer, h, secret.New(seed))
	if err != nil {
		return none, fmt.Errorf("init custody: %w", err)
	}
	if err := durable.WriteOSFile(filepath.Join(home, fileIdentity), sealed, 0o600); err != nil {
		return none, fmt.Errorf("init custody: %w", err)
	}
	return action.CustodyRecord{Domain: domain, Identity: key.Public()}, nil
}

// Bind ties a home to the cluster that a genesis founds, and creates the safe
// and the slashing record. It is the only way to an empty record.
func Bind(home string, genesisDoc []byte, node string) error {
	g, cluster, err := action.ParseGenesis(genesisDoc)
	if err != nil {
		return fmt.Errorf("bind custody: %w", err)
	}
	key, domain, err := openIdentity(home)
	if err != nil {
		return fmt.Errorf("bind custody: %w", err)
	}
	seat, ok := action.NewRoster(g.Nodes, domain).Of(node)
	if !ok || !bytes.Equal(seat.Identity.Bytes(), key.Public().Bytes()) {
		return fmt.Errorf("bind custody: the genesis does not name this process as the %s custody of %q", domain, node)
	}
	network, err := g.EthNetwork()
	if err != nil {
		return fmt.Errorf("bind custody: %w", err)
	}
	sealer, err := sealerOf(home, cluster, domain)
	if err != nil {
		return fmt.Errorf("bind custody: %w", err)
	}
	// The safe first: where one stands, no record is made beside it. A record
	// that was lost is not to be had again by binding once more.
	safe, err := seal.Create(durable.OS{}, filepath.Join(home, fileSafe), seal.Owner{Cluster: cluster, Domain: domain}, sealer)
	if err != nil {
		return fmt.Errorf("bind custody: %w", err)
	}
	if err := safe.Close(); err != nil {
		return fmt.Errorf("bind custody: %w", err)
	}
	if err := slashing.Init(slashingConfig(home, cluster, domain, network)); err != nil {
		return fmt.Errorf("bind custody: %w", err)
	}
	// The node's name comes last: a home with one is whole.
	if err := durable.WriteOSFile(filepath.Join(home, fileGenesis), genesisDoc, 0o600); err != nil {
		return fmt.Errorf("bind custody: %w", err)
	}
	return durable.WriteOSFile(filepath.Join(home, fileNode), []byte(node), 0o600)
}

func slashingConfig(home string, cluster action.ClusterID, domain action.Domain, n *eth.Network) slashing.Config {
	c := slashing.Config{Dir: home, Owner: durable.Identity{Cluster: cluster, Domain: string(domain)}}
	if n.GenesisValidatorsRoot != nil {
		root := slashing.Root(*n.GenesisValidatorsRoot)
		c.Genesis = &root
	}
	return c
}

func sealerOf(home string, cluster action.ClusterID, domain action.Domain) (*seal.Key, error) {
	root, err := seal.ReadRoot(filepath.Join(home, fileRoot))
	if err != nil {
		return nil, fmt.Errorf("%w (hint: quorate-custody init makes it)", err)
	}
	defer root.Destroy()
	return root.Key(cluster, domain)
}

// openIdentity opens the key that Init sealed.
func openIdentity(home string) (ident.PrivateKey, action.Domain, error) {
	raw, err := durable.ReadFile(durable.OS{}, filepath.Join(home, fileIdentity), 64<<10)
	if err != nil {
		return ident.PrivateKey{}, "", fmt.Errorf("open identity: %w", err)
	}
	sealer, err := sealerOf(home, unbound, action.DomainValidator)
	if err != nil {
		return ident.PrivateKey{}, "", err
	}
	h, seed, err := seal.OpenRecord(sealer, raw)
	if err != nil {
		return ident.PrivateKey{}, "", fmt.Errorf("open identity: %w", err)
	}
	defer seed.Destroy()
	var key ident.PrivateKey
	seed.Expose(func(b []byte) { key, err = ident.FromSeed(ident.Ed25519MLDSA65, b) })
	if err != nil {
		return ident.PrivateKey{}, "", fmt.Errorf("open identity: %w", err)
	}
	if !bytes.Equal(key.Public().Bytes(), h.Key) {
		return ident.PrivateKey{}, "", errors.New("open identity: the record holds another key than it names")
	}
	return key, h.Domain, nil
}

// Run opens a home and answers until ctx ends, or until its memory of what it
// signed can no longer be trusted.
func Run(ctx context.Context, cfg Config) error {
	if err := secret.Harden(); err != nil {
		return fmt.Errorf("start custody: %w", err)
	}
	if err := bls.SelfTest(); err != nil {
		return fmt.Errorf("start custody: %w", err)
	}
	lock, err := durable.Lock(cfg.Home)
	if err != nil {
		return fmt.Errorf("start custody: %w", err)
	}
	defer lock.Close()
	if err := durable.Clean(durable.OS{}, cfg.Home); err != nil {
		return fmt.Errorf("start custody: %w", err)
	}
	p, err := open(cfg)
	if err != nil {
		return fmt.Errorf("start custody: %w", err)
	}
	defer p.close()
	if !cfg.Unconfined {
		if err := Confine(); err != nil {
			return err
		}
	}
	if !secret.Locked() {
		p.log.Warn("secrets may be swapped out: the limit of locked memory is too low (hint: ulimit -l, LimitMEMLOCK=)")
	}
	p.log.Info("custody is ready", "domain", p.domain, "seat", p.seat.Index, "shares", p.shares.count())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.serve(ctx, cfg.Socket, cfg.AllowUID) })
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-p.record.Failed():
			return errors.New("the slashing record failed: nothing may be signed any more")
		case <-p.safe.Failed():
			return errors.New("the safe failed")
		}
	})
	return g.Wait()
}

func open(cfg Config) (*Process, error) {
	key, domain, err := openIdentity(cfg.Home)
	if err != nil {
		return nil, err
	}
	doc, err := os.ReadFile(filepath.Join(cfg.Home, fileGenesis))
	if err != nil {
		return nil, fmt.Errorf("%w (hint: quorate-custody bind ties this home to a cluster)", err)
	}
	node, err := os.ReadFile(filepath.Join(cfg.Home, fileNode))
	if err != nil {
		return nil, fmt.Errorf("%w (hint: quorate-custody bind was interrupted; start over with an empty home)", err)
	}
	g, cluster, err := action.ParseGenesis(doc)
	if err != nil {
		return nil, err
	}
	p := &Process{
		log: cfg.Log, cluster: cluster, domain: domain, genesis: g, identity: key,
		roster: action.NewRoster(g.Nodes, domain), decrypter: keystore.NewDecrypter(),
		seen:  map[uint16]ending{},
		seeds: seeds{byID: map[[32]byte]secret.Bytes{}, older: map[[32]byte]bool{}, over: map[[32]byte]bool{}},
		seats: map[[32]byte]*seat{}, imports: map[string]secret.Bytes{},
		next: map[seal.Slot]seal.Entry{}, handovers: map[[32]byte]bool{},
		shares: shares{byKey: map[[bls.PublicKeySize]byte]held{}, kept: map[[bls.PublicKeySize]byte]bool{}},
	}
	var ok bool
	if p.seat, ok = p.roster.Of(string(node)); !ok || !bytes.Equal(p.seat.Identity.Bytes(), key.Public().Bytes()) {
		return nil, fmt.Errorf("the genesis does not name this process as the %s custody of %q", domain, node)
	}
	if p.network, err = g.EthNetwork(); err != nil {
		return nil, err
	}
	if p.chain, err = newChain(g, cluster, string(node), domain); err != nil {
		return nil, err
	}
	sealer, err := sealerOf(cfg.Home, cluster, domain)
	if err != nil {
		return nil, err
	}
	// The record first: without it no share is opened.
	record := slashingConfig(cfg.Home, cluster, domain, p.network)
	record.FS = cfg.disk()
	if p.record, err = slashing.Open(record); err != nil {
		return nil, fmt.Errorf("%w (hint: never start without it; restore the home, or let the other holders repair a new one)", err)
	}
	if p.safe, err = seal.Open(cfg.disk(), filepath.Join(cfg.Home, fileSafe), seal.Owner{Cluster: cluster, Domain: domain}, sealer, p.load); err != nil {
		p.record.Close()
		return nil, err
	}
	p.life = &incarnation{
		network: p.network, path: p.chain.ns.Incarnation(string(node), string(domain)), older: p.shares.keys(),
	}
	p.life.handovers = uint64(len(p.handovers))
	pub, memoryOnly, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	p.life.id, p.life.sign = [32]byte(pub), func(msg []byte) []byte { return ed25519.Sign(memoryOnly, msg) }
	p.torn.Store(tornKeys(p.record))
	p.life.opened, err = anchorOf(p.record)
	return p, err
}

// load takes an entry of the safe.
func (p *Process) load(e seal.Entry) error {
	switch e.Kind {
	case seal.KindShare, seal.KindBeacon, seal.KindRetired:
		return p.shares.load(e)
	case seal.KindSeed:
		p.seeds.put([32]byte(e.Key), e.Secret)
		p.seeds.older[[32]byte(e.Key)] = true
	case seal.KindImport:
		p.imports[string(e.Key)] = e.Secret
	case seal.KindNext:
		p.next[e.Slot()] = e
		p.shares.keep(e.Key, true)
	case seal.KindHandover:
		speaks := false
		e.Secret.Expose(func(b []byte) { speaks = b[0] == 1 })
		p.handovers[[32]byte(e.Key)] = speaks
		e.Secret.Destroy()
	default:
		return fmt.Errorf("a record of kind %d has no place here", e.Kind)
	}
	return nil
}

func (p *Process) close() {
	if err := errors.Join(p.record.Close(), p.safe.Close()); err != nil {
		p.log.Error("close custody", "err", err)
	}
}

func (p *Process) status() Status {
	s := Status{Identity: p.identity.Public().Bytes(), Keys: uint32(p.shares.count()), Anchored: p.chain.anchored(), Pending: p.seeds.pending()}
	p.life.describe(&s)
	return s
}

// now is the wall clock, which decides on range bounds only: how far ahead a
// slashable duty may lie. Nothing is allowed because of it that the slashing
// record forbids.
func now() time.Time { return time.Now() }
