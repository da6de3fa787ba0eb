package dkg

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// receiveJob is what a seat needs to judge the dealings of one set.
type receiveJob struct {
	params    *Params
	me        int
	roster    [32]byte
	receivers Seats
	set       Dealers
	headers   map[int]*Header
	paths     map[int][]digest                        // of participants of an assembly: from V_0 to its result
	masks     map[int][32]byte                        // this seat's mask key of each dealer
	chunk     func(dealer, index int) ([]byte, error) // leaves, checked against the dealer's root
	prior     func(key int) ([]byte, error)           // refresh, reshare: commitments that are replaced
	old       func(leaf []byte) secret.Bytes          // and this seat's share of them
	coins     coins
}

// leaf returns what a dealer made for one key.
func (j *receiveJob) leaf(dealer, key int) ([]byte, error) {
	shape := j.params.dealing(j.receivers)
	body, err := j.chunk(dealer, key/shape.perChunk)
	if err != nil {
		return nil, err
	}
	at := key % shape.perChunk * shape.leaf
	return body[at : at+shape.leaf], nil
}

// received is what a seat found.
type received struct {
	faulty  Dealers     // that anyone can see to be faulty
	sums    [32]byte    // root of the sums over the others
	accused map[int]int // dealer to a key of which it sent this seat a false share
	held    held        // nil when some dealer is accused, none is left, or the share to refresh is missing
}

// holding has the sums over a set: public points, and this seat's secrets.
type holding[S, P any] struct {
	e       engine[S, P]
	params  *Params
	me      int
	points  []P        // Y_k,j at k·t+j, for j < t
	secrets func() []S // s_k; a function so that nothing can print them
	lacks   bool       // refresh: the share that is refreshed is not here
}

func (e engine[S, P]) receive(j *receiveJob) (*received, error) {
	r, set, need := &received{}, j.set, 1
	if j.params.Mode == ModeReshare {
		need = j.params.minDealers() // fewer weigh nothing
	}
	for set.Len() >= need {
		sum := e.summation(j.params, set)
		h, bad, err := e.gather(j, set, sum)
		var mine []P
		if err == nil && bad == "" {
			mine, bad, err = e.inspect(j, sum, h)
		}
		if err != nil {
			return nil, err
		}
		if bad == "" {
			r.sums = h.root()
			if h.lacks {
				return r, nil
			}
			r.accused, err = e.audit(j, sum, r, h, mine)
			if r.accused == nil {
				r.held = h
			}
			return r, err
		}
		// All honest seats loop alike, for all of this is public.
		r.faulty = r.faulty.Union(bad)
		set = set.Without(bad)
	}
	return r, nil
}

// summation says how dealings become shares: Σ λ_d·f_d over some dealers.
type summation[S any] struct {
	over    Dealers
	weights map[int]S // λ_d; nil: all 1
}

// summation of a reshare interpolates, at 0, the first so many of a set that
// the old polynomial needs; elsewhere it adds all of them up.
func (e engine[S, P]) summation(p *Params, set Dealers) summation[S] {
	if p.Mode != ModeReshare {
		return summation[S]{over: set}
	}
	over := set.First(p.minDealers())
	return summation[S]{over, e.lagrange(slices.Collect(over.All()))}
}

// lagrange returns, for each of some numbers in ascending order, what the value
// there weighs at 0: λ_i = Π j/(j-i) over the others. They are public, and may
// be thousands: factors below 2^13 are joined before they are multiplied in
// the field.
func (e engine[S, P]) lagrange(at []int) map[int]S {
	all := e.product(len(at), func(k int) int { return at[k] })
	out := make(map[int]S, len(at))
	for k, i := range at {
		// Π j = i·Π of the others; and k of the factors j-i are negative.
		den := e.product(len(at), func(l int) int {
			switch {
			case l < k:
				return i - at[l]
			case l > k:
				return at[l] - i
			}
			return i
		})
		e.g.InvertScalar(&den)
		e.g.MulScalar(&den, &all)
		if k%2 == 1 {
			var negative S
			e.g.SubScalar(&negative, &den)
			den = negative
		}
		out[i] = den
	}
	return out
}

// product multiplies n positive factors.
func (e engine[S, P]) product(n int, factor func(k int) int) (out S) {
	few, first := uint64(1), true
	flush := func() {
		var b [16]byte
		var s S
		binary.LittleEndian.PutUint64(b[:], few)
		e.g.SetWeight(&s, &b)
		if few = 1; first {
			out, first = s, false
			return
		}
		e.g.MulScalar(&out, &s)
	}
	for k := range n {
		if few *= uint64(factor(k)); few > math.MaxUint64>>13 {
			flush()
		}
	}
	flush()
	return out
}

// scale multiplies what a dealer dealt by its weight.
func (e engine[S, P]) scale(s summation[S], dealer int, share *S) {
	if w, ok := s.weights[dealer]; ok {
		e.g.MulScalar(share, &w)
	}
}

// add adds the weighted points of some dealers to sums.
func (e engine[S, P]) add(s summation[S], sums []P, dealt map[int][]P) {
	if s.weights == nil {
		for d := range s.over.All() {
			for i := range dealt[d] {
				e.g.AddPoint(&sums[i], &dealt[d][i])
			}
		}
		return
	}
	column, weights := make([]P, 0, s.over.Len()), make([]S, 0, s.over.Len())
	for d := range s.over.All() {
		weights = append(weights, s.weights[d])
	}
	for i := range sums {
		column = column[:0]
		for d := range s.over.All() {
			column = append(column, dealt[d][i])
		}
		sum := e.g.VarTimeMultiMult(column, weights, 255)
		e.g.AddPoint(&sums[i], &sum)
	}
}

// gather sums the dealings of a set, chunk by chunk, and names the dealers
// with false points, constant terms or proofs.
func (e engine[S, P]) gather(j *receiveJob, set Dealers, sum summation[S]) (*holding[S, P], Dealers, error) {
	t, shape, size := int(j.params.T), j.params.dealing(j.receivers), e.g.PointSize()
	ciphertext := t*size + 32*j.receivers.before(j.me)
	points, secrets := make([]P, shape.leaves*t), make([]S, shape.leaves)
	h := &holding[S, P]{e: e, params: j.params, me: j.me, points: points, secrets: func() []S { return secrets }}
	if err := e.begin(j, h); err != nil {
		return nil, "", err
	}
	proofs := make(map[int]*knowledge[S, P])
	var expected []byte
	var bad Dealers
	for d := range set.All() {
		if proofs[d] = e.openProof(j, d); proofs[d] == nil {
			bad = bad.With(d)
		}
	}
	for c := range shape.chunks() {
		lo, hi := shape.span(c)
		dealt := make(map[int][]P)
		for d := range set.Without(bad).All() {
			body, err := j.chunk(d, c)
			if err != nil {
				return nil, "", err
			}
			constants := make([]P, hi-lo)
			dealt[d] = make([]P, (hi-lo)*t)
			for k := lo; k < hi && !bad.Has(d); k++ {
				leaf, v := body[(k-lo)*shape.leaf:(k-lo+1)*shape.leaf], dealt[d][(k-lo)*t:(k-lo+1)*t]
				ok, err := e.readPoints(j, d, k, v, leaf)
				if err != nil {
					return nil, "", err
				}
				if !ok {
					bad = bad.With(d)
				}
				constants[k-lo] = v[0]
				if sum.over.Has(d) {
					share := e.decrypt(leaf[ciphertext:ciphertext+32], j.masks[d], k)
					e.scale(sum, d, &share)
					e.g.AddScalar(&secrets[k], &share)
				}
				if j.params.Mode == ModeImport {
					expected = append(expected, leaf[:size]...)
				}
			}
			proofs[d].add(e, constants)
		}
		if bad == "" { // else it is all done again without them
			e.add(sum, points[lo*t:hi*t], dealt)
		}
	}
	for d := range set.Without(bad).All() {
		if !proofs[d].holds(e) {
			bad = bad.With(d)
		}
	}
	if j.params.Mode == ModeImport && bad == "" && wire.Hash(wire.TagExpected, expected) != j.params.Expected {
		bad = set
	}
	return h, bad, nil
}

// begin puts into a sum what a refresh adds to: the sharing as it is.
func (e engine[S, P]) begin(j *receiveJob, h *holding[S, P]) error {
	if j.params.Mode != ModeRefresh {
		return nil
	}
	t, secrets := int(j.params.T), h.secrets()
	for k := range secrets {
		leaf, err := j.prior(k)
		if err != nil {
			return err
		}
		v, err := e.points(leaf, t)
		if err != nil {
			return fmt.Errorf("read the sharing before of key %d: %w", k, err)
		}
		copy(h.points[k*t:], v)
		err = errNothingHeld
		j.old(leaf).Expose(func(b []byte) { err = e.g.SetScalar(&secrets[k], b) })
		h.lacks = h.lacks || err != nil
	}
	return nil
}

// readPoints reads the t points at the front of a leaf and checks the constant
// term. The identity is no commitment: as V_0 it would be a dealing of nothing
// (which is what a refresh deals), and any other would publish a share.
func (e engine[S, P]) readPoints(j *receiveJob, dealer, key int, v []P, leaf []byte) (bool, error) {
	size := e.g.PointSize()
	for i := range v {
		if e.g.SetPoint(&v[i], leaf[i*size:(i+1)*size]) != nil || e.g.IsIdentity(&v[i]) != (i == 0 && j.params.Mode == ModeRefresh) {
			return false, nil
		}
	}
	if j.params.Mode != ModeReshare {
		return true, nil
	}
	if j.params.FromAssembly() {
		return j.params.begins(dealer, leaf[:size], j.paths[dealer]), nil
	}
	prior, err := j.prior(key)
	if err != nil {
		return false, err
	}
	held, ok := e.commitment(prior, int(j.params.Old.T), dealer)
	return ok && bytes.Equal(leaf[:size], held), nil
}

// decrypt returns what a ciphertext hides. One that is no canonical scalar
// hides 0, so that the sum comes out wrong and a complaint proves it: seats do
// not look at each other's.
func (e engine[S, P]) decrypt(ciphertext []byte, maskKey [32]byte, key int) (share S) {
	var mask S
	if e.g.SetScalar(&share, ciphertext) != nil {
		var none S
		return none
	}
	e.mask(&mask, maskKey, key)
	e.g.SubScalar(&share, &mask)
	return share
}

// knowledge checks a dealer's proof of its constant terms as they stream by.
// That of a refresh, whose constants are 0, is empty and holds.
type knowledge[S, P any] struct {
	c, power, z S
	sum         P // A + Σ c^(k+1)·V_k,0
	none        bool
}

func (e engine[S, P]) openProof(j *receiveJob, dealer int) *knowledge[S, P] {
	h, size := j.headers[dealer], e.g.PointSize()
	var p knowledge[S, P]
	if j.params.Mode == ModeRefresh {
		p.none = true
		return &p
	}
	if e.g.SetPoint(&p.sum, h.Knowledge[:size]) != nil || e.g.SetScalar(&p.z, h.Knowledge[size:]) != nil {
		return nil
	}
	p.c = e.challenge(j.roster, dealer, h.Root, h.Knowledge[:size])
	p.power = p.c
	return &p
}

func (p *knowledge[S, P]) add(e engine[S, P], constants []P) {
	if p.none {
		return
	}
	powers := make([]S, len(constants))
	for k := range powers {
		powers[k] = p.power
		e.g.MulScalar(&p.power, &p.c)
	}
	sum := e.g.VarTimeMultiMult(constants, powers, 255)
	e.g.AddPoint(&p.sum, &sum)
}

func (p *knowledge[S, P]) holds(e engine[S, P]) bool {
	if p.none {
		return true
	}
	var left P
	e.g.BaseMult(&left, &p.z)
	return e.g.Equal(&left, &p.sum)
}

// inspect checks the sums: every point in the subgroup, one by one, for a
// random combination would miss small orders; and every polynomial of full
// degree. A dealing that is wrong while its sum is right harms nobody: only
// sums are used. It returns this seat's Y_k,i on the way.
//
// A dealer that waits for the others' points can choose its own so that the
// sum has too low a degree, without that its own has. It cannot know that
// polynomial, so its shares are false and complaints will name it; nobody is
// blamed here, and settle refuses what no complaint removed.
func (e engine[S, P]) inspect(j *receiveJob, sum summation[S], h *holding[S, P]) (mine []P, bad Dealers, err error) {
	t := int(j.params.T)
	if outside := e.g.Outside(h.points); len(outside) > 0 {
		bad, err = e.culprits(j, sum.over, outside[0]/t, func(v []P) bool { return len(e.g.Outside(v)) > 0 })
		return nil, bad, err
	}
	mine = make([]P, len(h.points)/t)
	w := make([]P, t)
	for k := range mine {
		copy(w, h.points[k*t:(k+1)*t])
		lead(w, e.g.SubPoint)
		if e.g.IsIdentity(&w[0]) {
			bad, err = e.culprits(j, sum.over, k, func(v []P) bool {
				lead(v, e.g.SubPoint)
				return e.g.IsIdentity(&v[0])
			})
			if bad != "" || err != nil {
				return nil, bad, err
			}
		}
		if j.me < t {
			mine[k] = h.points[k*t+j.me]
			continue
		}
		for range j.me - t + 1 {
			step(w, e.g.SubPoint)
		}
		mine[k] = w[t-1]
	}
	return mine, "", nil
}

// culprits returns the dealers whose own points for a key fail a test that
// their sum failed.
func (e engine[S, P]) culprits(j *receiveJob, set Dealers, key int, fails func([]P) bool) (Dealers, error) {
	var bad Dealers
	for d := range set.All() {
		leaf, err := j.leaf(d, key)
		if err != nil {
			return "", err
		}
		if v, err := e.points(leaf, int(j.params.T)); err != nil || fails(v) {
			bad = bad.With(d)
		}
	}
	return bad, nil
}

// audit checks the sums of this seat's shares: s_k·G = Y_k,i for all keys at
// once, with weights that nobody else can know. That is sound because inspect
// has put every point into the subgroup. It looks closer only after a failure,
// and returns nil when there was none.
func (e engine[S, P]) audit(j *receiveJob, sum summation[S], r *received, h *holding[S, P], mine []P) (map[int]int, error) {
	secrets := h.secrets()
	weights := e.weights(len(mine), func(k int) [16]byte {
		wide := j.coins.draw("weight", j.roster[:], r.sums[:], be32(k))
		return [16]byte(wide[:16])
	})
	var total S
	for k := range secrets {
		term := secrets[k]
		e.g.MulScalar(&term, &weights[k])
		e.g.AddScalar(&total, &term)
	}
	var left P
	e.g.BaseMult(&left, &total)
	right := e.g.VarTimeMultiMult(mine, weights, 128)
	if e.g.Equal(&left, &right) {
		return nil, nil
	}
	accused := make(map[int]int)
	for k := range secrets {
		if err := e.accuse(j, sum, r, k, secrets[k], mine[k], accused); err != nil {
			return nil, err
		}
	}
	return accused, nil
}

// accuse finds the dealers of a key whose sum is wrong, unless those accused
// already explain it: all of them, also those that weigh nothing yet, for in the
// next round they would take the place of others, one after the other.
func (e engine[S, P]) accuse(j *receiveJob, sum summation[S], r *received, key int, share S, point P, accused map[int]int) error {
	holds := func(share S, point P) bool {
		var left P
		e.g.BaseMult(&left, &share)
		return e.g.Equal(&left, &point)
	}
	for d := range accused {
		if !sum.over.Has(d) {
			continue
		}
		s, p, err := e.open(j, d, key)
		if err != nil {
			return err
		}
		e.scale(sum, d, &s)
		if w, ok := sum.weights[d]; ok {
			p = e.g.VarTimeMultiMult([]P{p}, []S{w}, 255)
		}
		e.g.SubScalar(&share, &s)
		e.g.SubPoint(&point, &p)
	}
	if holds(share, point) {
		return nil
	}
	for d := range j.set.Without(r.faulty).All() {
		if _, known := accused[d]; known {
			continue
		}
		s, p, err := e.open(j, d, key)
		if err != nil {
			return err
		}
		if !holds(s, p) {
			accused[d] = key
		}
	}
	return nil
}

// open returns what a dealer sent this seat for a key, and the commitment to it.
func (e engine[S, P]) open(j *receiveJob, dealer, key int) (share S, point P, err error) {
	leaf, err := j.leaf(dealer, key)
	if err != nil {
		return share, point, err
	}
	v, err := e.points(leaf, int(j.params.T))
	if err != nil {
		return share, point, err
	}
	at := len(leaf) - 32*(j.receivers.Len()-j.receivers.before(j.me))
	share = e.decrypt(leaf[at:at+32], j.masks[dealer], key)
	return share, extend(v, j.me, e.g.SubPoint)[j.me], nil
}
