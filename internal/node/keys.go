package node

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"

	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/seal"
	"github.com/quorate/quorate/internal/secret"
)

// Files of a home.
const (
	fileRoot    = "seal.root"
	fileKeys    = "node.sealed"
	fileGenesis = "genesis.json"
)

// domainNode keeps the node's own keys apart from every key domain.
const domainNode action.Domain = "node"

// keys are what the node proves itself with. None of them is worth anything
// without custody.
type keys struct {
	identity ident.PrivateKey
	vote     secret.Bytes // seed of the consensus key
}

// exposeVote returns the consensus key as CometBFT wants it.
func (k keys) exposeVote() (key cmted25519.PrivKey) {
	k.vote.Expose(func(seed []byte) { key = cmted25519.PrivKey(ed25519.NewKeyFromSeed(seed)) })
	return key
}

// InitKeys makes a node's keys, sealed, in its home, and returns the public
// halves. It refuses a home that has some.
func InitKeys(home string) (identity ident.PublicKey, vote action.HexKey, err error) {
	fail := func(err error) (ident.PublicKey, action.HexKey, error) {
		return ident.PublicKey{}, action.HexKey{}, fmt.Errorf("init node keys: %w", err)
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return fail(err)
	}
	if err := seal.InitRoot(filepath.Join(home, fileRoot)); err != nil {
		return fail(err)
	}
	sealer, err := nodeSealer(home)
	if err != nil {
		return fail(err)
	}
	id, idSeed, err := ident.Generate(ident.Ed25519MLDSA65, rand.Reader)
	if err != nil {
		return fail(err)
	}
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fail(err)
	}
	// The identity names the record; its seed and the vote's follow each other.
	h := seal.Header{Kind: seal.KindIdentity, Domain: domainNode, Namespace: "root", Key: id.Public().Bytes()}
	sealed, err := seal.SealRecord(sealer, h, secret.New(append(idSeed, priv.Seed()...)))
	if err != nil {
		return fail(err)
	}
	if err := durable.WriteOSFile(filepath.Join(home, fileKeys), sealed, 0o600); err != nil {
		return fail(err)
	}
	return id.Public(), action.HexKey(pub), nil
}

func nodeSealer(home string) (*seal.Key, error) {
	root, err := seal.ReadRoot(filepath.Join(home, fileRoot))
	if err != nil {
		return nil, fmt.Errorf("%w (hint: quorate node init makes it)", err)
	}
	defer root.Destroy()
	return root.Key(action.ClusterID{}, domainNode)
}

func loadKeys(home string) (keys, error) {
	sealer, err := nodeSealer(home)
	if err != nil {
		return keys{}, err
	}
	raw, err := durable.ReadFile(durable.OS{}, filepath.Join(home, fileKeys), 16<<10)
	if err != nil {
		return keys{}, fmt.Errorf("load node keys: %w", err)
	}
	header, seeds, err := seal.OpenRecord(sealer, raw)
	if err != nil {
		return keys{}, fmt.Errorf("load node keys: %w", err)
	}
	defer seeds.Destroy()
	if seeds.Len() != ident.SeedSize+ed25519.SeedSize || len(header.Key) == 0 {
		return keys{}, fmt.Errorf("load node keys: %d bytes of seeds", seeds.Len())
	}
	var k keys
	seeds.Expose(func(b []byte) {
		if k.identity, err = ident.FromSeed(ident.Suite(header.Key[0]), b[:ident.SeedSize]); err == nil {
			k.vote = secret.New(append([]byte(nil), b[ident.SeedSize:]...))
		}
	})
	return k, err
}
