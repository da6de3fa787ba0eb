package ledger

import (
	"fmt"
	"strconv"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/proof"
	"github.com/quorate/quorate/internal/wire"
)

// This file gives ceremonies randomness that nobody knew, or could choose,
// when they fixed what it decides about: the beacon's output of the next
// height, brought by a transaction. Where there is no beacon, or it does not
// answer, the hash of a block has to do.

// patience is for how long a ceremony waits for the beacon, in milliseconds
// of block time.
const patience = 60 * 1000

func (s *State) outputPath(height uint64) proof.Path { return s.ns.Path("output", heightName(height)) }
func (s *State) awaitedPath(height uint64) proof.Path {
	return s.ns.Path("awaited", heightName(height))
}

func heightName(height uint64) string { return fmt.Sprintf("%016x", height) }

// Beacon returns the record of the cluster's beacon: of the newest key that
// was made for one. Nil where there is none.
func (s *State) Beacon() *action.KeyRecord {
	pk := s.Get(s.ns.Beacon())
	if pk == nil {
		return nil
	}
	return mustParse(s.Key(action.DomainValidator, pk))
}

// Output is the randomness of a height that the ledger took for its own use.
type Output struct {
	Key        []byte   // of the beacon; empty where it did not answer
	Signature  []byte   // of the round; empty likewise
	Randomness [32]byte // hash of the signature, or of a block
}

func (o Output) encode() []byte {
	var e wire.Encoder
	e.Bytes(o.Key)
	e.Bytes(o.Signature)
	e.Fixed(o.Randomness[:])
	return e.Out()
}

func parseOutput(b []byte) (o Output, err error) {
	d := wire.NewDecoder(b)
	o.Key, o.Signature = d.Bytes(bls.PublicKeySize), d.Bytes(bls.SignatureSize)
	d.Fixed(o.Randomness[:])
	return o, d.Finish()
}

// Output returns the output of a height that the ledger has used.
func (s *State) Output(height uint64) (Output, bool) {
	raw := s.Get(s.outputPath(height))
	if raw == nil {
		return Output{}, false
	}
	return mustParse(parseOutput(raw)), true
}

// awaited returns the key whose output of a height a ceremony waits for.
func (s *State) awaited(height uint64) (key []byte, ok bool) {
	key = s.Get(s.awaitedPath(height))
	return key, key != nil
}

// Awaited is a round of a beacon that ceremonies wait for.
type Awaited struct {
	Height uint64
	Key    [bls.PublicKeySize]byte
}

// Awaited returns the rounds that ceremonies wait for, by height.
func (s *State) Awaited() (rounds []Awaited) {
	prefix := s.ns.Prefix("awaited")
	s.iterate(prefix, func(path, key []byte) bool {
		height := mustParse(strconv.ParseUint(string(path[len(prefix):]), 16, 64))
		rounds = append(rounds, Awaited{height, [bls.PublicKeySize]byte(key)})
		return true
	})
	return rounds
}

// randomness returns what nobody knew while block after was made. It is false
// until that is there: ask again in each block, before its transactions.
func (s *State) randomness(ctx txContext, after uint64) (random [32]byte, ok bool) {
	if uint64(ctx.block.Height) <= after {
		return random, false
	}
	height := after + 1
	if out, ok := s.Output(height); ok {
		return out.Randomness, true
	}
	if _, waits := s.awaited(height); waits {
		return random, false
	}
	beacon := s.Beacon()
	if beacon == nil || beacon.State != action.KeyActive {
		return ctx.block.Hash, true
	}
	s.set(s.awaitedPath(height), beacon.PublicKey)
	s.wakeAt(ctx.block.Time+patience, dueBeacon, heightName(height))
	return random, false
}

// verifyOutput checks what a transaction brings: a round that a ceremony waits
// for, signed by the beacon.
func (s *State) verifyOutput(tx *Tx, b RoundOutput, seen *Seen) error {
	key, ok := s.awaited(b.Height)
	if !ok {
		return refuse(CodeConflict, "nothing waits for the beacon's output of height %d", b.Height)
	}
	if !seen.check(tx.hash, carried, key, func() bool { return VerifyOutput(s.cluster, key, b.Height, b.Signature[:]) }) {
		return refuse(CodeSigner, "the beacon did not sign height %d so", b.Height)
	}
	return nil
}

// VerifyOutput reports whether a signature is a beacon's of a height.
func VerifyOutput(cluster action.ClusterID, key []byte, height uint64, signature []byte) bool {
	pk, err := bls.ParsePublicKey(key)
	if err != nil {
		return false
	}
	sig, err := bls.ParseSignature(signature)
	return err == nil && bls.Verify(pk, bls.NewRound(cluster, height), sig)
}

func (s *State) takeOutput(ctx txContext, b RoundOutput) error {
	key, ok := s.awaited(b.Height)
	if !ok {
		return refuse(CodeConflict, "nothing waits for the beacon's output of height %d", b.Height)
	}
	out := Output{Key: key, Signature: b.Signature[:], Randomness: bls.Randomness(b.Signature[:])}
	s.settle(b.Height, out)
	s.record(ctx, Event{Kind: EventBeacon, Object: beaconName(b.Height), Detail: fmt.Sprintf("randomness %x", out.Randomness)})
	return nil
}

func (s *State) settle(height uint64, out Output) {
	s.set(s.outputPath(height), out.encode())
	s.delete(s.awaitedPath(height))
}

// beaconDue ends the wait for a beacon that did not answer.
func (s *State) beaconDue(ctx txContext, name string) {
	height := mustParse(strconv.ParseUint(name, 16, 64))
	if _, waits := s.awaited(height); !waits {
		return
	}
	s.settle(height, Output{Randomness: ctx.block.Hash})
	s.record(ctx, Event{Kind: EventBeaconMissed, Object: beaconName(height), Detail: "no output came in a minute: the hash of this block stands for it"})
}

func beaconName(height uint64) string { return fmt.Sprintf("beacon/%d", height) }
