package dkg

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// This file makes and checks the two transcripts of a ceremony that stand
// outside the ledger: the certificate, which proves that keys are shared as it
// says, and the archive, from which everything public is computed again.

// The first lines of the two kinds of files.
const (
	archiveMagic     = "quorate ledger ceremony archive v1\n"
	certificateMagic = "quorate ledger ceremony certificate v1\n"
)

// Transcript is what either file holds.
type Transcript struct {
	params       Params
	leaves       []byte // of the result: t points of each key
	holders      Seats
	attestations [][]byte

	archive bool
	delta   [32]byte
	joined  Seats
	qual    Dealers
	prior   []byte     // refresh, reshare: old t points of each key, as it was shared before
	joins   [][]byte   // of who joined
	headers [][]byte   // of the dealers; of participants the whole dealings
	chunks  [][][]byte // of each that is a seat
}

var errTranscript = errors.New("not a transcript of a ceremony on a ledger")

// ReadTranscript gathers that of a ceremony which is done.
func ReadTranscript(b *Board, src Source) (*Transcript, error) {
	if b.phase != PhaseDone {
		return nil, fmt.Errorf("read transcript in phase %s: %w", b.phase, ErrPhase)
	}
	result, err := ReadResult(b, src)
	if err != nil {
		return nil, err
	}
	x := &Transcript{params: b.params, leaves: result.leaves, holders: b.Holders(), archive: true, delta: b.delta, joined: b.Joined(), qual: b.params.weighed(b.set)}
	read := b.params.readPrior(src)
	for k := 0; read != nil && k < result.Keys(); k++ {
		leaf, err := read(k)
		if err != nil {
			return nil, err
		}
		x.prior = append(x.prior, leaf...)
	}
	fetch := func(into *[][]byte, name [32]byte) {
		body, e := src(name)
		*into, err = append(*into, body), errors.Join(err, e)
	}
	for i := range x.joined.All() {
		fetch(&x.joins, b.at(i).join)
	}
	for i := range x.holders.All() {
		x.attestations = append(x.attestations, b.at(i).attests)
	}
	if b.params.FromAssembly() {
		all, e := b.readDealt(src)
		if err = errors.Join(err, e); err != nil {
			return nil, err
		}
		for i := range x.qual.All() {
			x.headers, x.chunks = append(x.headers, all.raw[i]), append(x.chunks, nil)
		}
		return x, nil
	}
	for i := range x.qual.All() {
		fetch(&x.headers, b.at(i).header)
		var chunks [][]byte
		for c := range b.dealing().chunks() {
			fetch(&chunks, chunkName(b.at(i).root, c))
		}
		x.chunks = append(x.chunks, chunks)
	}
	return x, err
}

// Archive and Certificate return the files.
func (x *Transcript) Archive() []byte {
	var e wire.Encoder
	e.Fixed([]byte(archiveMagic))
	x.encode(&e)
	e.Fixed(x.delta[:])
	e.U32(uint32(x.joined))
	e.Bytes([]byte(x.qual))
	e.Fixed(x.prior)
	for _, m := range x.joins {
		e.Bytes(m)
	}
	for d := range x.headers {
		e.Bytes(x.headers[d])
		for _, c := range x.chunks[d] {
			e.Bytes(c)
		}
	}
	return e.Out()
}

func (x *Transcript) Certificate() []byte {
	var e wire.Encoder
	e.Fixed([]byte(certificateMagic))
	x.encode(&e)
	return e.Out()
}

func (x *Transcript) encode(e *wire.Encoder) {
	e.Fixed(x.params.Encode())
	e.Fixed(x.leaves)
	e.U32(uint32(x.holders))
	for _, a := range x.attestations {
		e.Bytes(a)
	}
}

// IsTranscript tells whether a file says that it is one.
func IsTranscript(raw []byte) bool { return begins(raw, archiveMagic) || begins(raw, certificateMagic) }

func begins(raw []byte, magic string) bool {
	return len(raw) >= len(magic) && string(raw[:len(magic)]) == magic
}

// VerifyTranscript reads an archive or a certificate and checks everything
// that it says. Who broke the protocol is not in it: that is the ledger's
// audit log's to say.
func VerifyTranscript(raw []byte) (*Transcript, error) {
	x, err := parseTranscript(raw)
	if err == nil {
		err = x.verify()
	}
	if err == nil && x.archive {
		err = x.replay()
	}
	if err != nil {
		return nil, fmt.Errorf("verify transcript: %w", err)
	}
	return x, nil
}

func parseTranscript(raw []byte) (*Transcript, error) {
	if len(raw) > wire.MaxArchive || !IsTranscript(raw) {
		return nil, errTranscript
	}
	x, magic := &Transcript{}, certificateMagic
	if begins(raw, archiveMagic) {
		x.archive, magic = true, archiveMagic
	}
	d := wire.NewDecoder(raw[len(magic):])
	x.params = readParams(d)
	if d.Err() == nil {
		d.Fail(x.params.Check())
	}
	if d.Err() != nil {
		return nil, d.Err()
	}
	x.leaves = readLeaves(d, x.params.result())
	x.holders = readSeats(d, x.params.Members())
	for range x.holders.Len() {
		x.attestations = append(x.attestations, d.Bytes(maxAttestation))
	}
	if x.archive {
		d.Fixed(x.delta[:])
		x.joined = readSeats(d, x.params.Parties())
		x.qual = readDealers(d, x.params.mostDealers())
		if seats := (x.joined & x.params.dealers()).Dealers(); !x.params.FromAssembly() && x.qual.Without(seats) != "" {
			d.Fail(errSeat)
		}
		if x.params.posted() {
			x.prior = readLeaves(d, x.params.prior())
		}
		for range x.joined.Len() {
			x.joins = append(x.joins, d.Bytes(wire.MaxTx))
		}
		chunks := x.params.dealing(x.receivers()).chunks()
		if x.params.FromAssembly() {
			chunks = 0
		}
		for range x.qual.Len() {
			x.headers = append(x.headers, d.Bytes(wire.MaxTx))
			var bodies [][]byte
			for range chunks {
				bodies = append(bodies, d.Bytes(wire.MaxTx))
			}
			if d.Err() != nil {
				return nil, d.Err()
			}
			x.chunks = append(x.chunks, bodies)
		}
	}
	return x, d.Finish()
}

// readLeaves reads a whole tree's leaves, and allocates no more than is there.
func readLeaves(d *wire.Decoder, s shape) []byte {
	size := s.leaf * s.leaves
	if size > d.Len() {
		d.Fail(errTranscript)
		return nil
	}
	leaves := make([]byte, size)
	d.Fixed(leaves)
	return leaves
}

// verify is what a certificate proves.
func (x *Transcript) verify() error {
	p := &x.params
	a, t, cid := p.Suite.arithmetic(), int(p.T), p.ID()
	if x.holders.Len() < p.quorum() {
		return errors.New("fewer than n-f seats confirmed it")
	}
	if err := a.sound(x.leaves, t); err != nil {
		return err
	}
	root, _, _ := p.result().cut(x.leaves)
	acc, err := a.weigh(nil, x.leaves, t, confirmWeights(cid, root, 0))
	if err != nil {
		return err
	}
	var seats []int
	for i := range x.holders.All() {
		seats = append(seats, i)
	}
	if bad := a.attested(acc, t, seats, attestMessage(cid, root), x.attestations); len(bad) > 0 {
		return fmt.Errorf("the confirmation of seat %d is false", bad[0])
	}
	return nil
}

// receivers returns who joined to get shares.
func (x *Transcript) receivers() Seats { return x.joined & x.params.Members() }

// weighed returns the dealers of a QUAL whose dealings the shares are made of.
// An archive holds no others: nothing in it would depend on them.
func (p *Params) weighed(qual Dealers) Dealers {
	if p.Mode == ModeReshare {
		return qual.First(p.minDealers())
	}
	return qual
}

// replay computes the result from what was dealt, and from what it began with.
func (x *Transcript) replay() error {
	p, a := &x.params, x.params.Suite.arithmetic()
	if x.holders.Without(x.receivers()) != 0 {
		return errors.New("a holder that did not join")
	}
	b := &Board{params: *p, cid: p.ID(), seats: make([]place, p.N), set: x.qual, delta: x.delta}
	if x.qual.Len() < p.minDealers() || x.qual != p.weighed(x.qual) {
		return errors.New("too few dealers, or one that weighs nothing")
	}
	if (p.Mode == ModeKeygen) == (x.delta == [32]byte{}) {
		return errors.New("a shift where there is none, or none where there is one")
	}
	if err := x.checkPrior(a); err != nil {
		return err
	}
	if err := x.takeJoins(b); err != nil {
		return err
	}
	job, err := x.takeDealings(b)
	if err != nil {
		return err
	}
	r, err := a.receive(job)
	if err != nil {
		return err
	}
	if r.faulty != "" {
		return fmt.Errorf("the dealings of %s are false", r.faulty)
	}
	b.sums = r.sums
	unbias := b.unbias
	if p.Mode != ModeKeygen {
		unbias = nil
	}
	before, err := a.unshift(x.leaves, int(p.T), unbias)
	if err != nil {
		return err
	}
	if root, _, _ := p.result().cut(before); root != r.sums {
		return errors.New("the keys are not the sums of what was dealt")
	}
	return nil
}

// checkPrior holds the sharing before to the root that the parameters name.
func (x *Transcript) checkPrior(a arithmetic) error {
	if !x.params.posted() {
		return nil
	}
	if root, _, _ := x.params.prior().cut(x.prior); root != x.params.Expected {
		return errors.New("the sharing before is not the one that was to be replaced")
	}
	if err := a.sound(x.prior, int(x.params.Old.T)); err != nil {
		return fmt.Errorf("the sharing before: %w", err)
	}
	return nil
}

func (x *Transcript) takeJoins(b *Board) error {
	next := 0
	for i := range x.joined.All() {
		m, err := ParseMessage(x.joins[next])
		next++
		j, ok := m.(*Join)
		switch {
		case err != nil:
			return fmt.Errorf("join of seat %d: %w", i, err)
		case !ok || j.CID != b.cid || (len(j.HybridKey) > 0) != x.params.Hybrid ||
			!j.Key.VerifyProof(j.Possession, wire.TagPoP, joinContext(b.cid, i, j.HybridKey)...):
			return fmt.Errorf("join of seat %d: %w", i, errTranscript)
		}
		*b.at(i) = place{joined: true, key: [kem.PointSize]byte(j.Key.Bytes()), hybrid: hybridHash(j.HybridKey)}
	}
	return nil
}

// takeDealings checks headers and chunks, and makes of them what a seat judges
// that holds no keys: its own shares come out wrong, and nobody looks at them.
func (x *Transcript) takeDealings(b *Board) (*receiveJob, error) {
	roster, receivers := b.roster(), x.receivers()
	shape := x.params.dealing(receivers)
	bodies := map[int][][]byte{}
	job := &receiveJob{params: &x.params, roster: roster, receivers: receivers, set: x.qual, headers: map[int]*Header{}, paths: map[int][]digest{},
		coins: coins{key: func() *[32]byte { return new([32]byte) }},
		old:   func([]byte) secret.Bytes { return secret.Bytes{} },
		chunk: func(dealer, index int) ([]byte, error) { return bodies[dealer][index], nil }}
	if x.params.posted() {
		size := x.params.prior().leaf
		job.prior = func(key int) ([]byte, error) { return x.prior[key*size : (key+1)*size], nil }
	}
	for job.me = 1; !receivers.Has(job.me); job.me++ {
	}
	if x.params.FromAssembly() {
		return job, x.takeWhole(job, b.cid, bodies)
	}
	next := 0
	for d := range x.qual.All() {
		m, err := ParseMessage(x.headers[next])
		h, ok := m.(*Header)
		hybrid := 0
		if x.params.Hybrid {
			hybrid = receivers.Len() * kem.CiphertextSize
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("header of seat %d: %w", d, err)
		case !ok || h.CID != b.cid || len(h.Knowledge) != x.params.knowledge() || len(h.Encapsulations) != hybrid ||
			!h.R.VerifyProof(h.Rho, wire.TagPoKRho, headerContext(b.cid, roster, d, h)...):
			return nil, fmt.Errorf("header of seat %d: %w", d, errTranscript)
		}
		job.headers[d] = h
		b.at(d).header = blobName(x.headers[next])
		for c, raw := range x.chunks[next] {
			m, err := ParseMessage(raw)
			if err != nil {
				return nil, fmt.Errorf("dealing of seat %d: %w", d, err)
			}
			chunk, ok := m.(*Chunk)
			if !ok || chunk.CID != b.cid || chunk.Result || int(chunk.Index) != c || !shape.check(h.Root, c, chunk.Path, chunk.Body) {
				return nil, fmt.Errorf("dealing of seat %d: chunk %d: %w", d, c, errBody)
			}
			bodies[d] = append(bodies[d], chunk.Body)
		}
		next++
	}
	return job, nil
}

// takeWhole checks what participants of an assembly dealt, each in one piece.
func (x *Transcript) takeWhole(job *receiveJob, cid [32]byte, bodies map[int][][]byte) error {
	next := 0
	for d := range x.qual.All() {
		parsed, err := ParseMessage(x.headers[next])
		next++
		m, ok := parsed.(*Dealing)
		if err == nil && (!ok || int(m.Dealer) != d) {
			err = errTranscript
		}
		if err == nil {
			err = m.fits(&x.params, cid, job.roster, job.receivers)
		}
		if err != nil {
			return fmt.Errorf("dealing of participant %d: %w", d, err)
		}
		job.headers[d], job.paths[d], bodies[d] = m.header(), m.Path, [][]byte{m.Leaf}
	}
	return nil
}

// Params returns the parameters of the ceremony.
func (x *Transcript) Params() Params { return x.params }

// Holders returns who confirmed its shares.
func (x *Transcript) Holders() Seats { return x.holders }

// PublicKeys returns the keys.
func (x *Transcript) PublicKeys() [][]byte {
	return (&Result{params: x.params, leaves: x.leaves}).PublicKeys()
}

// DepositSafe reports whether t+f seats hold their shares.
func (x *Transcript) DepositSafe() bool {
	return x.holders.Len() >= int(x.params.T)+x.params.faults()
}

// TranscriptOutcome is what a transcript proves, for people and scripts.
type TranscriptOutcome struct {
	File        string   `json:"file"` // archive or certificate
	Ceremony    string   `json:"ceremony"`
	Cluster     string   `json:"cluster"`
	Mode        string   `json:"mode"`
	Epoch       uint32   `json:"epoch"` // of the shares
	Hybrid      bool     `json:"hybrid"`
	Beacon      bool     `json:"beacon,omitempty"`   // its key is a randomness beacon's
	Assembly    string   `json:"assembly,omitempty"` // the ceremony whose participants handed the key over
	Threshold   int      `json:"threshold"`
	Seats       int      `json:"seats"`
	PublicKeys  []string `json:"public_keys"`
	Confirmed   int      `json:"confirmed"`
	DepositSafe bool     `json:"deposit_safe"`
}

// Outcome describes what was verified.
func (x *Transcript) Outcome() *TranscriptOutcome {
	p, id := &x.params, x.params.ID()
	o := &TranscriptOutcome{File: "certificate", Ceremony: hex.EncodeToString(id[:]), Cluster: hex.EncodeToString(p.Cluster[:]), Mode: p.Mode.String(), Epoch: p.Epoch, Hybrid: p.Hybrid, Beacon: p.Use == action.UseBeacon,
		Threshold: int(p.T), Seats: int(p.N), Confirmed: x.holders.Len(), DepositSafe: x.DepositSafe()}
	if x.archive {
		o.File = "archive"
	}
	if p.FromAssembly() {
		o.Assembly = hex.EncodeToString(p.Old.Assembly[:])
	}
	for _, key := range x.PublicKeys() {
		o.PublicKeys = append(o.PublicKeys, "0x"+hex.EncodeToString(key))
	}
	return o
}

// sound checks the points of a result: in the subgroup, of full degree, and
// no key the identity.
func (e engine[S, P]) sound(leaves []byte, t int) error {
	points, err := e.points(leaves, len(leaves)/e.g.PointSize())
	if err != nil {
		return err
	}
	if outside := e.g.Outside(points); len(outside) > 0 {
		return fmt.Errorf("key %d: %w", outside[0]/t, errPoints)
	}
	for k := range len(points) / t {
		v := points[k*t : (k+1)*t]
		if e.g.IsIdentity(&v[0]) {
			return fmt.Errorf("key %d: %w", k, errIdentityKey)
		}
		if lead(v, e.g.SubPoint); e.g.IsIdentity(&v[0]) {
			return fmt.Errorf("key %d: fewer than %d shares make it", k, t)
		}
	}
	return nil
}

// unshift returns the points of a result without δ; nil shifts nothing.
func (e engine[S, P]) unshift(leaves []byte, t int, unbias func(k int) [64]byte) ([]byte, error) {
	points, err := e.points(leaves, len(leaves)/e.g.PointSize())
	if err != nil || unbias == nil {
		return leaves, err
	}
	for k := range len(points) / t {
		var delta S
		var by P
		wide := unbias(k)
		e.g.SetWide(&delta, &wide)
		e.g.BaseMult(&by, &delta)
		for j := range t {
			e.g.SubPoint(&points[k*t+j], &by)
		}
	}
	return e.g.AppendPoints(nil, points), nil
}
