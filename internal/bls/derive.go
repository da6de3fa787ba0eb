package bls

import (
	"fmt"

	blst "github.com/supranational/blst/bindings/go"

	"github.com/quorate/quorate/internal/secret"
)

// DeriveMaster is EIP-2333's derive_master_SK. The seed has at least 32 bytes.
func DeriveMaster(seed secret.Bytes) (SecretKey, error) {
	var k SecretKey
	ok := seed.Expose(func(ikm []byte) {
		if len(ikm) >= 32 {
			k = takeKey(blst.DeriveMasterEip2333(ikm))
		}
	})
	if !ok || k.scalar.Len() == 0 {
		return SecretKey{}, fmt.Errorf("derive master key: seed of %d bytes, want 32 or more", seed.Len())
	}
	return k, nil
}

// DeriveChild is EIP-2333's derive_child_SK; the zero key for a destroyed parent.
func (k SecretKey) DeriveChild(index uint32) SecretKey {
	var child SecretKey
	k.scalar.Expose(func(b []byte) { child = takeKey(blstScalar(b).DeriveChildEip2333(index)) })
	return child
}
