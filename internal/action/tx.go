package action

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/wire"
)

// Kind is what a transaction asks for. Numbers are never used again.
type Kind uint16

const (
	KindFreshness       Kind = 1 // a custody process proves that the ledger it sees is the present one
	KindCeremonyMessage Kind = 3
	KindUsage           Kind = 4  // digest of what custody signed
	KindRequest         Kind = 5  // asks for an action
	KindTick            Kind = 6  // makes a block, so that a deadline passes on an idle ledger
	KindRegistration    Kind = 7  // a custody process has started
	KindLease           Kind = 8  // it may go on signing for a while
	KindDecision        Kind = 9  // a member approves, vetoes or cancels a request
	KindAssembly        Kind = 10 // a participant says something in a ceremony among participants
	KindAssemblySeal    Kind = 11 // or seals what was said, once it ended
	KindStop            Kind = 14 // a custody process signs no more with shares that a reshare replaced
	KindOutput          Kind = 15 // a beacon's output of a height, for which a ceremony waits
	KindDealing         Kind = 16 // a participant says something to the nodes that take its key over
)

// SignerClass says in which table of the ledger a signer's key stands.
type SignerClass uint8

const (
	SignerNode   SignerClass = 1
	SignerMember SignerClass = 2
)

// Signer names who signed a transaction.
type Signer struct {
	Class SignerClass
	Name  string
}

func (s Signer) String() string {
	switch s.Class {
	case SignerNode:
		return "node/" + s.Name
	case SignerMember:
		return "member/" + s.Name
	}
	return "unknown/" + s.Name
}

// Tx is the envelope of every transaction. It holds for one cluster, counts
// once (Nonce), and carries the salt under which its events are committed to,
// so that their bodies can be erased later.
type Tx struct {
	Cluster   ClusterID
	Kind      Kind
	Signer    Signer
	Nonce     uint64
	Salt      [16]byte
	Body      []byte
	Signature []byte
}

const txVersion = 1

// Unsigned returns what the signer signs under wire.TagTx: all but the
// signature.
func (tx *Tx) Unsigned() []byte {
	var e wire.Encoder
	e.U8(txVersion)
	e.Fixed(tx.Cluster[:])
	e.U16(uint16(tx.Kind))
	e.U8(uint8(tx.Signer.Class))
	e.String(tx.Signer.Name)
	e.U64(tx.Nonce)
	e.Fixed(tx.Salt[:])
	e.Bytes(tx.Body)
	return e.Out()
}

// Sign fills in the signature and returns the transaction's bytes.
func (tx *Tx) Sign(key ident.PrivateKey) []byte {
	return tx.Signed(key.Sign(wire.TagTx, tx.Unsigned()))
}

// Signed takes a signature over Unsigned, made elsewhere, and returns the
// transaction's bytes.
func (tx *Tx) Signed(signature []byte) []byte {
	tx.Signature = signature
	return tx.Raw()
}

// Raw returns the canonical bytes, with the signature as it is.
func (tx *Tx) Raw() []byte {
	e := wire.NewEncoder(tx.Unsigned())
	e.Bytes(tx.Signature)
	return e.Out()
}

// VerifySignature checks the signature under the signer's key. That the key
// is the signer's, the caller knows from the ledger.
func (tx *Tx) VerifySignature(pk ident.PublicKey) error {
	return pk.Verify(tx.Signature, wire.TagTx, tx.Unsigned())
}

// Hash names the transaction, signature and all.
func (tx *Tx) Hash() [32]byte { return HashTx(tx.Raw()) }

// HashTx names a transaction, whether it parses or not.
func HashTx(raw []byte) [32]byte { return sha256.Sum256(raw) }

// ParseTx reads a transaction and checks its shape, nothing else.
func ParseTx(raw []byte) (*Tx, error) {
	if len(raw) > wire.MaxTx {
		return nil, fmt.Errorf("parse transaction: %d bytes are over the limit of %d", len(raw), wire.MaxTx)
	}
	var tx Tx
	d := wire.NewDecoder(raw)
	if v := d.U8(); d.Err() == nil && v != txVersion {
		d.Fail(fmt.Errorf("version %d", v))
	}
	d.Fixed(tx.Cluster[:])
	tx.Kind = Kind(d.U16())
	tx.Signer.Class = SignerClass(d.U8())
	tx.Signer.Name = d.String(wire.MaxName)
	tx.Nonce = d.U64()
	d.Fixed(tx.Salt[:])
	tx.Body = d.Bytes(wire.MaxTx)
	tx.Signature = d.Bytes(ident.MaxSignature)
	if d.Err() == nil {
		d.Fail(CheckName("signer", tx.Signer.Name))
		if tx.Signer.Class != SignerNode && tx.Signer.Class != SignerMember {
			d.Fail(fmt.Errorf("signer class %d", tx.Signer.Class))
		}
		if tx.Nonce == 0 {
			d.Fail(errors.New("nonce is zero"))
		}
	}
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("parse transaction: %w", err)
	}
	return &tx, nil
}

// CeremonyParts is what a custody process signs, under TagCeremonyMessage, of
// a message that it has the ledger post for its seat.
func CeremonyParts(ceremony [32]byte, seat uint16, message []byte) [][]byte {
	return [][]byte{ceremony[:], {byte(seat >> 8), byte(seat)}, message}
}
