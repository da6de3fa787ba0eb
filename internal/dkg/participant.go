package dkg

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// Participant is one seat of a ceremony. Given the seed, every method is a
// function of the board: made again after a crash, it says the same again, so
// storing the seed before the first message is all the durability that a
// ceremony needs. The board must be proven to be the ledger's; the source
// need not be trusted.
type Participant struct {
	params  Params
	cid     [32]byte
	me      int
	coins   coins
	key     kem.SecretKey
	hybrid  kem.HybridKey
	keys    []secret.Bytes // import: what this seat deals
	holding Holding        // refresh, reshare: what this seat holds, if anything

	// What was made and found last, so that a phase need not do everything
	// again. The methods are not for use by several goroutines at once.
	dealt struct {
		roster [32]byte
		header *Header
		chunks []*Chunk
	}
	read struct { // what participants dealt
		root  [32]byte
		dealt *dealt
	}
	found struct {
		transcript [32]byte
		received   *received
	}
	settled struct {
		unbias [32]byte
		held   held
	}
}

// ErrNoShares is returned when this seat has no valid share of the result: it
// came too late with a complaint. The share can be repaired by the others.
var ErrNoShares = errors.New("this seat holds no valid shares of the result")

// errNothingHeld: a reshare asks for shares that this seat does not have.
var errNothingHeld = errors.New("this seat holds no share to deal from")

var errSeed = errors.New("this seat joined with another seed")

// NewParticipant takes a seat. The seed must be SeedSize uniform bytes that
// serve this ceremony alone.
func NewParticipant(p Params, me int, seed secret.Bytes) (*Participant, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if !p.seats().Has(me) {
		return nil, fmt.Errorf("take seat %d of %d: %w", me, p.N, errSeat)
	}
	q := &Participant{params: p, cid: p.ID(), me: me}
	var err error
	if q.coins, err = newCoins(seed, q.cid, me); err != nil {
		return nil, err
	}
	wide := q.coins.draw("key")
	q.key = kem.NewSecretKey(&wide)
	if p.Hybrid {
		wide = q.coins.draw("hybrid key")
		q.hybrid = kem.NewHybridKey((*[32]byte)(wide[:32]))
	}
	secret.Wipe(wide[:])
	return q, nil
}

// NewImporter takes the seat that deals existing secret keys: 32 bytes each,
// big-endian for BLS, little-endian for ristretto255. They must be those that
// the parameters expect. The participant reads them while it deals.
func NewImporter(p Params, seed secret.Bytes, keys []secret.Bytes) (*Participant, error) {
	if p.Mode != ModeImport || len(keys) != int(p.Keys) {
		return nil, fmt.Errorf("import %d keys: %w", len(keys), ErrShape)
	}
	q, err := NewParticipant(p, int(p.Importer), seed)
	if err != nil {
		return nil, err
	}
	var public [][]byte
	for k := range keys {
		pk, err := p.Suite.arithmetic().publicKey(keys[k])
		if err != nil {
			return nil, fmt.Errorf("import key %d: %w", k, err)
		}
		public = append(public, pk)
	}
	if ExpectedKeys(public) != p.Expected {
		return nil, errors.New("import keys: they are not those that the ceremony expects")
	}
	q.keys = keys
	return q, nil
}

// Next returns what this seat has to post now, most urgent first. While the
// result is being published every seat offers every chunk that is missing, so
// that whoever posts them looks at the board in between.
func (q *Participant) Next(b *Board, src Source) ([]Message, error) {
	if b.cid != q.cid {
		return nil, ErrCeremony
	}
	s, receives := b.at(q.me), b.receivers().Has(q.me)
	if s.joined && s.key != [kem.PointSize]byte(q.key.Public().Bytes()) {
		return nil, errSeed
	}
	var out []Message
	var err error
	add := func(m Message, e error) {
		if e == nil {
			out = append(out, m)
		}
		err = errors.Join(err, e)
	}
	switch b.phase {
	case PhaseJoin:
		if !s.joined && !s.blamed && b.params.Parties().Has(q.me) {
			add(q.Join(), nil)
		}
	case PhaseDeal:
		if b.dealers().Has(q.me) && !b.excluded.Has(q.me) && !b.complete().Has(q.me) {
			out, err := q.deal(b, src)
			if errors.Is(err, errNothingHeld) {
				return nil, nil // absent from the deal; its receiving goes on
			}
			return out, err
		}
	case PhaseVerify, PhaseAnswer:
		if b.dealers().Has(q.me) {
			for _, i := range b.Claims(q.me) {
				add(q.Answer(b, src, i))
			}
		}
		if b.phase == PhaseVerify && receives && !s.spoke {
			add(q.Verify(b, src))
		}
	case PhaseConfirm, PhasePublish, PhaseDone:
		if receives && s.attests == nil {
			add(q.Confirm(b, src))
		}
		if b.phase == PhasePublish && receives && err == nil {
			chunks, e := q.Publish(b, src)
			err = e
			for _, c := range chunks {
				out = append(out, c)
			}
		}
	}
	return out, err
}

// deal returns the parts of the dealing that the board lacks.
func (q *Participant) deal(b *Board, src Source) ([]Message, error) {
	h, chunks, err := q.Deal(b, src)
	if err != nil {
		return nil, err
	}
	var out []Message
	s := b.at(q.me)
	if s.header == [32]byte{} {
		out = append(out, h)
	}
	for c, m := range chunks {
		if !hasBit(s.chunks, c) {
			out = append(out, m)
		}
	}
	return out, nil
}

// Join returns this seat's keys for the ceremony.
func (q *Participant) Join() *Join {
	var hybridKey []byte
	if q.params.Hybrid {
		hybridKey = q.hybrid.Public()
	}
	return &Join{
		CID: q.cid,
		Keys: kem.Keys{
			Key:        q.key.Public(),
			Possession: q.key.Prove(wire.TagPoP, joinContext(q.cid, q.me, hybridKey)...),
			HybridKey:  hybridKey,
		},
	}
}

// Deal returns this seat's dealing to the receivers that joined.
func (q *Participant) Deal(b *Board, src Source) (*Header, []*Chunk, error) {
	if q.params.Mode == ModeImport && q.keys == nil {
		return nil, nil, fmt.Errorf("deal: seat %d has no keys to import", q.me)
	}
	if b.phase == PhaseJoin { // the roster is not final: this would not be the only dealing
		return nil, nil, fmt.Errorf("deal in phase %s: %w", b.phase, ErrPhase)
	}
	roster, receivers := b.roster(), b.receivers()
	if q.dealt.header != nil && q.dealt.roster == roster {
		return q.dealt.header, q.dealt.chunks, nil
	}
	h, rho, masks, err := q.coins.open(b, src, q.me)
	if err != nil {
		return nil, nil, err
	}
	constants, err := q.constants(src)
	if err != nil {
		return nil, nil, err
	}
	leaves, prove, err := q.params.Suite.arithmetic().deal(&dealJob{
		params: &q.params, me: q.me, roster: roster, receivers: receivers,
		coins: q.coins, masks: masks, constants: constants,
	})
	if err != nil {
		return nil, nil, err
	}
	shape := q.params.dealing(receivers)
	if err := q.checkConstants(src, leaves, shape.leaf); err != nil {
		return nil, nil, err
	}
	root, bodies, paths := shape.cut(leaves)
	h.Root, h.Knowledge = root, prove(root)
	h.Rho = rho.Prove(wire.TagPoKRho, headerContext(q.cid, roster, q.me, h)...)
	q.dealt.roster, q.dealt.header, q.dealt.chunks = roster, h, q.chunks(false, bodies, paths)
	return h, q.dealt.chunks, nil
}

func (q *Participant) chunks(result bool, bodies [][]byte, paths [][]digest) []*Chunk {
	out := make([]*Chunk, len(bodies))
	for c := range bodies {
		out[c] = &Chunk{CID: q.cid, Result: result, Index: uint32(c), Path: paths[c], Body: bodies[c]}
	}
	return out
}

// hybridKey fetches the X-Wing key that seat i joined with.
func hybridKey(b *Board, src Source, i int) ([]byte, error) {
	m, err := fetch[*Join](src, b.at(i).join)
	if err != nil {
		return nil, err
	}
	return m.HybridKey, nil
}

// fetch reads a message that is stored under the hash of its bytes.
func fetch[M Message](src Source, name [32]byte) (m M, err error) {
	raw, err := src(name)
	if err != nil {
		return m, fmt.Errorf("fetch %x: %w", name[:8], err)
	}
	if blobName(raw) != name {
		return m, fmt.Errorf("fetch %x: %w", name[:8], errBody)
	}
	parsed, err := ParseMessage(raw)
	if err != nil {
		return m, err
	}
	m, ok := parsed.(M)
	if !ok {
		return m, fmt.Errorf("fetch %x: %w", name[:8], errBody)
	}
	return m, nil
}

// receive judges a set of dealings, or remembers that it did.
func (q *Participant) receive(b *Board, src Source, set Dealers) (*received, error) {
	transcript := b.transcript(set)
	if q.found.received != nil && q.found.transcript == transcript {
		return q.found.received, nil
	}
	j := &receiveJob{
		params: &q.params, me: q.me, roster: b.roster(), receivers: b.receivers(), set: set, coins: q.coins,
		headers: make(map[int]*Header), masks: make(map[int][32]byte), chunk: cached(b, src),
		prior: q.params.readPrior(src), old: q.old,
	}
	header := func(d int) (*Header, error) { return fetch[*Header](src, b.at(d).header) }
	if q.params.FromAssembly() {
		all, err := q.dealings(b, src)
		if err != nil {
			return nil, err
		}
		j.paths = make(map[int][]digest)
		header = func(d int) (*Header, error) {
			j.paths[d] = all.by[d].Path
			return all.by[d].header(), nil
		}
		j.chunk = func(d, _ int) ([]byte, error) { return all.by[d].Leaf, nil }
	}
	for d := range set.All() {
		h, err := header(d)
		if err != nil {
			return nil, fmt.Errorf("receive dealing of %d: %w", d, err)
		}
		j.headers[d] = h
		if j.masks[d], err = q.unmask(b, d, h); err != nil {
			return nil, fmt.Errorf("receive dealing of %d: %w", d, err)
		}
	}
	r, err := q.params.Suite.arithmetic().receive(j)
	if err != nil {
		return nil, fmt.Errorf("receive dealings of %s: %w", set, err)
	}
	q.found.transcript, q.found.received = transcript, r
	return r, nil
}

// dealings returns what participants dealt, or remembers it.
func (q *Participant) dealings(b *Board, src Source) (*dealt, error) {
	root := b.order.Root()
	if q.read.dealt != nil && q.read.root == root {
		return q.read.dealt, nil
	}
	all, err := b.readDealt(src)
	if err == nil {
		q.read.root, q.read.dealt = root, all
	}
	return all, err
}

// cached fetches chunks and keeps the last of each dealer.
func cached(b *Board, src Source) func(dealer, index int) ([]byte, error) {
	type kept struct {
		index int
		body  []byte
	}
	last, shape := make(map[int]kept), b.dealing()
	return func(dealer, index int) ([]byte, error) {
		if k, ok := last[dealer]; ok && k.index == index {
			return k.body, nil
		}
		body, err := readBody(src, shape, b.at(dealer).root, index)
		if err != nil {
			return nil, fmt.Errorf("dealing of seat %d: %w", dealer, err)
		}
		last[dealer] = kept{index, body}
		return body, nil
	}
}

// unmask derives the key of a dealer's masks for this seat.
func (q *Participant) unmask(b *Board, dealer int, h *Header) ([32]byte, error) {
	var hybrid []byte
	if q.params.Hybrid {
		at := b.receivers().before(q.me) * kem.CiphertextSize
		shared, err := q.hybrid.Decapsulate(h.Encapsulations[at : at+kem.CiphertextSize])
		if err != nil {
			return [32]byte{}, err
		}
		hybrid = shared[:]
	}
	return maskKey(b.roster(), dealer, q.me, h.R.Bytes(), b.at(q.me).key[:], q.key.Shared(h.R), hybrid), nil
}

// Verify returns this seat's verdict on the current round's dealings.
func (q *Participant) Verify(b *Board, src Source) (*Verdict, error) {
	r, err := q.receive(b, src, b.set)
	if err != nil {
		return nil, err
	}
	v := &Verdict{CID: q.cid, Transcript: b.transcript(b.set), Faulty: r.faulty, Sums: r.sums}
	// Some thousand dealings may be false. Those that one message does not
	// hold are complained of when the others are out.
	size := 0
	for _, d := range slices.Sorted(maps.Keys(r.accused)) {
		c, err := q.complain(b, src, d, r.accused[d])
		if err != nil {
			return nil, fmt.Errorf("complain about %d: %w", d, err)
		}
		if size += len(c.Leaf) + 32*len(c.Path); len(v.Complaints) == wire.MaxComplaints || size > maxComplaints {
			break
		}
		v.Complaints = append(v.Complaints, c)
	}
	return v, nil
}

// maxComplaints bounds the dealings that one verdict brings, so that it fits
// into a transaction.
const maxComplaints = wire.MaxTx / 2

// complain opens what a dealer sent to this seat for a key.
func (q *Participant) complain(b *Board, src Source, dealer, key int) (Complaint, error) {
	at, leaf, path, r, err := q.evidence(b, src, dealer, key)
	if err != nil {
		return Complaint{}, err
	}
	return Complaint{
		Dealer: uint16(dealer),
		At:     uint32(at),
		Shared: q.key.Shared(r),
		Proof:  q.key.ProveShared(r, wire.TagDLEQ, complaintContext(q.cid, dealer, q.me)...),
		Leaf:   leaf,
		Path:   path,
	}, nil
}

// evidence returns the leaf that a complaint brings, where it is and how it
// leads to what the board has, and the dealer's R.
func (q *Participant) evidence(b *Board, src Source, dealer, key int) (at int, leaf []byte, path []digest, r kem.PublicKey, err error) {
	if q.params.FromAssembly() {
		all, err := q.dealings(b, src)
		if err != nil {
			return 0, nil, nil, r, err
		}
		at = all.at[dealer]
		return at, all.raw[dealer], all.tree.Path(0, at), all.by[dealer].R, nil
	}
	d, shape := b.at(dealer), b.dealing()
	chunk, err := readChunkOf(src, shape, d.root, key/shape.perChunk)
	if err != nil {
		return 0, nil, nil, r, err
	}
	i := key % shape.perChunk
	r, err = kem.ParsePublicKey(d.r[:])
	return key, chunk.Body[i*shape.leaf : (i+1)*shape.leaf], append(wire.CutTree(chunk.Body, shape.leaf).Path(0, i), chunk.Path...), r, err
}

// Answer opens the hybrid leg of this seat's dealing to a seat that complains.
func (q *Participant) Answer(b *Board, src Source, recipient int) (*Answer, error) {
	key, err := hybridKey(b, src, recipient)
	if err != nil {
		return nil, fmt.Errorf("answer seat %d: %w", recipient, err)
	}
	h, err := fetch[*Header](src, b.at(q.me).header)
	if err != nil {
		return nil, fmt.Errorf("answer seat %d: %w", recipient, err)
	}
	return q.coins.answer(b, recipient, key, h), nil
}

// finish returns this seat's holding of the final keys.
func (q *Participant) finish(b *Board, src Source) (held, error) {
	if b.phase != PhaseConfirm && b.phase != PhasePublish && b.phase != PhaseDone {
		return nil, fmt.Errorf("finish in phase %s: %w", b.phase, ErrPhase)
	}
	unbias := b.unbias(0)
	if id := wire.Hash(wire.TagUnbias, unbias[:]); q.settled.held == nil || q.settled.unbias != id {
		r, err := q.receive(b, src, b.set)
		if err != nil {
			return nil, err
		}
		if r.held == nil {
			return nil, ErrNoShares
		}
		shift := b.unbias
		if q.params.Mode != ModeKeygen {
			shift = nil
		}
		if q.settled.held, err = r.held.settle(shift); err != nil {
			return nil, err
		}
		q.settled.unbias = id
	}
	return q.settled.held, nil
}

// Confirm returns this seat's confirmation. Whoever posts it must have stored
// its shares, or still have the seed and the dealings to make them again.
func (q *Participant) Confirm(b *Board, src Source) (*Confirm, error) {
	h, err := q.finish(b, src)
	if err != nil {
		return nil, err
	}
	root, _, _ := q.params.result().cut(h.leaves())
	return &Confirm{
		CID:         q.cid,
		Result:      root,
		Attestation: h.attest(confirmWeights(q.cid, root, 0), attestMessage(q.cid, root)),
	}, nil
}

// Publish returns the chunks of the result that the board lacks.
func (q *Participant) Publish(b *Board, src Source) ([]*Chunk, error) {
	h, err := q.finish(b, src)
	if err != nil {
		return nil, err
	}
	root, bodies, paths := q.params.result().cut(h.leaves())
	if agreed, ok := b.Result(); !ok || agreed != root {
		return nil, fmt.Errorf("publish result: %w", errBody)
	}
	var out []*Chunk
	for c, m := range q.chunks(true, bodies, paths) {
		if !hasBit(b.published, c) {
			out = append(out, m)
		}
	}
	return out, nil
}

// ExposeSecretShares copies this seat's shares out of the ceremony, from the
// freeze on. Whoever has t seats' has the keys: the caller seals them at once
// and destroys them.
func (q *Participant) ExposeSecretShares(b *Board, src Source) ([]ShareOut, error) {
	h, err := q.finish(b, src)
	if err != nil {
		return nil, err
	}
	root, _, _ := q.params.result().cut(h.leaves())
	if agreed, ok := b.Result(); ok && agreed != root {
		return nil, fmt.Errorf("expose shares: %w", ErrNoShares)
	}
	return h.expose(), nil
}

// Destroy overwrites what the participant knows, as far as Go lets it. The
// seed is the caller's.
func (q *Participant) Destroy() {
	if r := q.found.received; r != nil && r.held != nil {
		r.held.wipe()
	}
	if q.settled.held != nil {
		q.settled.held.wipe()
	}
	clear(q.coins.key()[:])
	*q = Participant{}
}
