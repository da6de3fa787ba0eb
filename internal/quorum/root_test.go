package quorum

import "github.com/quorate/quorate/internal/eth"

var mainnet = func() *eth.Network {
	n, err := eth.LookupNetwork("mainnet")
	if err != nil {
		panic(err)
	}
	return n
}()

// root is the signing root of the RANDAO reveal of an epoch.
func root(epoch uint64) eth.SigningRoot {
	d := eth.Duty{Message: &eth.RandaoReveal{Epoch: epoch}}
	if mainnet.GenesisValidatorsRoot != nil {
		d.Fork.GenesisValidatorsRoot = *mainnet.GenesisValidatorsRoot
	}
	r, err := d.SigningRoot(mainnet)
	if err != nil {
		panic(err)
	}
	return r
}
