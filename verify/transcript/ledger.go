package transcript

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"slices"
)

// ledgerPrefix begins the tags of ceremonies on a ledger.
const ledgerPrefix = "quorate/v1/ceremony"

const (
	mostNodes   = 16
	mostKeys    = 10_000
	mostChunk   = 255 << 10 // bytes of leaves in a chunk
	mostMessage = 512 << 10
)

// Modes.
const (
	keygen = 1 + iota
	imported
	refresh
	reshare
)

// seats is a set of them, bit i for seat i.
type seats uint32

func seatsTo(n int) seats             { return 1<<(n+1) - 2 }
func (s seats) has(i int) bool        { return i >= 1 && i <= mostNodes && s>>i&1 == 1 }
func (s seats) len() int              { return bits.OnesCount32(uint32(s)) }
func (s seats) within(all seats) bool { return s&^all == 0 }
func (r *reader) seats(all seats) seats {
	s := seats(r.number(4))
	if !s.within(all) {
		r.fail(errors.New("seats that may not be there"))
	}
	return s
}

func (s seats) list() (out []int) {
	for i := 1; i <= mostNodes; i++ {
		if s.has(i) {
			out = append(out, i)
		}
	}
	return out
}

// mostPeople is how many participants of an assembly can deal.
const mostPeople = 4096

// dealers reads a set of numbers from 1 to most: bit i%8 of byte i/8 for i,
// without zeros at the end.
func (r *reader) dealers(most int) (out []int) {
	raw := r.string(mostPeople/8 + 1)
	for i := range 8 * len(raw) {
		if raw[i/8]>>(i%8)&1 == 1 {
			out = append(out, i)
		}
	}
	if n := len(out); n > 0 && (out[0] == 0 || out[n-1] > most) || len(raw) > 0 && raw[len(raw)-1] == 0 {
		r.fail(errors.New("dealers that may not be there"))
		return nil
	}
	return out
}

// ledger is a ceremony on a ledger, as a transcript tells it.
type ledger struct {
	raw               []byte // the parameters
	group             group
	mode, n, t, keys  int
	hybrid, beacon    bool
	without           seats
	cluster, expected digest
	importer, epoch   int
	oldT              int
	oldDealers        seats
	assembly          digest // whose participants deal, oldN of them; zeros where seats do
	oldN              int
	points            []byte // t of each key
	polynomials       []element
	holders           seats
	attestations      [][]byte
}

const ledgerParamsSize = 5 + 3*4 + 3*32 + 1 + 32 + 2 + 4 + 4 + 32 + 2 + 6*4

func readLedger(r *reader) (*ledger, error) {
	l := &ledger{raw: r.take(ledgerParamsSize)}
	if err := l.params(&reader{all: l.raw, err: r.err}); err != nil {
		return nil, err
	}
	l.points = r.take(l.t * l.keys * l.group.size())
	l.holders = r.seats(l.members())
	for range l.holders.len() {
		l.attestations = append(l.attestations, r.string(96))
	}
	return l, r.err
}

func (l *ledger) params(f *reader) error {
	l.mode = f.number(1)
	suite := f.number(1)
	flags := f.number(1) // the lowest bit: hybrid; above: what the keys are for
	l.hybrid, l.n, l.t, l.without = flags&1 == 1, f.number(1), f.number(1), seats(f.number(4))
	l.epoch = f.number(4)
	l.keys = f.number(4)
	l.beacon = flags>>1 == 1
	f.digest() // nonce
	l.cluster = f.digest()
	f.digest() // document
	l.importer, l.expected = f.number(1), f.digest()
	l.oldT, l.oldDealers = f.number(2), seats(f.number(4))
	oldEpoch := f.number(4)
	l.assembly, l.oldN = f.digest(), f.number(2)
	timeless := false
	for range 6 {
		timeless = f.number(4) == 0 || timeless
	}
	switch {
	case f.err != nil:
		return f.err
	case suite == 1:
		l.group = g1{}
	case suite == 2:
		l.group = ristretto{}
	}
	replaces := l.oldT != 0 || l.oldDealers != 0 || oldEpoch != 0 || l.people() || l.oldN != 0
	renews := l.mode == refresh || l.mode == reshare
	switch {
	case l.mode < keygen || l.mode > reshare || l.group == nil:
		return fmt.Errorf("mode %d, suite %d", l.mode, suite)
	case flags > 3 || l.beacon && (suite != 1 || l.mode == imported || l.keys != 1):
		return errors.New("keys for a use that there is not")
	case l.n > mostNodes || !l.without.within(seatsTo(l.n)) || l.keys < 1 || l.keys > mostKeys || timeless:
		return errors.New("parameters out of range")
	case (l.mode == imported) != seatsTo(l.n).has(l.importer) || l.mode != imported && l.importer != 0:
		return errors.New("an import, and nothing else, names its dealer")
	case (l.mode == keygen) != (l.expected == digest{}):
		return errors.New("a ceremony on existing keys, and no other, names them")
	case l.mode == keygen && l.epoch != 0, !renews && replaces, renews && l.epoch != oldEpoch+1:
		return errors.New("a wrong epoch, or a sharing to replace that is none")
	case l.people() && (l.mode != reshare || suite != 1 || l.keys != 1 || l.beacon || oldEpoch != 0 || l.oldDealers != 0 || l.oldN < 4 || l.oldN > mostPeople):
		return errors.New("an assembly hands over its one key, by a reshare in which no seat deals")
	case l.people():
		return errors.Join(safe(l.oldT, l.oldN), safe(l.t, l.members().len()))
	case renews && (l.oldN != 0 || l.oldT < 1 || !l.oldDealers.within(seatsTo(l.n)) || l.oldDealers.len() < l.oldT):
		return errors.New("more shares than old dealers have")
	case l.mode == refresh && (l.oldDealers != l.members() || l.oldT != l.t):
		return errors.New("a refresh changes neither holders nor threshold")
	}
	return safe(l.t, l.members().len())
}

// people tells whether participants of an assembly deal.
func (l *ledger) people() bool { return l.assembly != digest{} }

func (l *ledger) members() seats { return seatsTo(l.n) &^ l.without }
func (l *ledger) faults() int    { return (l.members().len() - 1) / 3 }
func (l *ledger) cid() digest    { return h(ledgerPrefix, l.raw) }

func (l *ledger) outcome() *Outcome {
	cid, size := l.cid(), l.group.size()
	o := &Outcome{Ceremony: hex.EncodeToString(cid[:]), Cluster: hex.EncodeToString(l.cluster[:]),
		Mode: [...]string{"", "keygen", "import", "refresh", "reshare"}[l.mode], Epoch: l.epoch, Hybrid: l.hybrid, Beacon: l.beacon, Participants: l.n,
		Threshold: l.t, Phase: "done", Confirmed: l.holders.len(), DepositSafe: l.holders.len() >= l.t+l.faults()}
	if l.people() {
		o.Assembly = hex.EncodeToString(l.assembly[:])
	}
	for leaf := range slices.Chunk(l.points, l.t*size) {
		o.PublicKeys = append(o.PublicKeys, text(leaf[:size]))
	}
	return o
}

// checkLedger judges a certificate.
func checkLedger(r *reader) (*Outcome, error) {
	l, err := readLedger(r)
	if err == nil {
		err = r.end()
	}
	if err == nil {
		err = l.check()
	}
	if err != nil {
		return nil, err
	}
	return l.outcome(), nil
}

// check judges what is in both files.
func (l *ledger) check() error {
	if l.holders.len() < l.members().len()-l.faults() {
		return errors.New("fewer than n-f seats confirmed it")
	}
	size := l.group.size()
	for k, leaf := range slices.Collect(slices.Chunk(l.points, l.t*size)) {
		v, ok := l.polynomial(leaf, l.t)
		if !ok {
			return fmt.Errorf("key %d is not shared by a polynomial of degree %d in the subgroup", k, l.t-1)
		}
		l.polynomials = append(l.polynomials, v...)
	}
	return l.confirmed()
}

// polynomial reads the t points of a leaf that fix how a key is shared: all in
// the subgroup, of degree t-1, and the key is not the identity.
func (l *ledger) polynomial(leaf []byte, t int) ([]element, bool) {
	v, ok := l.elements(leaf, t)
	return v, ok && !v[0].identity() && !differences(v)[0].identity() && !slices.ContainsFunc(v, func(e element) bool { return !e.inside() })
}

// elements reads the points at the front of a leaf.
func (l *ledger) elements(leaf []byte, count int) ([]element, bool) {
	v, size := make([]element, count), l.group.size()
	for j := range v {
		var ok bool
		if v[j], ok = l.group.element(leaf[j*size : (j+1)*size]); !ok {
			return nil, false
		}
	}
	return v, true
}

// confirmed verifies each holder's attestation against the weighted sum of all
// keys' polynomials at its seat.
func (l *ledger) confirmed() error {
	cid, result := l.cid(), root(l.points, l.t*l.group.size())
	sums := make([]element, l.t)
	column, weights := make([]element, l.keys), make([]*big.Int, l.keys)
	for k := range weights {
		w := h(ledgerPrefix+"/batch-weight", cid[:], result[:], u32(k))
		weights[k] = little(w[:16])
	}
	for j := range sums {
		for k := range column {
			column[k] = l.polynomials[k*l.t+j]
		}
		sums[j] = l.group.sum(column, weights)
	}
	values := extend(sums, l.n)
	var keys []element
	for _, i := range l.holders.list() {
		keys = append(keys, values[i])
	}
	if bad := l.group.attested(keys, h(ledgerPrefix+"/confirm", cid[:], result[:]), l.attestations); len(bad) > 0 {
		return fmt.Errorf("the confirmation of seat %d is false", l.holders.list()[bad[0]])
	}
	return nil
}

// differences returns the last of the first, second, … differences of a
// sequence in reverse: the highest comes first, the last value last.
func differences(v []element) []element {
	v = slices.Clone(v)
	for level := 1; level < len(v); level++ {
		for i := range len(v) - level {
			v[i] = v[i+1].minus(v[i])
		}
	}
	return v
}

// extend returns the values at 0, …, n of a polynomial given at 0, …, t-1,
// whose highest difference never changes.
func extend(v []element, n int) []element {
	out, last := slices.Clone(v), differences(v)
	for len(out) <= n {
		for i := 1; i < len(last); i++ {
			last[i] = last[i].plus(last[i-1])
		}
		out = append(out, last[len(last)-1])
	}
	return out
}
