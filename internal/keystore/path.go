package keystore

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/quorate/quorate/internal/bls"
	"github.com/quorate/quorate/internal/secret"
)

// Path leads from the root of an EIP-2333 tree to a key, as EIP-2334 writes
// it: m/12381/coin/account/use/...
type Path []uint32

const (
	purpose  = 12381
	coinType = 3600 // Ethereum's consensus layer

	minLevels = 4
	maxLevels = 16
)

// WithdrawalPath and SigningPath are the two keys of one validator.
func WithdrawalPath(account uint32) Path { return Path{purpose, coinType, account, 0} }
func SigningPath(account uint32) Path    { return Path{purpose, coinType, account, 0, 0} }

// ParsePath reads the canonical text form.
func ParsePath(s string) (Path, error) {
	refuse := func(why string) (Path, error) {
		return nil, fmt.Errorf("parse path %.64q: %s", s, why)
	}
	parts := strings.Split(s, "/")
	if parts[0] != "m" {
		return refuse(`it does not begin with "m"`)
	}
	parts = parts[1:]
	if len(parts) < minLevels || len(parts) > maxLevels {
		return refuse(fmt.Sprintf("%d levels, want %d to %d", len(parts), minLevels, maxLevels))
	}
	path := make(Path, len(parts))
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil || strconv.FormatUint(n, 10) != part {
			return refuse("a level is not a number below 2^32")
		}
		path[i] = uint32(n)
	}
	if path[0] != purpose {
		return refuse(fmt.Sprintf("purpose %d, want %d", path[0], purpose))
	}
	return path, nil
}

func (p Path) String() string {
	var b strings.Builder
	b.WriteByte('m')
	for _, n := range p {
		b.WriteByte('/')
		b.WriteString(strconv.FormatUint(uint64(n), 10))
	}
	return b.String()
}

// Derive walks from the master key of seed to the key at p.
func (p Path) Derive(seed secret.Bytes) (bls.SecretKey, error) {
	key, err := bls.DeriveMaster(seed)
	if err != nil {
		return bls.SecretKey{}, fmt.Errorf("derive %s: %w", p, err)
	}
	for _, n := range p {
		child := key.DeriveChild(n)
		key.Destroy()
		key = child
	}
	return key, nil
}
