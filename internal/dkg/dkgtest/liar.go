package dkgtest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/wire"
)

// A Liar is a participant of an assembly that deals with a program of its own,
// made after spec/ceremony.md from what a board shows to anybody: it shares no
// line with the dealer that it departs from. What it says is well-formed, and
// its proofs hold wherever it knows what they are about.
type Liar struct {
	Seat  int
	Share []byte        // its share of the key
	Path  []wire.Digest // from Y_seat to the assembly's result

	encapsulations []byte
}

// A Lie is what is false in a dealing.
type Lie string

const (
	Honest   Lie = "nothing"
	OneShare Lie = "one-share" // what the first receiver decrypts is no value of the polynomial
	Noise    Lie = "noise"     // what all receivers get is noise
	Constant Lie = "constant"  // the polynomial begins with something else than its share
)

// seated is what the board has of a receiver.
type seated struct {
	seat   int
	key    kem.PublicKey
	hashed [32]byte // hash of its X-Wing key
	hybrid []byte
}

// Deal makes a dealing to those who joined, whose keys the source has in hybrid
// mode.
func (l *Liar) Deal(b *dkg.Board, src dkg.Source, lie Lie) (*dkg.Dealing, error) {
	p, cid := b.Params(), b.ID()
	to, err := receivers(b, src)
	if err != nil {
		return nil, err
	}
	parts := [][]byte{cid[:]}
	for _, r := range to {
		parts = append(parts, []byte{byte(r.seat)}, r.key.Bytes(), r.hashed[:])
	}
	roster := wire.Hash(wire.TagRoster, parts...)
	dealer := binary.BigEndian.AppendUint16(nil, uint16(l.Seat))

	var g bls.G1
	values := make([]bls.G1Scalar, p.T)
	for i := range values {
		wide := l.coins(cid, "value", i)
		g.SetWide(&values[i], &wide)
	}
	share := values[0]
	if lie != Constant {
		if err := g.SetScalar(&values[0], l.Share); err != nil {
			return nil, err
		}
		share = values[0]
	}
	all := g.Extend(values, int(p.N)) // uses values up
	points := make([]bls.G1Point, p.T)
	for i := range points {
		g.BaseMult(&points[i], &all[i])
	}
	wide := l.coins(cid, "rho", 0)
	rho := kem.NewSecretKey(&wide)
	m := &dkg.Dealing{CID: cid, Dealer: uint16(l.Seat), R: rho.Public(), Path: l.Path, Leaf: g.AppendPoints(nil, points)}
	for k, r := range to {
		var hybrid []byte
		if p.Hybrid {
			coins := l.coins(cid, "encapsulate", r.seat)
			ciphertext, shared, err := kem.Encapsulate(r.hybrid, &coins)
			if err != nil {
				return nil, err
			}
			m.Encapsulations, hybrid = append(m.Encapsulations, ciphertext...), shared[:]
		}
		shared := rho.Shared(r.key)
		key := wire.Hash(wire.TagMaskKey, roster[:], dealer, []byte{byte(r.seat)}, m.R.Bytes(), r.key.Bytes(), shared[:], hybrid)
		wide := wire.HashWide(wire.TagMask, key[:], make([]byte, 4))
		if lie == Noise || lie == OneShare && k == 0 {
			wide = l.coins(cid, "noise", r.seat)
		}
		var hidden bls.G1Scalar
		g.SetWide(&hidden, &wide)
		g.AddScalar(&hidden, &all[r.seat])
		m.Leaf = g.AppendScalar(m.Leaf, &hidden)
	}
	l.encapsulations = m.Encapsulations

	root := wire.LeafHash(m.Leaf)
	wide = l.coins(cid, "knowledge", 0)
	var z, c bls.G1Scalar
	g.SetWide(&z, &wide)
	a := make([]bls.G1Point, 1)
	g.BaseMult(&a[0], &z)
	m.Knowledge = g.AppendPoints(nil, a)
	wide = wire.HashWide(wire.TagPoKSecret, roster[:], dealer, root[:], m.Knowledge)
	g.SetWide(&c, &wide)
	g.MulScalar(&c, &share)
	g.AddScalar(&z, &c)
	m.Knowledge = g.AppendScalar(m.Knowledge, &z)
	m.Rho = rho.Prove(wire.TagPoKRho, cid[:], roster[:], dealer, m.Knowledge, root[:], m.Encapsulations)
	return m, nil
}

// Answers opens what it sent to whoever complains: that is no lie.
func (l *Liar) Answers(b *dkg.Board, src dkg.Source) (out []*dkg.Answer, err error) {
	to, err := receivers(b, src)
	if err != nil {
		return nil, err
	}
	for _, seat := range b.Claims(l.Seat) {
		for at, r := range to {
			if r.seat == seat {
				out = append(out, &dkg.Answer{CID: b.ID(), Recipient: uint8(seat), Coins: l.coins(b.ID(), "encapsulate", seat), HybridKey: r.hybrid,
					Path: wire.CutTree(l.encapsulations, kem.CiphertextSize).Path(0, at)})
			}
		}
	}
	return out, nil
}

// coins are its randomness, for it has nothing to hide.
func (l *Liar) coins(cid [32]byte, what string, i int) [64]byte {
	a, b := sha256.Sum256(fmt.Append(nil, l.Seat, what, i, cid)), sha256.Sum256(fmt.Append(nil, l.Seat, what, i, cid, "more"))
	return [64]byte(append(a[:], b[:]...))
}

// receivers reads them from the bytes that the ledger proves. Their places
// stand behind the parameters, phase, deadline, arming and round.
func receivers(b *dkg.Board, src dkg.Source) (out []seated, err error) {
	p := b.Params()
	d := wire.NewDecoder(b.Encode()[1+len(p.Encode())+1+8+4+1:])
	hash := func() (h [32]byte) { d.Fixed(h[:]); return h }
	for seat := 1; seat <= int(p.N); seat++ {
		joined, _ := d.Bool(), d.Bool()
		key, hashed, join := hash(), hash(), hash()
		for range 4 { // header, R, root, encapsulations
			hash()
		}
		d.Bytes(wire.MaxTx) // chunks
		d.Bool()
		d.Bytes(wire.MaxTx) // faulty
		hash()
		hash()
		d.Bytes(wire.MaxTx) // attestation
		d.Bool()
		d.Bool()
		if d.Err() != nil {
			return nil, d.Err()
		}
		if !joined || !p.Members().Has(seat) {
			continue
		}
		r := seated{seat: seat, hashed: hashed}
		if r.key, err = kem.ParsePublicKey(key[:]); err != nil {
			return nil, err
		}
		if p.Hybrid {
			raw, err := src(join)
			if err != nil {
				return nil, err
			}
			m, err := dkg.ParseMessage(raw)
			if err != nil {
				return nil, err
			}
			if m, ok := m.(*dkg.Join); ok {
				r.hybrid = m.HybridKey
			}
		}
		out = append(out, r)
	}
	return out, nil
}
