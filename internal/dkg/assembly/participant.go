package assembly

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// SeedSize is the length of a participant's seed.
const SeedSize = 32

// Participant is one seat of a ceremony. Given the seed, what it says is a
// function of the board: made again after a crash, it says the same again.
// Several may act at once on one board; each is for one goroutine.
type Participant struct {
	params Params
	cid    [32]byte
	me     int
	seed   func() *[32]byte
	key    kem.SecretKey
	hybrid kem.HybridKey
	letter func(recipient int) *Letter // what this dealer sends, once it has dealt

	// What each dealer sent, kept from the report to the confirmation. A
	// function, so that nothing prints it.
	shares func() map[int]bls.G1Scalar
}

// ErrNoShare is returned when this participant has no valid share of the
// result: a ciphertext never came, or it came too late with a complaint. The
// others sign without it.
var ErrNoShare = errors.New("this participant holds no valid share of the result")

// NewParticipant takes a seat. The seed must be SeedSize uniform bytes that
// serve this ceremony alone.
func NewParticipant(p Params, me int, seed secret.Bytes) (*Participant, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if me < 1 || me > int(p.N) {
		return nil, fmt.Errorf("take seat %d of %d: %w", me, p.N, errSeat)
	}
	q := &Participant{params: p, cid: p.ID(), me: me}
	var key [32]byte
	err := fmt.Errorf("derive coins: seed of %d bytes, want %d", seed.Len(), SeedSize)
	seed.Expose(func(b []byte) {
		if len(b) != SeedSize {
			return
		}
		var derived []byte
		if derived, err = hkdf.Key(sha256.New, b, q.cid[:], string(wire.TagAssemblyCoins)+string(be16(me)), len(key)); err == nil {
			copy(key[:], derived)
			secret.Wipe(derived)
		}
	})
	if err != nil {
		return nil, err
	}
	q.seed = func() *[32]byte { return &key }
	wide := q.draw("key")
	q.key = kem.NewSecretKey(&wide)
	if p.Hybrid {
		wide = q.draw("hybrid key")
		q.hybrid = kem.NewHybridKey((*[32]byte)(wide[:32]))
	}
	secret.Wipe(wide[:])
	return q, nil
}

// draw returns 64 bytes that look uniform to whoever lacks the seed.
func (q *Participant) draw(purpose string, context ...[]byte) [64]byte {
	return wire.HashWide(wire.TagAssemblyCoins, append([][]byte{q.seed()[:], []byte(purpose)}, context...)...)
}

// Join returns this participant's keys for the ceremony.
func (q *Participant) Join() *Join {
	var hybridKey []byte
	if q.params.Hybrid {
		hybridKey = q.hybrid.Public()
	}
	return &Join{
		CID: q.cid,
		Keys: kem.Keys{
			Key:        q.key.Public(),
			Possession: q.key.Prove(wire.TagAssemblyPoP, joinContext(q.cid, q.me, hybridKey)...),
			HybridKey:  hybridKey,
		},
	}
}

// Deal returns this dealer's dealing. What goes to each recipient off the
// ledger, in hybrid mode, is Letter's to say from then on.
func (q *Participant) Deal(b *Board) ([]Message, error) {
	if b.cid != q.cid || !b.isDealer(q.me) {
		return nil, fmt.Errorf("deal: %w", ErrSender)
	}
	values := make([]bls.G1Scalar, q.params.T)
	q.fill(b, values)
	shares := g1.Extend(values, int(q.params.N))
	clear(values)
	defer clear(shares)
	return q.seal(b, shares, commit(shares))
}

// fill draws values of the polynomial at 0, 1, ….
func (q *Participant) fill(b *Board, values []bls.G1Scalar) {
	for i := range values {
		wide := q.draw("value", b.roster[:], be16(i))
		g1.SetWide(&values[i], &wide)
	}
}

// commit returns the encoded points of all shares.
func commit(shares []bls.G1Scalar) []byte {
	points := make([]bls.G1Point, len(shares))
	for j := range points {
		g1.BaseMult(&points[j], &shares[j])
	}
	return g1.AppendPoints(nil, points)
}

// seal makes the messages of a dealing: f(0), …, f(n), and their points.
func (q *Participant) seal(b *Board, shares []bls.G1Scalar, points []byte) ([]Message, error) {
	wide := q.draw("rho", b.roster[:])
	rho := kem.NewSecretKey(&wide)
	h := &Header{CID: q.cid, R: rho.Public(), Constant: [pointSize]byte(points)}
	letters, secrets, err := q.encapsulate(b)
	if err != nil {
		return nil, err
	}
	body := make([]byte, 0, int(q.params.N)*leafSize)
	next := 0 // of those who joined
	for i := 1; i <= int(q.params.N); i++ {
		body = append(body, points[i*pointSize:(i+1)*pointSize]...)
		if next == len(b.joined) || b.joined[next] != i {
			body = append(body, make([]byte, scalarSize)...)
			continue
		}
		var hybrid []byte
		if secrets != nil {
			hybrid = secrets[next][:]
		}
		next++
		key := b.at(i).key
		m := mask(maskKey(b.roster, q.me, i, h.R.Bytes(), key.Bytes(), rho.Shared(key), hybrid))
		g1.AddScalar(&m, &shares[i])
		body = g1.AppendScalar(body, &m)
	}
	leaves := wire.CutTree(body, leafSize)
	h.Root = leaves.Root()
	if letters != nil {
		mail := wire.CutTree(letters, kem.CiphertextSize)
		h.Mail = mail.Root()
		q.letter = func(i int) *Letter {
			at := b.before(i)
			return &Letter{letters[at*kem.CiphertextSize : (at+1)*kem.CiphertextSize], mail.Path(0, at)}
		}
	}
	q.prove(b, h, &shares[0], rho)
	out := []Message{h}
	for _, c := range cut(leaves, body, leafSize) {
		c.CID = q.cid
		out = append(out, &c)
	}
	return out, nil
}

// prove makes both proofs of a header.
func (q *Participant) prove(b *Board, h *Header, constant *bls.G1Scalar, rho kem.SecretKey) {
	var a bls.G1Scalar
	wide := q.draw("knowledge", b.roster[:], h.Constant[:], h.Root[:], h.Mail[:])
	g1.SetWide(&a, &wide)
	commitment := make([]bls.G1Point, 1)
	g1.BaseMult(&commitment[0], &a)
	copy(h.Knowledge[:], g1.AppendPoints(nil, commitment))
	c := h.challenge(b.roster, q.me)
	g1.MulScalar(&c, constant)
	g1.AddScalar(&a, &c)
	copy(h.Knowledge[pointSize:], g1.AppendScalar(nil, &a))
	h.Rho = rho.Prove(wire.TagAssemblyPoKRho, headerContext(b.roster, q.me, h)...)
}

// encapsulate makes the hybrid legs, one after the other in order of who
// joined; nil without hybrid.
func (q *Participant) encapsulate(b *Board) (letters []byte, secrets [][kem.HybridSecret]byte, err error) {
	if !q.params.Hybrid {
		return nil, nil, nil
	}
	letters = make([]byte, 0, len(b.joined)*kem.CiphertextSize)
	for _, i := range b.joined {
		coins := q.hybridCoins(b, i)
		ciphertext, shared, err := kem.Encapsulate(b.at(i).hybrid, &coins)
		if err != nil {
			return nil, nil, fmt.Errorf("deal to participant %d: %w", i, err)
		}
		letters, secrets = append(letters, ciphertext...), append(secrets, shared)
	}
	return letters, secrets, nil
}

// hybridCoins are what this dealer encapsulates to i with: opening them opens
// nothing else.
func (q *Participant) hybridCoins(b *Board, i int) [kem.CoinsSize]byte {
	return q.draw("encapsulate", b.roster[:], be16(i))
}

// Letter returns what this dealer sends to a recipient off the ledger; nil
// without hybrid.
func (q *Participant) Letter(recipient int) *Letter {
	if q.letter == nil {
		return nil
	}
	return q.letter(recipient)
}

// Report says what this participant finds: it sums what it was sent, and looks
// closer only where the sum is wrong. mail returns the letter of a dealer, nil
// when none came. accusations are those of its cohort's Inspect.
func (q *Participant) Report(b *Board, accusations []Accusation, mail func(dealer int) *Letter) (*Report, error) {
	if !b.MayReport(q.me) {
		return nil, fmt.Errorf("report: %w", ErrSender)
	}
	r := &Report{CID: q.cid, Transcript: b.transcript}
	kept := map[int]bls.G1Scalar{}
	if b.round == 1 {
		r.Accusations = accusations
		q.shares = func() map[int]bls.G1Scalar { return kept }
	} else {
		kept = q.shares()
	}
	var sum bls.G1Scalar
	var want bls.G1Point
	whole := true
	var looked []int
	for _, d := range b.set {
		if _, known := kept[d]; known {
			continue
		}
		letter := b.postings[[2]int{d, q.me}]
		if b.round == 1 && q.params.Hybrid {
			letter = mail(d)
		}
		if q.params.Hybrid && (letter == nil || !b.isLetter(d, q.me, letter)) {
			if b.round == 1 {
				r.Withheld = append(r.Withheld, uint16(d))
			}
			continue
		}
		looked = append(looked, d)
		share, point, ok, err := q.open(b, d, letter)
		if err != nil {
			return nil, err
		}
		whole = whole && ok
		kept[d] = share
		g1.AddScalar(&sum, &share)
		g1.AddPoint(&want, &point)
	}
	if whole && holds(&sum, &want) {
		return r, nil
	}
	for _, d := range looked {
		share, point, ok, err := q.open(b, d, b.letterOf(d, q.me, mail))
		if err != nil {
			return nil, err
		}
		if !ok || !holds(&share, &point) {
			r.Complaints = append(r.Complaints, q.complain(b, d))
			delete(kept, d)
		}
	}
	return r, nil
}

func (b *Board) letterOf(d, i int, mail func(int) *Letter) *Letter {
	switch {
	case !b.params.Hybrid:
		return nil
	case b.round == 1:
		return mail(d)
	}
	return b.postings[[2]int{d, i}]
}

func holds(share *bls.G1Scalar, point *bls.G1Point) bool {
	var left bls.G1Point
	g1.BaseMult(&left, share)
	return g1.Equal(&left, point)
}

// open returns the share that a dealer sent, and the point that says what it
// should be; ok is false when either has no encoding.
func (q *Participant) open(b *Board, dealer int, letter *Letter) (share bls.G1Scalar, point bls.G1Point, ok bool, err error) {
	leaf, h := b.leaf(dealer, q.me), b.header(dealer)
	var hybrid []byte
	if letter != nil {
		shared, err := q.hybrid.Decapsulate(letter.Ciphertext)
		if err != nil {
			return share, point, false, err
		}
		hybrid = shared[:]
	}
	if g1.SetPoint(&point, leaf[:pointSize]) != nil || g1.SetScalar(&share, leaf[pointSize:]) != nil {
		return bls.G1Scalar{}, bls.G1Point{}, false, nil
	}
	unmask(&share, maskKey(b.roster, dealer, q.me, h.R.Bytes(), b.at(q.me).key.Bytes(), q.key.Shared(h.R), hybrid))
	return share, point, true, nil
}

// Restore takes again what the dealers sent that count now, for a participant
// that was made anew since its report. mail returns the letters of the first
// round, as for Report.
func (q *Participant) Restore(b *Board, mail func(dealer int) *Letter) error {
	kept := map[int]bls.G1Scalar{}
	for _, d := range b.set {
		letter := b.postings[[2]int{d, q.me}]
		if letter == nil && q.params.Hybrid {
			letter = mail(d)
		}
		if q.params.Hybrid && (letter == nil || !b.isLetter(d, q.me, letter)) {
			continue
		}
		share, point, ok, err := q.open(b, d, letter)
		if err != nil {
			return err
		}
		if ok && holds(&share, &point) {
			kept[d] = share
		}
	}
	q.shares = func() map[int]bls.G1Scalar { return kept }
	return nil
}

func (q *Participant) complain(b *Board, dealer int) Complaint {
	r := b.header(dealer).R
	return Complaint{
		Dealer: uint16(dealer),
		Shared: q.key.Shared(r),
		Proof:  q.key.ProveShared(r, wire.TagAssemblyDLEQ, complaintContext(b.roster, dealer, q.me)...),
		Leaf:   [leafSize]byte(b.leaf(dealer, q.me)),
		Path:   b.at(dealer).tree.Path(0, q.me-1),
	}
}

// Answer returns what this dealer has to open and to post.
func (q *Participant) Answer(b *Board) (out []Message) {
	open, post := b.Claims(q.me)
	for _, i := range open {
		out = append(out, &Opening{CID: q.cid, Recipient: uint16(i), Coins: q.hybridCoins(b, i), Path: q.Letter(i).Path})
	}
	for _, i := range post {
		out = append(out, &Posting{CID: q.cid, Recipient: uint16(i), Letter: *q.Letter(i)})
	}
	return out
}

// Vote says what this participant's own replay came to.
func (q *Participant) Vote(b *Board, f *Finding) *Vote {
	return &Vote{CID: q.cid, Transcript: b.transcript, Faulty: short(f.Faulty), Liars: short(f.Liars), Sums: f.root}
}

func short(seats []int) (out []uint16) {
	for _, s := range seats {
		out = append(out, uint16(s))
	}
	return out
}

// Publish returns the sums that n-f voted for, in chunks.
func (q *Participant) Publish(b *Board, f *Finding) (out []Message, err error) {
	if b.phase != PhasePublish || !f.supports(b.agreed) {
		return nil, fmt.Errorf("publish sums: %w", ErrPhase)
	}
	for _, c := range cut(wire.CutTree(f.Sums, pointSize), f.Sums, pointSize) {
		c.CID, c.Sums = q.cid, true
		out = append(out, &c)
	}
	return out, nil
}

// share returns this participant's share of the result, if it is one.
func (q *Participant) share(b *Board) (s bls.G1Scalar, err error) {
	if b.phase != PhaseConfirm && b.phase != PhaseDone {
		return s, fmt.Errorf("take share in phase %s: %w", b.phase, ErrPhase)
	}
	if q.shares == nil {
		return s, ErrNoShare
	}
	kept := q.shares()
	for _, d := range b.set {
		part, ok := kept[d]
		if !ok {
			return bls.G1Scalar{}, ErrNoShare
		}
		g1.AddScalar(&s, &part)
	}
	shift := delta(b.transcript, b.agreed.Sums, b.block)
	g1.AddScalar(&s, &shift)
	if !holds(&s, &b.points[q.me]) {
		return bls.G1Scalar{}, ErrNoShare
	}
	return s, nil
}

// Confirm returns this participant's confirmation. Whoever posts it must have
// stored its share.
func (q *Participant) Confirm(b *Board) (*Confirm, error) {
	s, err := q.share(b)
	if err != nil {
		return nil, err
	}
	return &Confirm{CID: q.cid, Result: b.result, Attestation: [attestationSize]byte(g1.Attest(&s, attestMessage(b.cid, b.result)))}, nil
}

// ExposeSecretShare copies this participant's share out of the ceremony:
// 32 bytes, big-endian. Whoever has t of them has the key.
func (q *Participant) ExposeSecretShare(b *Board) (secret.Bytes, error) {
	s, err := q.share(b)
	if err != nil {
		return secret.Bytes{}, err
	}
	return secret.New(g1.AppendScalar(nil, &s)), nil
}

// Destroy overwrites what the participant knows, as far as Go lets it. The
// seed is the caller's.
func (q *Participant) Destroy() {
	if q.shares != nil {
		clear(q.shares())
	}
	clear(q.seed()[:])
	*q = Participant{}
}
