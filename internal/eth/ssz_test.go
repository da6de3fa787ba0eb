package eth

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// oracle is hash_tree_root as the specification words it: every tree is
// padded to its full width with real zero chunks, bit by bit and byte by byte.
type oracle struct {
	preset Preset
	chunks [][]byte
	spine  bool
}

func oracleRoot(c Container, p Preset) []byte {
	o := &oracle{preset: p}
	c.Visit(o)
	if !o.spine {
		return fullTree(o.chunks, len(o.chunks))
	}
	active := make([]byte, 32)
	for i := range o.chunks {
		active[i/8] |= 1 << (i % 8)
	}
	return sha(spine(o.chunks, 1), active)
}

func sha(a, b []byte) []byte {
	h := sha256.Sum256(append(append([]byte{}, a...), b...))
	return h[:]
}

func fullTree(chunks [][]byte, limit int) []byte {
	width := 1
	for width < limit {
		width *= 2
	}
	layer := append([][]byte{}, chunks...)
	for len(layer) < width {
		layer = append(layer, make([]byte, 32))
	}
	return halves(layer)
}

func halves(leaves [][]byte) []byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	m := len(leaves) / 2
	return sha(halves(leaves[:m]), halves(leaves[m:]))
}

func spine(chunks [][]byte, leaves int) []byte {
	if len(chunks) == 0 {
		return make([]byte, 32)
	}
	n := min(leaves, len(chunks))
	return sha(fullTree(chunks[:n], leaves), spine(chunks[n:], leaves*4))
}

func chunked(b []byte) (out [][]byte) {
	for len(b)%32 != 0 {
		b = append(b[:len(b):len(b)], 0)
	}
	for ; len(b) > 0; b = b[32:] {
		out = append(out, b[:32])
	}
	return out
}

func little(x uint64, size int) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, x), make([]byte, size-8)...)
}

func (o *oracle) put(r []byte) { o.chunks = append(o.chunks, r) }
func (o *oracle) mixed(chunks [][]byte, n int, width uint64, l Limit) {
	root := spine(chunks, 1)
	if !l.Progressive {
		root = fullTree(chunks, int(width))
	}
	o.put(sha(root, little(uint64(n), 32)))
}

func (o *oracle) Preset() Preset                  { return o.preset }
func (o *oracle) Progressive()                    { o.spine = true }
func (o *oracle) Uint64(_ string, v *uint64)      { o.put(little(*v, 32)) }
func (o *oracle) Uint256(_ string, v *Uint256)    { o.put(v[:]) }
func (o *oracle) Bytes(_ string, v []byte)        { c := chunked(v); o.put(fullTree(c, len(c))) }
func (o *oracle) Container(_ string, c Container) { o.put(oracleRoot(c, o.preset)) }
func (o *oracle) Bool(_ string, v *bool) {
	x := uint64(0)
	if *v {
		x = 1
	}
	o.put(little(x, 32))
}
func (o *oracle) ByteList(_ string, v *[]byte, l Limit) {
	o.mixed(chunked(*v), len(*v), (l.N+31)/32, l)
}
func (o *oracle) Bitvector(_ string, v *[]byte, n uint64) {
	o.put(fullTree(chunked(*v), int((n+255)/256)))
}
func (o *oracle) Bitlist(_ string, v *[]byte, l Limit) {
	var list []bool
	for i := range len(*v) * 8 {
		list = append(list, (*v)[i/8]>>(i%8)&1 == 1)
	}
	for !list[len(list)-1] {
		list = list[:len(list)-1]
	}
	list = list[:len(list)-1]
	packed := make([]byte, (len(list)+7)/8)
	for i, bit := range list {
		if bit {
			packed[i/8] |= 1 << (i % 8)
		}
	}
	o.mixed(chunked(packed), len(list), (l.N+255)/256, l)
}
func (o *oracle) Uint64s(_ string, v *[]uint64, l Limit) {
	var b []byte
	for _, x := range *v {
		b = append(b, little(x, 8)...)
	}
	o.mixed(chunked(b), len(*v), (l.N*8+31)/32, l)
}
func (o *oracle) elements(s Sequence) [][]byte {
	sub := &oracle{preset: o.preset}
	for i := range s.Len() {
		s.Visit(i, sub)
	}
	return sub.chunks
}
func (o *oracle) Vector(_ string, s Sequence, n uint64) { o.put(fullTree(o.elements(s), int(n))) }
func (o *oracle) List(_ string, s Sequence, l Limit)    { o.mixed(o.elements(s), s.Len(), l.N, l) }

// filler makes random values that are valid under its preset.
type filler struct {
	r      *rand.Rand
	preset Preset
}

func (f filler) random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(f.r.Uint32())
	}
	return b
}

func (f filler) length(limit uint64) int {
	switch f.r.IntN(8) {
	case 0:
		return 0
	case 1:
		return int(min(limit, 300))
	}
	return int(f.r.Uint64N(min(limit, 6) + 1))
}

func (f filler) Preset() Preset                  { return f.preset }
func (f filler) Progressive()                    {}
func (f filler) Uint64(_ string, v *uint64)      { *v = f.r.Uint64() >> f.r.UintN(64) }
func (f filler) Uint256(_ string, v *Uint256)    { copy(v[:], f.random(32)) }
func (f filler) Bool(_ string, v *bool)          { *v = f.r.IntN(2) == 0 }
func (f filler) Bytes(_ string, v []byte)        { copy(v, f.random(len(v))) }
func (f filler) Container(_ string, c Container) { c.Visit(f) }
func (f filler) ByteList(_ string, v *[]byte, l Limit) {
	*v = f.random(f.length(l.N))
}
func (f filler) Bitvector(_ string, v *[]byte, n uint64) {
	*v = f.random(int(n+7) / 8)
	if n%8 != 0 {
		(*v)[len(*v)-1] &= 1<<(n%8) - 1
	}
}
func (f filler) Bitlist(_ string, v *[]byte, l Limit) {
	n := int(f.r.Uint64N(min(l.N, 1200) + 1))
	if f.r.IntN(4) == 0 {
		n = n / 256 * 256 // where the delimiting bit opens a byte, or a chunk
	}
	*v = f.random(n/8 + 1)
	(*v)[n/8] &= 1<<(n%8) - 1
	(*v)[n/8] |= 1 << (n % 8)
}
func (f filler) Uint64s(_ string, v *[]uint64, l Limit) {
	for range f.length(l.N) {
		*v = append(*v, f.r.Uint64())
	}
}
func (f filler) Vector(_ string, s Sequence, n uint64) {
	for i := range int(n) {
		s.Append()
		s.Visit(i, f)
	}
}
func (f filler) List(_ string, s Sequence, l Limit) {
	f.Vector("", s, min(l.N, uint64(f.length(l.N)), 24))
}

// samples returns one zero value of every container that is hashed whole.
func samples() map[string]func() Container {
	s := map[string]func() Container{
		"phase0 block": func() Container { return new(BeaconBlock) },
		"altair block": func() Container {
			return &BeaconBlock{Body: BeaconBlockBody{SyncAggregate: new(SyncAggregate)}}
		},
		"full bid":      func() Container { return new(FullExecutionPayloadBid) },
		"full envelope": func() Container { return new(FullExecutionPayloadEnvelope) },
	}
	for _, k := range Kinds() {
		s[k.String()] = func() Container { return newMessage(k) }
	}
	for form := range attestationForms {
		s[fmt.Sprintf("aggregate form %d", form)] = func() Container {
			return &AggregateAndProof{Aggregate: Attestation{Form: form}}
		}
	}
	return s
}

func TestHashTreeRootAgainstOracle(t *testing.T) {
	for name, zero := range samples() {
		for _, preset := range []Preset{mainnetPreset, minimalPreset} {
			t.Run(name+" "+preset.Name, func(t *testing.T) {
				f := filler{rand.New(rand.NewPCG(1, 2)), preset}
				for range 6 {
					c := zero()
					c.Visit(f)
					got, err := HashTreeRoot(c, preset)
					if err != nil {
						t.Fatal(err)
					}
					if want := oracleRoot(c, preset); string(got[:]) != string(want) {
						t.Fatalf("root %x, want %x of %+v", got, want, c)
					}
				}
			})
		}
	}
}

// TestCodecOfWholeContainers checks what duties do not use, too: lists.
func TestCodecOfWholeContainers(t *testing.T) {
	for name, zero := range samples() {
		t.Run(name, func(t *testing.T) {
			f := filler{rand.New(rand.NewPCG(3, 4)), mainnetPreset}
			for range 4 {
				c := zero()
				c.Visit(f)
				first := encode(c)
				again := zero()
				if err := decode(first, again); err != nil {
					t.Fatal(err)
				}
				if second := encode(again); string(first) != string(second) {
					t.Fatalf("decoded to another value: %+v, %+v", c, again)
				}
				ra, _ := HashTreeRoot(c, mainnetPreset)
				rb, err := HashTreeRoot(again, mainnetPreset)
				if err != nil || ra != rb {
					t.Fatalf("root %x, want %x: %v", rb, ra, err)
				}
			}
		})
	}
}

func TestMerkleize(t *testing.T) {
	r := filler{r: rand.New(rand.NewPCG(5, 6))}
	for n := range 40 {
		chunks, plain := make([]Root, n), make([][]byte, n)
		for i := range chunks {
			copy(chunks[i][:], r.random(32))
			plain[i] = append([]byte{}, chunks[i][:]...)
		}
		for limit := max(n, 1); limit < 70; limit++ {
			got := merkleize(append([]Root{}, chunks...), uint64(limit))
			if want := fullTree(plain, limit); string(got[:]) != string(want) {
				t.Fatalf("%d chunks of %d: %x, want %x", n, limit, got, want)
			}
		}
		got := merkleizeProgressive(append([]Root{}, chunks...), 1)
		if want := spine(plain, 1); string(got[:]) != string(want) {
			t.Fatalf("%d chunks progressive: %x, want %x", n, got, want)
		}
	}
	if got := merkleize(nil, 1<<40); got != zeroHashes[40] || bits.Len64(1<<40-1) != 40 {
		t.Fatalf("empty tree of depth 40: %x", got)
	}
}

func TestHashTreeRootRefuses(t *testing.T) {
	contribution := func(bits string) Container {
		return &ContributionAndProof{Contribution: SyncCommitteeContribution{AggregationBits: []byte(bits)}}
	}
	body := func(change func(*BeaconBlockBody)) Container {
		b := new(BeaconBlockBody)
		change(b)
		return b
	}
	cases := []struct {
		name   string
		c      Container
		preset Preset
		want   string
	}{
		{"mainnet bits in minimal", contribution(strings.Repeat("\x01", 16)), minimalPreset, "contribution: hash aggregation_bits"},
		{"minimal bits in mainnet", contribution("\x01"), mainnetPreset, "aggregation_bits"},
		{"bit beyond vector", &Attestation{Form: AttestationElectra, AggregationBits: []byte{1}, CommitteeBits: []byte{0x10}}, minimalPreset, "committee_bits: a bit beyond the 4"},
		{"empty bitlist", &Attestation{}, mainnetPreset, "delimiting bit"},
		{"bitlist without delimiter", &Attestation{AggregationBits: []byte{1, 0}}, mainnetPreset, "delimiting bit"},
		{"long bitlist", &Attestation{AggregationBits: append(make([]byte, 256), 2)}, mainnetPreset, "over the limit of 2048"},
		{"deposit proof", body(func(b *BeaconBlockBody) { b.Deposits = make([]DepositWithProof, 1) }), mainnetPreset, "0 elements, not 33"},
		{"slashings", body(func(b *BeaconBlockBody) { b.AttesterSlashings = make([]AttesterSlashing, 3) }), mainnetPreset, "3 elements, over the limit of 2"},
		{"auth data", &BuilderRequestAuth{Data: make([]byte, 4097)}, mainnetPreset, "4097 elements"},
	}
	for _, c := range cases {
		if _, err := HashTreeRoot(c.c, c.preset); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
	full := &Attestation{AggregationBits: append(make([]byte, 256), 1)}
	if _, err := HashTreeRoot(full, mainnetPreset); err != nil {
		t.Errorf("bitlist at its limit: %v", err)
	}
}

func TestEveryFieldCounts(t *testing.T) {
	// Changing any one field changes the encoding; a field that Visit forgot
	// would not. This is the one place that looks at types by reflection.
	for name, zero := range samples() {
		leaves := countLeaves(reflect.ValueOf(zero()).Elem())
		c := &counter{}
		zero().Visit(c)
		if leaves != c.n {
			t.Errorf("%s: the type has %d fields, Visit names %d", name, leaves, c.n)
		}
	}
}
