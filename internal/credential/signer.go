package credential

import (
	"context"

	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/wire"
)

// Signer signs as a member. Sign may wait for a person to touch something,
// for as long as ctx lets it.
type Signer interface {
	Public() ident.PublicKey
	Sign(ctx context.Context, tag wire.Tag, parts ...[]byte) ([]byte, error)
}

// FromKey signs with a key in memory.
func FromKey(key ident.PrivateKey) Signer { return inMemory{key} }

type inMemory struct{ key ident.PrivateKey }

func (s inMemory) Public() ident.PublicKey { return s.key.Public() }

func (s inMemory) Sign(_ context.Context, tag wire.Tag, parts ...[]byte) ([]byte, error) {
	return s.key.Sign(tag, parts...), nil
}
