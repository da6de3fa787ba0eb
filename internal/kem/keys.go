package kem

import "github.com/quorate/quorate/internal/wire"

// Keys are what a seat joins a ceremony with, for this ceremony alone.
type Keys struct {
	Key        PublicKey
	Possession Proof
	HybridKey  []byte // hybrid only
}

// Encode appends the keys.
func (k *Keys) Encode(e *wire.Encoder) {
	e.Fixed(k.Key.Bytes())
	e.Fixed(k.Possession[:])
	e.Bytes(k.HybridKey)
}

// ReadKeys reads what Encode wrote. The proof is for the ceremony to check.
func ReadKeys(d *wire.Decoder) Keys {
	k := Keys{Key: ReadPublicKey(d)}
	d.Fixed(k.Possession[:])
	k.HybridKey = d.Bytes(HybridKeySize)
	if len(k.HybridKey) > 0 && d.Err() == nil {
		d.Fail(CheckHybridKey(k.HybridKey))
	}
	return k
}

// ReadPublicKey reads a key where it stands in a message.
func ReadPublicKey(d *wire.Decoder) PublicKey {
	var b [PointSize]byte
	d.Fixed(b[:])
	if d.Err() != nil {
		return PublicKey{}
	}
	k, err := ParsePublicKey(b[:])
	d.Fail(err)
	return k
}
