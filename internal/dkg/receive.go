package dkg

import "github.com/quorate/quorate/internal/wire"

// receiveJob is what a seat needs to judge the dealings of one set.
type receiveJob struct {
	params  *Params
	me      int
	roster  [32]byte
	joined  Seats
	set     Seats
	headers map[int]*Header
	masks   map[int][32]byte                        // this seat's mask key of each dealer
	chunk   func(dealer, index int) ([]byte, error) // leaves, checked against the dealer's root
	coins   coins
}

// leaf returns what a dealer made for one key.
func (j *receiveJob) leaf(dealer, key int) ([]byte, error) {
	shape := j.params.dealing(j.joined)
	body, err := j.chunk(dealer, key/shape.perChunk)
	if err != nil {
		return nil, err
	}
	at := key % shape.perChunk * shape.leaf
	return body[at : at+shape.leaf], nil
}

// received is what a seat found.
type received struct {
	faulty  Seats       // dealers that anyone can see to be faulty
	sums    [32]byte    // root of the sums over the others
	accused map[int]int // dealer to a key of which it sent this seat a false share
	held    held        // nil when some dealer is accused or none is left
}

// holding has the sums over a set: public points, and this seat's secrets.
type holding[S, P any] struct {
	e       engine[S, P]
	params  *Params
	me      int
	points  []P        // Y_k,j at k·t+j, for j < t
	secrets func() []S // s_k; a function so that nothing can print them
}

func (e engine[S, P]) receive(j *receiveJob) (*received, error) {
	r, set := &received{}, j.set
	for set != 0 {
		h, bad, err := e.gather(j, set)
		var mine []P
		if err == nil && bad == 0 {
			mine, bad, err = e.inspect(j, set, h)
		}
		if err != nil {
			return nil, err
		}
		if bad == 0 {
			r.sums = h.root()
			r.accused, err = e.audit(j, set, r, h, mine)
			if r.accused == nil {
				r.held = h
			}
			return r, err
		}
		// All honest seats loop alike, for all of this is public.
		r.faulty |= bad
		set = set.Without(bad)
	}
	return r, nil
}

// gather sums the dealings of a set, chunk by chunk, and names the dealers
// with false points, constant terms or proofs.
func (e engine[S, P]) gather(j *receiveJob, set Seats) (*holding[S, P], Seats, error) {
	t, shape, size := int(j.params.T), j.params.dealing(j.joined), e.g.PointSize()
	ciphertext := t*size + 32*j.joined.before(j.me)
	points, secrets := make([]P, shape.leaves*t), make([]S, shape.leaves)
	proofs := make(map[int]*knowledge[S, P])
	var expected []byte
	var bad Seats
	for d := range set.All() {
		if proofs[d] = e.openProof(j, d); proofs[d] == nil {
			bad = bad.With(d)
		}
	}
	for c := range shape.chunks() {
		lo, hi := shape.span(c)
		for d := range set.Without(bad).All() {
			body, err := j.chunk(d, c)
			if err != nil {
				return nil, 0, err
			}
			constants := make([]P, hi-lo)
			for k := lo; k < hi && !bad.Has(d); k++ {
				leaf := body[(k-lo)*shape.leaf : (k-lo+1)*shape.leaf]
				if !e.addPoints(points[k*t:(k+1)*t], &constants[k-lo], leaf) {
					bad = bad.With(d)
				}
				e.addShare(&secrets[k], leaf[ciphertext:ciphertext+32], j.masks[d], k)
				if j.params.Mode == ModeImport {
					expected = append(expected, leaf[:size]...)
				}
			}
			proofs[d].add(e, constants)
		}
	}
	for d := range set.Without(bad).All() {
		if !proofs[d].holds(e) {
			bad = bad.With(d)
		}
	}
	if j.params.Mode == ModeImport && bad == 0 && wire.Hash(wire.TagExpected, expected) != j.params.Expected {
		bad = set
	}
	return &holding[S, P]{e, j.params, j.me, points, func() []S { return secrets }}, bad, nil
}

// addPoints adds the t points at the front of a leaf. The identity is no
// commitment: V_0 = O would be a dealing of nothing, and any other would
// publish a share.
func (e engine[S, P]) addPoints(sums []P, constant *P, leaf []byte) bool {
	size := e.g.PointSize()
	for i := range sums {
		var p P
		if e.g.SetPoint(&p, leaf[i*size:(i+1)*size]) != nil || e.g.IsIdentity(&p) {
			return false
		}
		if i == 0 {
			*constant = p
		}
		e.g.AddPoint(&sums[i], &p)
	}
	return true
}

// addShare adds what a ciphertext hides. One that is no canonical scalar adds
// nothing, so that the sum comes out wrong and a complaint proves it: seats
// do not look at each other's.
func (e engine[S, P]) addShare(sum *S, ciphertext []byte, maskKey [32]byte, key int) {
	var share, mask S
	if e.g.SetScalar(&share, ciphertext) != nil {
		return
	}
	e.mask(&mask, maskKey, key)
	e.g.AddScalar(sum, &share)
	e.g.SubScalar(sum, &mask)
}

// knowledge checks a dealer's proof of its constant terms as they stream by.
type knowledge[S, P any] struct {
	c, power, z S
	sum         P // A + Σ c^(k+1)·V_k,0
}

func (e engine[S, P]) openProof(j *receiveJob, dealer int) *knowledge[S, P] {
	h, size := j.headers[dealer], e.g.PointSize()
	var p knowledge[S, P]
	if e.g.SetPoint(&p.sum, h.Knowledge[:size]) != nil || e.g.SetScalar(&p.z, h.Knowledge[size:]) != nil {
		return nil
	}
	p.c = e.challenge(j.roster, dealer, h.Root, h.Knowledge[:size])
	p.power = p.c
	return &p
}

func (p *knowledge[S, P]) add(e engine[S, P], constants []P) {
	powers := make([]S, len(constants))
	for k := range powers {
		powers[k] = p.power
		e.g.MulScalar(&p.power, &p.c)
	}
	sum := e.g.VarTimeMultiMult(constants, powers, 255)
	e.g.AddPoint(&p.sum, &sum)
}

func (p *knowledge[S, P]) holds(e engine[S, P]) bool {
	var left P
	e.g.BaseMult(&left, &p.z)
	return e.g.Equal(&left, &p.sum)
}

// inspect checks the sums: every point in the subgroup, one by one, for a
// random combination would miss small orders; and every polynomial of full
// degree. A dealing that is wrong while its sum is right harms nobody: only
// sums are used. It returns this seat's Y_k,i on the way.
func (e engine[S, P]) inspect(j *receiveJob, set Seats, h *holding[S, P]) (mine []P, bad Seats, err error) {
	t := int(j.params.T)
	if outside := e.g.Outside(h.points); len(outside) > 0 {
		bad, err = e.culprits(j, set, outside[0]/t, func(v []P) bool { return len(e.g.Outside(v)) > 0 })
		return nil, bad, err
	}
	mine = make([]P, len(h.points)/t)
	w := make([]P, t)
	for k := range mine {
		copy(w, h.points[k*t:(k+1)*t])
		lead(w, e.g.SubPoint)
		if e.g.IsIdentity(&w[0]) {
			bad, err = e.culprits(j, set, k, func(v []P) bool {
				lead(v, e.g.SubPoint)
				return e.g.IsIdentity(&v[0])
			})
			return nil, bad, err
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
	return mine, 0, nil
}

// culprits returns the dealers whose own points for a key fail a test that
// their sum failed.
func (e engine[S, P]) culprits(j *receiveJob, set Seats, key int, fails func([]P) bool) (Seats, error) {
	var bad Seats
	for d := range set.All() {
		leaf, err := j.leaf(d, key)
		if err != nil {
			return 0, err
		}
		if v, err := e.points(leaf, int(j.params.T)); err != nil || fails(v) {
			bad = bad.With(d)
		}
	}
	if bad == 0 { // dealings that fail only together: nobody could tell them apart
		bad = set
	}
	return bad, nil
}

// audit checks the sums of this seat's shares: s_k·G = Y_k,i for all keys at
// once, with weights that nobody else can know. That is sound because inspect
// has put every point into the subgroup. It looks closer only after a failure,
// and returns nil when there was none.
func (e engine[S, P]) audit(j *receiveJob, set Seats, r *received, h *holding[S, P], mine []P) (map[int]int, error) {
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
		if err := e.accuse(j, set, k, secrets[k], mine[k], accused); err != nil {
			return nil, err
		}
	}
	return accused, nil
}

// accuse finds the dealers of a key whose sum is wrong, unless those accused
// already explain it.
func (e engine[S, P]) accuse(j *receiveJob, set Seats, key int, share S, point P, accused map[int]int) error {
	holds := func(share S, point P) bool {
		var left P
		e.g.BaseMult(&left, &share)
		return e.g.Equal(&left, &point)
	}
	for d := range accused {
		s, p, err := e.open(j, d, key)
		if err != nil {
			return err
		}
		e.g.SubScalar(&share, &s)
		e.g.SubPoint(&point, &p)
	}
	if holds(share, point) {
		return nil
	}
	for d := range set.All() {
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
	at := len(leaf) - 32*(j.joined.Len()-j.joined.before(j.me))
	e.addShare(&share, leaf[at:at+32], j.masks[dealer], key)
	return share, extend(v, j.me, e.g.SubPoint)[j.me], nil
}
