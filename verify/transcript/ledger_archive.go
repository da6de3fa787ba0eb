package transcript

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/cloudflare/circl/kem/xwing"
)

var errKey = errors.New("not a canonical key")

// Sizes of X-Wing.
const (
	letterKeySize = xwing.PublicKeySize
	letterSize    = xwing.CiphertextSize
)

// isLetterKey tells whether bytes are a canonical key of X-Wing.
func isLetterKey(b []byte) bool {
	var k xwing.PublicKey
	return len(b) == letterKeySize && k.Unpack(b) == nil
}

// message begins to read one: kind and cid stand in front.
func message(raw []byte, kind int, cid digest) *reader {
	r := &reader{all: raw}
	if r.number(1) != kind || r.digest() != cid {
		r.fail(errors.New("another message, or one of another ceremony"))
	}
	return r
}

// replayLedger judges an archive: from what was dealt, and from what it began
// with, it computes the keys.
func replayLedger(r *reader) (*Outcome, error) {
	l, err := readLedger(r)
	if err != nil {
		return nil, err
	}
	block := r.digest()
	dealers, least := l.dealers()
	joined := r.seats(l.members() | dealers)
	most, may := l.oldN, func(i int) bool { return true }
	if !l.people() {
		most, may = l.n, (joined & dealers).has
	}
	qual := r.dealers(most)
	receivers := joined & l.members()
	switch {
	case r.err != nil:
		return nil, r.err
	case slices.ContainsFunc(qual, func(i int) bool { return !may(i) }):
		return nil, errors.New("a dealer that may not deal, or did not join")
	case len(qual) < least || l.mode == reshare && len(qual) > least:
		return nil, errors.New("too few dealers, or one that weighs nothing")
	case (l.mode == keygen) == (block == digest{}):
		return nil, errors.New("a shift where there is none, or none where there is one")
	case !l.holders.within(receivers):
		return nil, errors.New("a holder that did not join")
	}
	before, err := l.before(r)
	if err != nil {
		return nil, err
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	d := &dealings{ledger: l, receivers: receivers, qual: qual, before: before}
	if l.mode == refresh {
		d.sums = slices.Concat(before...)
	}
	parts := [][]byte{}
	cid := l.cid()
	for _, i := range joined.list() {
		key, letters, err := l.join(r.string(mostMessage), cid, i)
		if err != nil {
			return nil, fmt.Errorf("join of seat %d: %w", i, err)
		}
		parts = append(parts, []byte{byte(i)}, key, letters[:])
	}
	d.roster = h(ledgerPrefix+"/roster", append([][]byte{cid[:]}, parts...)...)
	names := [][]byte{d.roster[:]}
	for _, i := range qual {
		header, take := r.string(mostMessage), d.read
		if l.people() {
			take = d.readWhole
		}
		if err := take(r, header, i); err != nil {
			return nil, fmt.Errorf("dealing of %d: %w", i, err)
		}
		of := h(ledgerPrefix+"/blob", header)
		names = append(names, u16(i), of[:])
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return l.outcome(), d.result(h(ledgerPrefix+"/verdict", names...), block)
}

// dealers returns who may deal, and how many have to.
func (l *ledger) dealers() (who seats, least int) {
	switch l.mode {
	case imported:
		return seats(1) << l.importer, 1
	case reshare: // participants of an assembly are no seats
		return l.oldDealers, l.oldT
	}
	return l.members(), l.t
}

// before reads what a refresh or a reshare began with: of each key the first
// old t values of its polynomial, under the root that the parameters name.
func (l *ledger) before(r *reader) (polynomials [][]element, err error) {
	if l.mode != refresh && l.mode != reshare || l.people() {
		return nil, nil
	}
	leaf := l.oldT * l.group.size()
	all := r.take(leaf * l.keys)
	if r.err != nil {
		return nil, r.err
	}
	if root(all, leaf) != l.expected {
		return nil, errors.New("it began with other keys than were to be replaced")
	}
	for one := range slices.Chunk(all, leaf) {
		v, ok := l.polynomial(one, l.oldT)
		if !ok {
			return nil, fmt.Errorf("key %d was not shared by a polynomial of degree %d in the subgroup", len(polynomials), l.oldT-1)
		}
		polynomials = append(polynomials, v)
	}
	return polynomials, nil
}

// join checks that a seat has the key it joined with, and returns it and the
// hash of the one that letters are sealed for.
func (l *ledger) join(raw []byte, cid digest, seat int) (key []byte, letters digest, err error) {
	r := message(raw, 1, cid)
	key = r.take(32)
	proof, hybrid := r.take(64), r.string(letterKeySize)
	switch err := r.end(); {
	case err != nil:
		return nil, letters, err
	case (len(hybrid) > 0) != l.hybrid || l.hybrid && !isLetterKey(hybrid):
		return nil, letters, errKey
	case !knows(key, proof, ledgerPrefix+"/pop", cid[:], []byte{byte(seat)}, hybrid):
		return nil, letters, errors.New("the proof of possession is false")
	}
	return key, h(ledgerPrefix+"/join", hybrid), nil
}

// dealings sums up those of QUAL.
type dealings struct {
	*ledger
	receivers seats
	qual      []int
	before    [][]element // of each key
	roster    digest
	sums      []element // t of each key
	product   *big.Int  // of all numbers in QUAL, once it is known
}

// read takes a dealer's header and its chunks.
func (d *dealings) read(r *reader, raw []byte, dealer int) error {
	cid, size := d.cid(), d.group.size()
	f := message(raw, 2, cid)
	x := ledgerHeader{r: f.take(32), rho: f.take(64), knowledge: f.string(size + 32), root: f.digest(), letters: f.string(mostNodes * letterSize)}
	if err := f.end(); err != nil {
		return err
	}
	if err := d.opens(&x, cid, dealer); err != nil {
		return err
	}
	constants, encoded, err := d.chunks(r, cid, x.root, dealer)
	if err != nil {
		return err
	}
	if d.mode == imported && h(ledgerPrefix+"/expected", encoded) != d.expected {
		return errors.New("other keys than were to be imported")
	}
	return d.proves(&x, dealer, constants)
}

// readWhole takes what a participant of an assembly dealt in one message: its
// root is over the one leaf, and a path shows that the constant is its Y.
func (d *dealings) readWhole(_ *reader, raw []byte, dealer int) error {
	cid, size := d.cid(), d.group.size()
	f := message(raw, 8, cid)
	who := f.number(2)
	x := ledgerHeader{r: f.take(32), rho: f.take(64), knowledge: f.string(size + 32), letters: f.string(mostNodes * letterSize)}
	path, leaf := f.path(), f.string(mostChunk)
	if err := f.end(); err != nil {
		return err
	}
	if who != dealer || len(leaf) != d.t*size+32*d.receivers.len() {
		return errShort
	}
	if !leads(leafHash(leaf[:size]), dealer, d.oldN+1, path, d.expected) {
		return errors.New("it does not begin with this participant's share of the assembly's key")
	}
	x.root = leafHash(leaf)
	if err := d.opens(&x, cid, dealer); err != nil {
		return err
	}
	v, ok := d.elements(leaf, d.t)
	if !ok || slices.ContainsFunc(v, element.identity) {
		return errors.New("not points, or one that gives a share away")
	}
	d.add(0, d.weighed(v, dealer))
	return d.proves(&x, dealer, v[:1])
}

// ledgerHeader is what stands in a header.
type ledgerHeader struct {
	r, rho, knowledge, letters []byte
	root                       digest
}

// opens checks a header's sizes, and its proof of rho.
func (d *dealings) opens(x *ledgerHeader, cid digest, dealer int) error {
	want, proof := 0, d.group.size()+32
	if d.hybrid {
		want = d.receivers.len() * letterSize
	}
	if d.mode == refresh {
		proof = 0 // everybody knows its constants
	}
	if len(x.knowledge) != proof || len(x.letters) != want {
		return errShort
	}
	if !knows(x.r, x.rho, ledgerPrefix+"/pok-rho", cid[:], d.roster[:], u16(dealer), x.knowledge, x.root[:], x.letters) {
		return errors.New("the proof of rho is false")
	}
	return nil
}

// proves checks the proof of the constants.
func (d *dealings) proves(x *ledgerHeader, dealer int, constants []element) error {
	if d.mode == refresh {
		return nil
	}
	size := d.group.size()
	a, ok1 := d.group.element(x.knowledge[:size])
	z, ok2 := d.group.scalar(x.knowledge[size:])
	if !ok1 || !ok2 {
		return errShort
	}
	c := d.group.reduce(wide(ledgerPrefix+"/pok-secret", d.roster[:], u16(dealer), x.root[:], x.knowledge[:size]))
	powers, power := make([]*big.Int, d.keys), big.NewInt(1)
	for k := range powers {
		power = new(big.Int).Mul(power, c)
		powers[k] = power.Mod(power, d.group.order())
	}
	if !d.group.base(z).minus(d.group.sum(constants, powers).plus(a)).identity() {
		return errors.New("the proof of its constants is false")
	}
	return nil
}

// chunks reads a dealer's leaves, adds their points to the sums and returns
// the constants.
func (d *dealings) chunks(r *reader, cid, top digest, dealer int) (constants []element, encoded []byte, err error) {
	leaf := d.t*d.group.size() + 32*d.receivers.len()
	per := 1
	for per*2*leaf <= mostChunk {
		per *= 2
	}
	count := (d.keys + per - 1) / per
	for index := range count {
		f := message(r.string(mostMessage), 3, cid)
		at, path, body := f.number(4), f.path(), f.string(256<<10)
		if err := errors.Join(r.err, f.end()); err != nil {
			return nil, nil, err
		}
		if at != index || len(body) != min(per, d.keys-index*per)*leaf || !leads(root(body, leaf), index, count, path, top) {
			return nil, nil, fmt.Errorf("chunk %d is not of the dealing", index)
		}
		for one := range slices.Chunk(body, leaf) {
			v, ok := d.elements(one, d.t)
			if !ok || slices.ContainsFunc(v[1:], element.identity) || !d.begins(v[0], len(constants), dealer) {
				return nil, nil, fmt.Errorf("key %d: not points, one that gives a share away, or a false constant", len(constants))
			}
			d.add(len(constants), d.weighed(v, dealer))
			constants, encoded = append(constants, v[0]), append(encoded, one[:d.group.size()]...)
		}
	}
	return constants, encoded, nil
}

// begins judges a constant: zero in a refresh, the dealer's old share in a
// reshare, elsewhere not zero.
func (d *dealings) begins(constant element, key, dealer int) bool {
	switch d.mode {
	case refresh:
		return constant.identity()
	case reshare:
		return !constant.identity() && constant.minus(extend(d.before[key], dealer)[dealer]).identity()
	}
	return !constant.identity()
}

// weighed returns what a dealing adds to the sum: in a reshare, times the
// dealer's coefficient in the interpolation at zero over all of QUAL.
func (d *dealings) weighed(v []element, dealer int) []element {
	if d.mode != reshare {
		return v
	}
	weight := d.coefficient(dealer)
	out := make([]element, len(v))
	for j := range v {
		out[j] = d.group.sum(v[j:j+1], []*big.Int{weight})
	}
	return out
}

// coefficient is ∏ j/(j-dealer) over the others in QUAL: the product of all,
// by that of the dealer and of j-dealer.
func (d *dealings) coefficient(dealer int) *big.Int {
	order := d.group.order()
	if d.product == nil {
		d.product = big.NewInt(1)
		for _, j := range d.qual {
			d.product.Mod(d.product.Mul(d.product, big.NewInt(int64(j))), order)
		}
	}
	var factor big.Int
	under := big.NewInt(int64(dealer))
	for _, j := range d.qual {
		if j != dealer {
			under.Mod(under.Mul(under, factor.SetInt64(int64(j-dealer))), order)
		}
	}
	under.ModInverse(under, order)
	return under.Mod(under.Mul(under, d.product), order)
}

func (d *dealings) add(key int, v []element) {
	if len(d.sums) == key*d.t { // nothing was there before
		d.sums = append(d.sums, v...)
		return
	}
	for j := range v {
		d.sums[key*d.t+j] = d.sums[key*d.t+j].plus(v[j])
	}
}

// result compares the sums, moved by what nobody chose, with the keys.
func (d *dealings) result(transcript, block digest) error {
	var all []byte
	for _, e := range d.sums {
		all = append(all, e.bytes()...)
	}
	sums := root(all, d.t*d.group.size())
	for k := range d.keys {
		moved := d.sums[k*d.t : (k+1)*d.t]
		if d.mode == keygen {
			by := d.group.base(d.group.reduce(wide(ledgerPrefix+"/unbias", transcript[:], sums[:], block[:], u32(k))))
			for j := range moved {
				moved[j] = moved[j].plus(by)
			}
		}
		for j, e := range moved {
			at := (k*d.t + j) * d.group.size()
			if !bytes.Equal(e.bytes(), d.points[at:at+d.group.size()]) {
				return fmt.Errorf("key %d is not the sum of what was dealt", k)
			}
		}
	}
	return nil
}
