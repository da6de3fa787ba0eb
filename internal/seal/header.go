package seal

import (
	"errors"
	"fmt"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// Kind says what a record holds.
type Kind uint8

const (
	KindShare    Kind = 1 // a scalar of the curve, 32 bytes
	KindIdentity Kind = 2 // the seed of a custody process's identity key
	KindSeed     Kind = 3 // what a seat's coins in one ceremony follow from; Key is the ceremony
	KindImport   Kind = 4 // a whole key that waits to be dealt; Key is its public key
	KindNext     Kind = 5 // a share of an epoch that is not committed: it signs nothing
	KindHandover Kind = 6 // no secret: the shares that a ceremony replaced were given up, and whether they were here; Key is the ceremony
	KindRetired  Kind = 7 // a share of an epoch that others have left: it signs no more
	KindBeacon   Kind = 8 // a share that signs rounds of a beacon, and nothing else
)

// Header says whose secret a record holds. All of it is associated data of
// the seal. Records live long: fields are never removed or reordered; another
// layout takes another format version.
type Header struct {
	Kind      Kind
	Cluster   action.ClusterID
	Domain    action.Domain
	Namespace string
	Exercise  bool         // made in a rehearsal: never counts as real
	Key       []byte       // public key to which the secret belongs
	Curve     action.Curve // of a share; 0 otherwise, as all below
	Epoch     uint32       // of the sharing
	N, T, X   uint16       // holders, threshold, index of this share
}

const (
	magic         = "QRTS"
	formatVersion = 1
)

// check refuses what no writer may write and no reader may trust.
func (h Header) check() error {
	if h.Domain == "" || len(h.Domain) > wire.MaxName {
		return fmt.Errorf("domain of %d bytes, want 1 to %d", len(h.Domain), wire.MaxName)
	}
	if h.Namespace == "" || len(h.Namespace) > wire.MaxName {
		return fmt.Errorf("namespace of %d bytes, want 1 to %d", len(h.Namespace), wire.MaxName)
	}
	switch h.Kind {
	case KindShare, KindBeacon, KindNext, KindRetired:
		size := h.Curve.PublicKeySize()
		if size == 0 {
			return fmt.Errorf("unknown curve %d", h.Curve)
		}
		if len(h.Key) != size {
			return fmt.Errorf("key of %d bytes, want %d", len(h.Key), size)
		}
		if h.X < 1 || h.X > h.N || h.T < 1 || h.T > h.N {
			return fmt.Errorf("share %d of a %d-of-%d sharing", h.X, h.T, h.N)
		}
	case KindIdentity, KindSeed, KindImport, KindHandover:
		if len(h.Key) == 0 || len(h.Key) > wire.MaxSealedKey {
			return fmt.Errorf("key of %d bytes, want 1 to %d", len(h.Key), wire.MaxSealedKey)
		}
		if h.Curve != 0 || h.Epoch != 0 || h.N != 0 || h.T != 0 || h.X != 0 {
			return errors.New("only a share is of a sharing")
		}
	default:
		return fmt.Errorf("unknown kind %d", h.Kind)
	}
	return nil
}

func (h Header) encode(e *wire.Encoder) {
	e.Fixed([]byte(magic))
	e.U8(formatVersion)
	e.U8(uint8(h.Kind))
	e.Fixed(h.Cluster[:])
	e.String(string(h.Domain))
	e.String(h.Namespace)
	e.Bool(h.Exercise)
	e.Bytes(h.Key)
	e.U8(uint8(h.Curve))
	e.U32(h.Epoch)
	e.U16(h.N)
	e.U16(h.T)
	e.U16(h.X)
}

func decodeHeader(d *wire.Decoder) Header {
	var (
		h  Header
		is [len(magic)]byte
	)
	d.Fixed(is[:])
	if d.Err() == nil && string(is[:]) != magic {
		d.Fail(errors.New("not a sealed record"))
	}
	if v := d.U8(); d.Err() == nil && v != formatVersion {
		d.Fail(fmt.Errorf("format version %d, want %d", v, formatVersion))
	}
	h.Kind = Kind(d.U8())
	d.Fixed(h.Cluster[:])
	h.Domain = action.Domain(d.String(wire.MaxName))
	h.Namespace = d.String(wire.MaxName)
	h.Exercise = d.Bool()
	h.Key = d.Bytes(wire.MaxSealedKey)
	h.Curve = action.Curve(d.U8())
	h.Epoch = d.U32()
	h.N, h.T, h.X = d.U16(), d.U16(), d.U16()
	if d.Err() == nil {
		d.Fail(h.check())
	}
	return h
}

// associated is what a seal authenticates beside the secret: the tag and the
// header's very bytes.
func (h Header) associated() []byte {
	var e wire.Encoder
	e.String(string(wire.TagSeal))
	h.encode(&e)
	return e.Out()
}

// SealRecord seals value under its header. The record stands for itself: it may
// be stored anywhere.
func SealRecord(s Sealer, h Header, value secret.Bytes) ([]byte, error) {
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("seal record: %w", err)
	}
	if n := value.Len(); n < 1 || n > wire.MaxSealedSecret {
		return nil, fmt.Errorf("seal record: secret of %d bytes, want 1 to %d", n, wire.MaxSealedSecret)
	}
	sealed, err := s.Seal(h.associated(), value)
	if err != nil {
		return nil, err
	}
	var e wire.Encoder
	h.encode(&e)
	e.Bytes(sealed)
	return e.Out(), nil
}

// OpenRecord opens what SealRecord made. The caller compares the header with
// what it asked for.
func OpenRecord(s Sealer, record []byte) (Header, secret.Bytes, error) {
	h, sealed, err := parseRecord(record)
	if err != nil {
		return Header{}, secret.Bytes{}, err
	}
	value, err := s.Open(h.associated(), sealed)
	if err != nil {
		return Header{}, secret.Bytes{}, err
	}
	return h, value, nil
}

// maxSealed leaves room for what a device's own format may add.
const maxSealed = wire.MaxSealedSecret + 1<<10

func parseRecord(record []byte) (h Header, sealed []byte, err error) {
	d := wire.NewDecoder(record)
	h = decodeHeader(d)
	sealed = d.Bytes(maxSealed)
	if err := d.Finish(); err != nil {
		return Header{}, nil, fmt.Errorf("parse sealed record: %w", err)
	}
	return h, sealed, nil
}
