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
	qual := r.seats(joined & dealers)
	receivers := joined & l.members()
	switch {
	case r.err != nil:
		return nil, r.err
	case qual.len() < least || l.mode == reshare && qual.len() > least:
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
	for _, i := range qual.list() {
		header := r.string(mostMessage)
		if err := d.read(r, header, i); err != nil {
			return nil, fmt.Errorf("dealing of seat %d: %w", i, err)
		}
		of := h(ledgerPrefix+"/blob", header)
		names = append(names, []byte{byte(i)}, of[:])
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
	case reshare:
		return l.oldDealers, l.oldT
	}
	return l.members(), l.t
}

// before reads what a refresh or a reshare began with: of each key the first
// old t values of its polynomial, under the root that the parameters name.
func (l *ledger) before(r *reader) (polynomials [][]element, err error) {
	if l.mode != refresh && l.mode != reshare {
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
	receivers, qual seats
	before          [][]element // of each key
	roster          digest
	sums            []element // t of each key
}

// read takes a dealer's header and its chunks.
func (d *dealings) read(r *reader, header []byte, dealer int) error {
	cid, size := d.cid(), d.group.size()
	f := message(header, 2, cid)
	key, rho, knowledge := f.take(32), f.take(64), f.string(size+32)
	top, letters := f.digest(), f.string(mostNodes*letterSize)
	if err := f.end(); err != nil {
		return err
	}
	want, proof := 0, size+32
	if d.hybrid {
		want = d.receivers.len() * letterSize
	}
	if d.mode == refresh {
		proof = 0 // everybody knows its constants
	}
	if len(knowledge) != proof || len(letters) != want {
		return errShort
	}
	if !knows(key, rho, ledgerPrefix+"/pok-rho", cid[:], d.roster[:], []byte{byte(dealer)}, knowledge, top[:], letters) {
		return errors.New("the proof of rho is false")
	}
	constants, encoded, err := d.chunks(r, cid, top, dealer)
	if err != nil {
		return err
	}
	if d.mode == imported && h(ledgerPrefix+"/expected", encoded) != d.expected {
		return errors.New("other keys than were to be imported")
	}
	if d.mode == refresh {
		return nil
	}
	a, ok1 := d.group.element(knowledge[:size])
	z, ok2 := d.group.scalar(knowledge[size:])
	if !ok1 || !ok2 {
		return errShort
	}
	c := d.group.reduce(wide(ledgerPrefix+"/pok-secret", d.roster[:], []byte{byte(dealer)}, top[:], knowledge[:size]))
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
	order := d.group.order()
	over, under := big.NewInt(1), big.NewInt(1)
	for _, j := range d.qual.list() {
		if j != dealer {
			over.Mul(over, big.NewInt(int64(j)))
			under.Mul(under, big.NewInt(int64(j-dealer)))
		}
	}
	weight := over.Mul(over, under.ModInverse(under.Mod(under, order), order))
	weight.Mod(weight, order)
	out := make([]element, len(v))
	for j := range v {
		out[j] = d.group.sum(v[j:j+1], []*big.Int{weight})
	}
	return out
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
