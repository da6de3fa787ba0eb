package eth

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/wire"
)

func encode(c Container) []byte {
	e := encoder{wire.NewEncoder(nil)}
	c.Visit(e)
	return e.Out()
}

func decode(b []byte, c Container) error {
	d := decoder{wire.NewDecoder(b)}
	c.Visit(d)
	return d.Finish()
}

// counter counts the fields that Visit names; countLeaves those of the type.
type counter struct {
	oracle
	n int
}

func (c *counter) Uint64(string, *uint64)              { c.n++ }
func (c *counter) Uint256(string, *Uint256)            { c.n++ }
func (c *counter) Bool(string, *bool)                  { c.n++ }
func (c *counter) Bytes(string, []byte)                { c.n++ }
func (c *counter) ByteList(string, *[]byte, Limit)     { c.n++ }
func (c *counter) Bitvector(string, *[]byte, uint64)   { c.n++ }
func (c *counter) Bitlist(string, *[]byte, Limit)      { c.n++ }
func (c *counter) Uint64s(string, *[]uint64, Limit)    { c.n++ }
func (c *counter) Vector(string, Sequence, uint64)     { c.n++ }
func (c *counter) List(string, Sequence, Limit)        { c.n++ }
func (c *counter) Container(_ string, inner Container) { inner.Visit(c) }

func countLeaves(v reflect.Value) (n int) {
	switch {
	case v.Kind() == reflect.Pointer:
		if v.IsNil() {
			return 0
		}
		return countLeaves(v.Elem())
	case v.Kind() != reflect.Struct:
		return 1
	}
	for i := range v.NumField() {
		switch f := v.Type().Field(i); {
		case f.Name == "Form":
		case f.Name == "CommitteeBits" && v.FieldByName("Form").Uint() == 0:
		case f.Name == "BlobKZGCommitmentsRoot" && v.Type() == reflect.TypeFor[ExecutionPayloadBid]():
			n++ // in a full bid the list stands in its place
		case f.Name == "BlobKZGCommitments":
		default:
			n += countLeaves(v.Field(i))
		}
	}
	return n
}

func randomDuty(r *rand.Rand, k Kind, p Preset) Duty {
	f := filler{r, p}
	d := Duty{Message: newMessage(k)}
	if k.UsesForkInfo() {
		d.Fork.Visit(f)
	}
	if a, ok := d.Message.(*AggregateAndProof); ok {
		a.Aggregate.Form = AttestationForm(r.IntN(int(attestationForms)))
	}
	d.Message.Visit(f)
	return d
}

func TestDutyRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	n := network(t, "mainnet")
	n.GenesisValidatorsRoot = nil
	for _, k := range Kinds() {
		for range 20 {
			d := randomDuty(r, k, mainnetPreset)
			b := EncodeDuty(d)
			got, err := DecodeDuty(b)
			if err != nil {
				t.Fatalf("%s: %v", k, err)
			}
			if !bytes.Equal(EncodeDuty(got), b) {
				t.Fatalf("%s: another encoding", k)
			}
			want, err := d.SigningRoot(n)
			if err != nil {
				t.Fatal(err)
			}
			if root, err := got.SigningRoot(n); err != nil || root != want {
				t.Fatalf("%s: signing root %s, want %s (%v)", k, root, want, err)
			}
			for _, bad := range [][]byte{b[:len(b)-1], append(bytes.Clone(b), 0), nil} {
				if _, err := DecodeDuty(bad); !errors.Is(err, wire.ErrMalformed) {
					t.Fatalf("%s: decoded %d of %d bytes: %v", k, len(bad), len(b), err)
				}
			}
		}
	}
}

func TestDutyGolden(t *testing.T) {
	// The encoding is part of the protocol between nodes: these bytes change
	// only with a new version of it.
	fork := ForkInfo{Version{1, 2, 3, 4}, Version{5, 6, 7, 8}, 9, Root{0xaa}}
	root := "bb" + strings.Repeat("00", 31)
	forkHex := "01020304" + "05060708" + "0000000000000009" + "aa" + strings.Repeat("00", 31)
	cases := []struct {
		d    Duty
		want string
	}{
		{Duty{&BeaconBlockHeader{1, 2, Root{0xbb}, Root{0xbb}, Root{0xbb}}, fork},
			"01" + forkHex + "0000000000000001" + "0000000000000002" + root + root + root},
		{Duty{&AttestationData{1, 2, Root{0xbb}, Checkpoint{3, Root{0xbb}}, Checkpoint{4, Root{0xbb}}}, fork},
			"02" + forkHex + "0000000000000001" + "0000000000000002" + root + "0000000000000003" + root + "0000000000000004" + root},
		{Duty{&AggregateAndProof{1, Attestation{Form: AttestationGloas, AggregationBits: []byte{3}, CommitteeBits: []byte{4}}, BLSSignature{}}, fork},
			"03" + forkHex + "02" + "0000000000000001" + "00000001" + "03" + strings.Repeat("00", 128) + strings.Repeat("00", 96) + "00000001" + "04" + strings.Repeat("00", 96)},
		{Duty{Message: &BuilderRequestAuth{[]byte("url"), 7}}, "10" + "00000003" + "75726c" + "0000000000000007"},
	}
	for _, c := range cases {
		if got := hex.EncodeToString(EncodeDuty(c.d)); got != c.want {
			t.Errorf("%s: encoding\n%s, want\n%s", c.d.Kind(), got, c.want)
		}
	}
}

func TestLargestDutyFits(t *testing.T) {
	bits := make([]byte, maxValidatorsPerCommittee*mainnetPreset.MaxCommitteesPerSlot/8+1)
	bits[len(bits)-1] = 1
	d := Duty{Message: &AggregateAndProof{Aggregate: Attestation{Form: AttestationElectra, AggregationBits: bits, CommitteeBits: make([]byte, 8)}}}
	b := EncodeDuty(d)
	if len(b) > MaxDuty {
		t.Fatalf("%d bytes", len(b))
	}
	if _, err := DecodeDuty(b); err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeDuty(make([]byte, MaxDuty+1)); !errors.Is(err, wire.ErrMalformed) {
		t.Fatalf("decoded more than MaxDuty: %v", err)
	}
}

func TestKinds(t *testing.T) {
	if len(Kinds()) != 16 {
		t.Fatalf("%d kinds", len(Kinds()))
	}
	for _, k := range Kinds() {
		if got, err := ParseKind(k.String()); err != nil || got != k {
			t.Errorf("parse %s: %v, %v", k, got, err)
		}
		if m := newMessage(k); m == nil || m.Kind() != k {
			t.Errorf("message of %s is a %T", k, m)
		}
		if want := k != KindVoluntaryExit && k != KindDeposit; k.IsDuty() != want {
			t.Errorf("%s is a duty: %v", k, !want)
		}
		if slashable := (Duty{Message: newMessage(k)}).Slashable() != nil; slashable != (k == KindBlock || k == KindAttestation) {
			t.Errorf("%s is slashable: %v", k, slashable)
		}
	}
	for _, k := range []Kind{0, 17, 255} {
		if k.IsDuty() || newMessage(k) != nil {
			t.Errorf("%s is known", k)
		}
	}
	for _, name := range []string{"", "kind 3", "block_v2", "BLS_TO_EXECUTION_CHANGE"} {
		if k, err := ParseKind(name); err == nil {
			t.Errorf("parsed %q as %s", name, k)
		}
	}
}

func TestSlashable(t *testing.T) {
	block := Duty{Message: &BeaconBlockHeader{Slot: 7}}
	if got := block.Slashable(); got != (BlockFacts{7}) {
		t.Errorf("facts %v", got)
	}
	vote := Duty{Message: &AttestationData{Source: Checkpoint{Epoch: 3}, Target: Checkpoint{Epoch: 4}}}
	if got := vote.Slashable(); got != (AttestationFacts{3, 4}) {
		t.Errorf("facts %v", got)
	}
}

func TestForkChoosesVersion(t *testing.T) {
	n := network(t, "mainnet")
	gvr := *n.GenesisValidatorsRoot
	at := func(forkEpoch, epoch uint64) Root {
		return Duty{&RandaoReveal{epoch}, ForkInfo{Version{8}, Version{9}, forkEpoch, gvr}}.Domain(n)
	}
	previous, current := computeDomain(domainRandao, Version{8}, gvr), computeDomain(domainRandao, Version{9}, gvr)
	for _, c := range []struct {
		fork, epoch uint64
		want        Root
	}{
		{10, 9, previous}, {10, 10, current}, {10, 11, current}, {0, 0, current},
		{FarFutureEpoch, 5, previous},
		// A client may send the epoch of the message as the fork's.
		{500_000, 500_000, current},
	} {
		if got := at(c.fork, c.epoch); got != c.want {
			t.Errorf("fork at %d, epoch %d: %x, want %x", c.fork, c.epoch, got, c.want)
		}
	}
}

func TestVoluntaryExitDomain(t *testing.T) {
	n := network(t, "mainnet")
	gvr := *n.GenesisValidatorsRoot
	deneb := n.Forks[Deneb].Epoch
	domain := func(v Version) Root { return computeDomain(domainVoluntaryExit, v, gvr) }
	exit := func(epoch uint64, f Fork) Root {
		return Duty{&VoluntaryExit{Epoch: epoch}, ForkInfo{n.Forks[f-1].Version, n.Forks[f].Version, n.Forks[f].Epoch, gvr}}.Domain(n)
	}
	capella := domain(n.Forks[Capella].Version)
	cases := []struct {
		name string
		got  Root
		want Root
	}{
		{"deneb fork", exit(deneb, Deneb), capella},
		{"electra fork", exit(deneb+100_000, Electra), capella},
		{"gloas fork", exit(500_000, Gloas), capella},
		{"capella fork named after deneb", exit(deneb, Capella), capella},
		{"altair fork named after deneb", exit(deneb, Altair), capella},
		{"old exit signed after deneb", exit(1, Electra), capella},
		{"before deneb", exit(n.Forks[Bellatrix].Epoch, Bellatrix), domain(n.Forks[Bellatrix].Version)},
		{"before the fork", exit(n.Forks[Bellatrix].Epoch-1, Bellatrix), domain(n.Forks[Altair].Version)},
	}
	for _, c := range cases {
		if c.got != c.want {
			t.Errorf("%s: %x, want %x", c.name, c.got, c.want)
		}
	}
	n.Forks[Deneb] = ScheduledFork{Epoch: FarFutureEpoch} // a network without Deneb
	if got := (Duty{&VoluntaryExit{Epoch: FarFutureEpoch}, ForkInfo{CurrentVersion: Version{99}}}).Domain(n); got != computeDomain(domainVoluntaryExit, Version{99}, Root{}) {
		t.Errorf("without deneb: %x", got)
	}
}

func TestOtherNetworkRefused(t *testing.T) {
	n := network(t, "hoodi")
	d := Duty{Message: &RandaoReveal{1}, Fork: ForkInfo{GenesisValidatorsRoot: Root{1}}}
	if _, err := d.SigningRoot(n); !errors.Is(err, ErrNetwork) {
		t.Errorf("signed for another network: %v", err)
	}
	n.GenesisValidatorsRoot = nil
	if _, err := d.SigningRoot(n); err != nil {
		t.Errorf("before the root is pinned: %v", err)
	}
	if _, err := (Duty{Message: &ValidatorRegistration{}}).SigningRoot(network(t, "hoodi")); err != nil {
		t.Errorf("a kind without a fork: %v", err)
	}
}

func FuzzDecodeDuty(f *testing.F) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, k := range Kinds() {
		f.Add(EncodeDuty(randomDuty(r, k, mainnetPreset)))
		f.Add(EncodeDuty(randomDuty(r, k, minimalPreset)))
	}
	mainnet, minimal := network(f, "mainnet"), network(f, "mainnet")
	mainnet.GenesisValidatorsRoot, minimal.GenesisValidatorsRoot = nil, nil
	minimal.Preset = minimalPreset
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeDuty(b)
		if err != nil {
			return
		}
		if again := EncodeDuty(d); !bytes.Equal(again, b) {
			t.Fatalf("decoded %x, encoded %x", b, again)
		}
		for _, n := range []*Network{mainnet, minimal} {
			root, err := d.SigningRoot(n)
			if err == nil && root == (SigningRoot{}) {
				t.Fatal("zero signing root")
			}
		}
	})
}

func BenchmarkSigningRoot(b *testing.B) {
	n := network(b, "mainnet")
	d := randomDuty(rand.New(rand.NewPCG(1, 1)), KindAttestation, mainnetPreset)
	d.Fork.GenesisValidatorsRoot = *n.GenesisValidatorsRoot
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.SigningRoot(n); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCodec(b *testing.B) {
	d := randomDuty(rand.New(rand.NewPCG(1, 1)), KindAttestation, mainnetPreset)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeDuty(EncodeDuty(d)); err != nil {
			b.Fatal(err)
		}
	}
}
