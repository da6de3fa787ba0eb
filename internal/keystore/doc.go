// Package keystore reads and writes the key files of Ethereum's wallets.
//
// Owns: EIP-2335 keystores ([Parse], [Decrypter], [Encrypt]) and the paths of
// EIP-2334 over the tree of EIP-2333 ([Path]).
//
// Never: a key at rest of our own. Quorate's shares are sealed by package
// seal; a keystore is how a whole key comes in, or leaves on a test network.
// Never parameters that were not checked: a keystore comes from outside and
// names the memory that reading it will take.
//
// A wrong password is [ErrPassword]; everything else that is wrong with a
// keystore is found by Parse, before anybody is asked for a password.
//
// Spec: EIP-2333, EIP-2334, EIP-2335 (version 4).
//
// Start reading at Parse.
package keystore
