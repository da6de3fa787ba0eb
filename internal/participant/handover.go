package participant

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// This file hands a share over to nodes: the participant deals from it in their
// ceremony, and destroys it once the ledger proves that they hold the key.

const (
	fileCertificate  = "certificate"
	fileHandedOver   = "handed-over"
	fileHandoverSeed = "handover-seed-"

	whatHandoverSeed = "quorate participant hand-over seed v1"
)

// ErrNoShare means that there is nothing to hand over.
var ErrNoShare = fmt.Errorf("%w: its directory holds no share", ErrStop)

// ErrSummons means that who brought a summons left something out, or changed it.
// Another brings what is missing.
var ErrSummons = errors.New("something is missing in it")

// ErrOtherKey means that the ceremony takes over something else.
var ErrOtherKey = fmt.Errorf("%w: the ceremony does not take over the key that this seat has a share of", ErrStop)

// ErrDealtElsewhere means that another directory has to answer for the dealing.
var ErrDealtElsewhere = fmt.Errorf("%w: it dealt with another seed than the one in this directory", ErrStop)

// HandOver is a participant's part in the ceremony among nodes that takes the
// key of its assembly over. It is for use by one goroutine, and the directory
// for one process.
type HandOver struct {
	config  Config
	id      [32]byte // of the ceremony
	lock    *durable.DirLock
	cluster action.ClusterID
	nodes   action.Roster
	params  assembly.Params // of the assembly
	key     []byte
	result  [32]byte // root over the points of its shares
	path    []wire.Digest
	share   secret.Bytes
	seed    secret.Bytes

	light  light
	proven []byte // the certificate of what follows
	board  *dkg.Board
	record *action.KeyRecord
	dealer *dkg.Dealer
	bodies map[[32]byte][]byte
}

// OpenHandOver takes up the hand-over in a ceremony, or takes it up again. Of
// a share that is destroyed already it finishes what was begun.
func OpenHandOver(c Config, ceremony [32]byte) (h *HandOver, err error) {
	h = &HandOver{config: c, id: ceremony, bodies: map[[32]byte][]byte{}}
	if h.light, err = newLight(c.Invitation); err != nil {
		return nil, err
	}
	if h.lock, err = durable.Lock(c.Dir); err != nil {
		return nil, err
	}
	if err = h.load(); err != nil {
		h.Close()
		return nil, fmt.Errorf("hand over the share of seat %d in %s: %w", c.Invitation.Seat, c.Dir, err)
	}
	return h, nil
}

// Close lets go of the directory, and forgets.
func (h *HandOver) Close() {
	if h.dealer != nil {
		h.dealer.Destroy()
	}
	h.share.Destroy()
	h.seed.Destroy()
	h.lock.Close()
}

func (h *HandOver) file(name string) string { return filepath.Join(h.config.Dir, name) }

func (h *HandOver) load() error {
	inv := h.config.Invitation
	genesis, cluster, err := action.ParseGenesis(inv.Genesis)
	if err != nil {
		return err
	}
	h.cluster, h.nodes = cluster, action.NewRoster(genesis.Nodes, action.DomainValidator)
	raw, err := durable.ReadFile(durable.OS{}, h.file(fileCertificate), wire.MaxCertificate)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoShare, err)
	}
	c, err := assembly.ParseCertificate(raw)
	if err != nil {
		return err
	}
	key, err := c.PublicKey()
	if err != nil {
		return err
	}
	public := key.Bytes()
	if h.params, h.key = c.Params(), public[:]; h.params.ID() != inv.ID() {
		return fmt.Errorf("the certificate is of ceremony %x", h.params.ID())
	}
	if inv.Seat > int(h.params.N) {
		return ErrIdentity
	}
	h.result, h.path = c.Result(), c.Path(inv.Seat)
	if h.Done() {
		return h.destroy()
	}
	share, err := ReadShare(h.config.Dir, h.config.Sealer)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ErrNoShare
	case err != nil:
		return err
	}
	h.share = share.Secret
	if share.Params.ID() != inv.ID() || share.Seat != inv.Seat {
		return fmt.Errorf("the share is that of seat %d in ceremony %x", share.Seat, share.Params.ID())
	}
	return h.loadSeed()
}

// loadSeed opens the seed of this one ceremony, or makes it, durably, before
// anything is said in it.
func (h *HandOver) loadSeed() error {
	path := h.file(fileHandoverSeed + hex.EncodeToString(h.id[:8]))
	file, err := durable.ReadFile(durable.OS{}, path, credential.MaxSecretFile)
	if err == nil {
		h.seed, err = h.config.Sealer.Open(whatHandoverSeed, file)
		return err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if h.seed, err = secret.Random(h.config.Random, dkg.SeedSize); err != nil {
		return err
	}
	if file, err = h.config.Sealer.Seal(whatHandoverSeed, h.seed); err != nil {
		return err
	}
	return durable.WriteOSFile(path, file, 0o600)
}

// Take looks at what a summons brings. Nothing of it is believed: the ledger's
// certificate proves the ceremony and the key's record.
func (h *HandOver) Take(s *Summons) error {
	if err := h.take(s); err != nil {
		return fmt.Errorf("take summons: %w", err)
	}
	return nil
}

func (h *HandOver) take(s *Summons) error {
	if s.Ceremony != h.id {
		return fmt.Errorf("it is to ceremony %x", s.Ceremony)
	}
	next, v, err := h.light.verify(s.Certificate)
	if err != nil {
		return err
	}
	raw, ok := v.Get(next.ns.Ceremony(h.id[:]))
	if !ok {
		return ErrUnknown
	}
	board, err := dkg.ParseBoard(raw)
	if err != nil {
		return err
	}
	if raw, ok = v.Get(next.ns.Key(string(action.DomainValidator), h.key)); !ok {
		return fmt.Errorf("%w: what the ledger says of the key", ErrSummons)
	}
	record, err := action.ParseKeyRecord(raw)
	if err != nil {
		return err
	}
	if err := h.fits(board, record); err != nil {
		return err
	}
	for _, name := range board.DealerBodies() {
		i := slices.IndexFunc(s.Bodies, func(b dkg.Posted) bool { return wire.Hash(wire.TagBlob, b.Body) == name })
		if i < 0 {
			return fmt.Errorf("%w: %x, with which a node joined", ErrSummons, name[:8])
		}
		h.bodies[name] = s.Bodies[i].Body
	}
	h.light, h.proven, h.board, h.record = next, s.Certificate, board, record
	return nil
}

// fits reports whether the ceremony is what takes over this seat's key, among
// the nodes that the invitation's genesis seats.
func (h *HandOver) fits(b *dkg.Board, record *action.KeyRecord) error {
	p := b.Params()
	switch old := p.Old; {
	case b.ID() != h.id || p.Cluster != h.cluster || p.Roster != h.nodes.Hash(h.cluster) || int(p.N) != len(h.nodes):
		return fmt.Errorf("%w: it seats others than the cluster's nodes", ErrOtherKey)
	case !p.FromAssembly() || old.Assembly != h.params.ID() || old.N != h.params.N || old.T != h.params.T || p.Expected != h.result:
		return ErrOtherKey
	case !bytes.Equal(record.PublicKey, h.key):
		return ErrOtherKey
	}
	return nil
}

// Board is the ceremony as the ledger last proved it; nil before the first
// summons.
func (h *HandOver) Board() *dkg.Board { return h.board }

// Time is that of the newest block that was proven.
func (h *HandOver) Time() time.Time { return h.light.now }

// Nodes are those of the cluster, of which some take the key over.
func (h *HandOver) Nodes() action.Roster { return h.nodes }

// PublicKey is the key that is handed over.
func (h *HandOver) PublicKey() []byte { return h.key }

// Assembly is where it was made.
func (h *HandOver) Assembly() assembly.Params { return h.params }

// Dealt says whether the ledger has this seat's dealing.
func (h *HandOver) Dealt() bool { return h.board.Dealt().Has(h.config.Invitation.Seat) }

// Reply says what is due, signed. It may be asked at any time, and as often as
// one likes.
func (h *HandOver) Reply(ctx context.Context) (*HandOverReply, error) {
	seat := h.config.Invitation.Seat
	r := &HandOverReply{Ceremony: h.id, Seat: seat, Phase: h.board.Phase()}
	if h.dealer == nil {
		var err error
		if h.dealer, err = dkg.NewDealer(h.board.Params(), seat, h.seed, h.share, h.path); err != nil {
			return nil, err
		}
	}
	messages, err := h.dealer.Next(h.board, h.source)
	switch {
	case errors.Is(err, dkg.ErrDealtElsewhere):
		return nil, ErrDealtElsewhere
	case err != nil:
		return nil, fmt.Errorf("say what is due in phase %s: %w", h.board.Phase(), err)
	}
	for _, m := range messages {
		raw := m.Encode()
		signature, err := h.config.Signer.Sign(ctx, wire.TagDealerMessage, action.CeremonyParts(h.id, uint16(seat), raw)...)
		if err != nil {
			return nil, fmt.Errorf("sign message: %w", err)
		}
		r.Posts = append(r.Posts, Post{raw, signature})
	}
	return r, nil
}

func (h *HandOver) source(name [32]byte) ([]byte, error) {
	if body, ok := h.bodies[name]; ok {
		return body, nil
	}
	return nil, fmt.Errorf("body %x was not brought", name[:8])
}

// Settled says whether the ledger has proven that the nodes hold the key: its
// record is of an epoch of theirs, and t + f of them confirmed their shares.
func (h *HandOver) Settled() bool {
	return h.board != nil && h.board.Phase() == dkg.PhaseDone && h.board.DepositSafe() && h.record.Epoch >= h.board.Params().Epoch
}

// Done says whether this seat has begun to destroy its share.
func (h *HandOver) Done() bool { return handedOver(h.config.Dir) }

// Destroy destroys the share, and the seed and letters from which it could be
// computed anew. The ledger's proof that the nodes hold the key stays in its
// place, and is there first.
func (h *HandOver) Destroy() error {
	if !h.Settled() {
		return errors.New("destroy share: nothing proves that the nodes hold the key")
	}
	if err := durable.WriteOSFile(h.file(fileHandedOver), h.proven, 0o644); err != nil {
		return err
	}
	return h.destroy()
}

func (h *HandOver) destroy() error {
	entries, err := os.ReadDir(h.config.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if secretFile(e.Name()) {
			err = errors.Join(err, erase(h.file(e.Name())))
		}
	}
	if err != nil {
		return fmt.Errorf("destroy share: %w", err)
	}
	return nil
}

// secretFile tells the files from which the share, or one that was dealt from
// it, could be had, temporary ones of a writer that was killed included.
func secretFile(name string) bool {
	for _, begin := range []string{fileShare, fileSeed, fileLetter, fileHandoverSeed} {
		if strings.HasPrefix(name, begin) {
			return true
		}
	}
	return false
}

// erase overwrites a file before it removes it. What a disk keeps of it
// besides, nobody here can say.
func erase(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err == nil {
		_, err = f.Write(make([]byte, st.Size()))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return durable.Remove(durable.OS{}, path)
}
