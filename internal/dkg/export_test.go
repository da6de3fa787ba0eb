package dkg

import (
	"bytes"

	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// Editor changes a dealing before its proofs are made.
type Editor struct {
	Leaves []byte
	job    *dealJob
	arith  forger
}

type forger interface {
	forgeShare(j *dealJob, leaf []byte, key, seat int, delta *[16]byte)
	forgePoint(leaf []byte, at int, add []byte)
	forgeConstant(j *dealJob, leaf []byte, key int)
	outsidePoint() []byte
}

func (ed *Editor) leaf(key int) []byte {
	size := ed.job.params.dealing(ed.job.receivers).leaf
	return ed.Leaves[key*size : (key+1)*size]
}

// AddToShare adds to what a seat decrypts.
func (ed *Editor) AddToShare(key, seat int, delta byte) {
	ed.arith.forgeShare(ed.job, ed.leaf(key), key, seat, &[16]byte{delta})
}

// SetShare overwrites what a seat is sent.
func (ed *Editor) SetShare(key, seat int, enc []byte) {
	copy(ed.job.sent(ed.leaf(key), seat), enc)
}

// SetPoint overwrites a point's bytes; AddPoint adds to the point.
func (ed *Editor) SetPoint(key, at int, enc []byte) { copy(ed.leaf(key)[at*len(enc):], enc) }
func (ed *Editor) AddPoint(key, at int, enc []byte) { ed.arith.forgePoint(ed.leaf(key), at, enc) }

// Constant makes the polynomial of a key constant.
func (ed *Editor) Constant(key int) { ed.arith.forgeConstant(ed.job, ed.leaf(key), key) }

// Suite returns the suite of the dealing.
func (ed *Editor) Suite() Suite { return ed.job.params.Suite }

// Cancel makes key 0's points cancel, in the leading difference, those of all
// other dealers: what a dealer can do that waits for the others.
func (ed *Editor) Cancel(b *Board, src Source) {
	ed.arith.(interface {
		forgeCancel(ed *Editor, b *Board, src Source)
	}).forgeCancel(ed, b, src)
}

func (e engine[S, P]) forgeCancel(ed *Editor, b *Board, src Source) {
	t := int(ed.job.params.T)
	sum, err := e.points(ed.leaf(0), t)
	if err != nil {
		panic(err)
	}
	for d := range b.complete().All() {
		body, err := readBody(src, b.dealing(), b.at(d).root, 0)
		if err != nil {
			panic(err)
		}
		v, err := e.points(body, t)
		if err != nil {
			panic(err)
		}
		for i := range sum {
			e.g.AddPoint(&sum[i], &v[i])
		}
	}
	// The last value stands in the leading difference with a sign only.
	lead(sum, e.g.SubPoint)
	own, _ := e.points(ed.leaf(0), t)
	if t%2 == 1 {
		e.g.SubPoint(&own[t-1], &sum[0])
	} else {
		e.g.AddPoint(&own[t-1], &sum[0])
	}
	copy(ed.leaf(0), e.g.AppendPoints(nil, own))
}

// OutsidePoint returns an encoded point of the curve outside the subgroup.
func OutsidePoint(s Suite) []byte { return s.arithmetic().(forger).outsidePoint() }

// ChunkKeys tells how many keys a chunk of a dealing has.
func ChunkKeys(p Params) int { return p.dealing(p.seats()).perChunk }

// Forge deals as q would, but for an edit, with proofs that hold wherever the
// dealer still knows what they are about.
func Forge(q *Participant, b *Board, src Source, edit func(*Editor)) []Message {
	honest, chunks, err := q.Deal(b, src)
	if err != nil {
		panic(err)
	}
	copied := *honest
	h := &copied
	roster, receivers := b.roster(), b.receivers()
	wide := q.coins.draw("rho", roster[:])
	rho := kem.NewSecretKey(&wide)
	constants, err := q.constants(src)
	if err != nil {
		panic(err)
	}
	job := &dealJob{params: &q.params, me: q.me, roster: roster, receivers: receivers, coins: q.coins, constants: constants}
	for i := range receivers.All() {
		key, _ := kem.ParsePublicKey(b.at(i).key[:])
		var hybrid []byte
		if q.params.Hybrid {
			_, ss, err := q.coins.encapsulate(b, src, i)
			if err != nil {
				panic(err)
			}
			hybrid = ss[:]
		}
		job.masks = append(job.masks, maskKey(roster, q.me, i, h.R.Bytes(), key.Bytes(), rho.Shared(key), hybrid))
	}
	ed := &Editor{job: job, arith: q.params.Suite.arithmetic().(forger)}
	for _, c := range chunks {
		ed.Leaves = append(ed.Leaves, c.Body...)
	}
	edit(ed)
	root, bodies, paths := q.params.dealing(receivers).cut(ed.Leaves)
	_, prove, _ := q.params.Suite.arithmetic().deal(job)
	h.Root, h.Knowledge = root, prove(root)
	Resign(q, b, h)
	out := []Message{h}
	for _, c := range q.chunks(false, bodies, paths) {
		out = append(out, c)
	}
	return out
}

// ForgeDealing deals as q would, but for an edit.
func ForgeDealing(q *Dealer, b *Board, src Source, edit func(*Editor)) *Dealing {
	honest, err := q.deal(b, src)
	if err != nil {
		panic(err)
	}
	_, _, masks, err := q.coins.open(b, src, q.me)
	if err != nil {
		panic(err)
	}
	job := &dealJob{params: &q.params, me: q.me, roster: b.roster(), receivers: b.receivers(), coins: q.coins, masks: masks, constants: []secret.Bytes{q.share}}
	ed := &Editor{job: job, arith: q.params.Suite.arithmetic().(forger), Leaves: bytes.Clone(honest.Leaf)}
	edit(ed)
	m := *honest
	m.Leaf = ed.Leaves
	_, prove, _ := q.params.Suite.arithmetic().deal(job)
	m.Knowledge = prove(wire.LeafHash(m.Leaf))
	ResignDealing(q, b, &m)
	return &m
}

// ResignDealing makes the proof of ρ for an altered dealing.
func ResignDealing(q *Dealer, b *Board, m *Dealing) {
	roster := b.roster()
	wide := q.coins.draw("rho", roster[:])
	m.Rho = kem.NewSecretKey(&wide).Prove(wire.TagPoKRho, headerContext(q.cid, roster, int(m.Dealer), m.header())...)
}

// Force takes a dealing as a board would that looks at nothing in it.
func Force(b *Board, m *Dealing) (*Board, []Event) {
	next := b.clone()
	next.keepDealing(m)
	return next, next.flush()
}

// Resign makes the proof of ρ for an altered header.
func Resign(q *Participant, b *Board, h *Header) {
	roster := b.roster()
	wide := q.coins.draw("rho", roster[:])
	h.Rho = kem.NewSecretKey(&wide).Prove(wire.TagPoKRho, headerContext(q.cid, roster, q.me, h)...)
}

// Accuse makes a complaint whether or not there is a reason.
func Accuse(q *Participant, b *Board, src Source, dealer, key int) Complaint {
	c, err := q.complain(b, src, dealer, key)
	if err != nil {
		panic(err)
	}
	return c
}

func (e engine[S, P]) forgeShare(j *dealJob, leaf []byte, key, seat int, delta *[16]byte) {
	sent := j.sent(leaf, seat)
	if sent == nil {
		return
	}
	var s, d S
	if err := e.g.SetScalar(&s, sent); err != nil {
		panic(err)
	}
	e.g.SetWeight(&d, delta)
	e.g.AddScalar(&s, &d)
	copy(sent, e.g.AppendScalar(nil, &s))
}

// sent is where a leaf has what a seat is sent, nil if it has not joined:
// nothing is for it.
func (j *dealJob) sent(leaf []byte, seat int) []byte {
	if !j.receivers.Has(seat) {
		return nil
	}
	return leaf[len(leaf)-32*(j.receivers.Len()-j.receivers.before(seat)):][:32]
}

func (e engine[S, P]) forgePoint(leaf []byte, at int, add []byte) {
	size := e.g.PointSize()
	p := make([]P, 1)
	var q P
	if e.g.SetPoint(&p[0], leaf[at*size:(at+1)*size]) != nil || e.g.SetPoint(&q, add) != nil {
		panic("forge: not a point")
	}
	e.g.AddPoint(&p[0], &q)
	copy(leaf[at*size:], e.g.AppendPoints(nil, p))
}

func (e engine[S, P]) forgeConstant(j *dealJob, leaf []byte, key int) {
	values := make([]S, j.params.T)
	if err := e.draw(values, j, key); err != nil {
		panic(err)
	}
	p := make([]P, 1)
	e.g.BaseMult(&p[0], &values[0])
	for at := range int(j.params.T) {
		copy(leaf[at*e.g.PointSize():], e.g.AppendPoints(nil, p))
	}
	for i := range j.receivers.All() {
		var mask S
		e.mask(&mask, j.masks[j.receivers.before(i)], key)
		e.g.AddScalar(&mask, &values[0])
		at := len(leaf) - 32*(j.receivers.Len()-j.receivers.before(i))
		copy(leaf[at:], e.g.AppendScalar(nil, &mask))
	}
}

func (e engine[S, P]) outsidePoint() []byte {
	for x := byte(1); x != 0; x++ {
		enc := make([]byte, e.g.PointSize())
		enc[0], enc[len(enc)-1] = 0x80, x
		p := make([]P, 1)
		if e.g.SetPoint(&p[0], enc) == nil && len(e.g.Outside(p)) == 1 {
			return enc
		}
	}
	return nil
}
