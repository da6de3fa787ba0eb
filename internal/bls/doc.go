// Package bls is threshold BLS on BLS12-381, public keys in G1, as Ethereum
// signs.
//
// Owns: the typed keys, shares, partial signatures and signatures; signing,
// combining, verifying and finding who sent a bad partial; the group
// operations that ceremonies need (group.go, group_large.go). It alone imports blst.
//
// Never: a signature over bytes that the caller chose. Duties are signed over
// an [eth.SigningRoot], which only package eth can build from a duty, and
// confirmations of a ceremony under a domain-separation tag of our own, so
// that neither can be taken for the other. Never a conversion between [Share]
// and [SecretKey]: t shares are a key, one of them is not.
//
// Secret scalars stand in locked memory and meet only blst's constant-time
// operations (sign, Mult, sk_to_pk), which read them there; those of ceremonies
// meet comb.go as well, which is constant-time too (decision 0018). What is
// computed from public values (Lagrange weights, batch coefficients) may take
// as long as it likes.
//
// Points are checked once, where bytes become values: the Parse functions
// accept only canonical encodings of points in the prime-order subgroup other
// than the identity, so that no other function needs to check again.
//
// Spec: draft-irtf-cfrg-bls-signature-05, ciphersuite
// BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_; RFC 9380; EIP-2333.
//
// Start reading at Share and Combine.
package bls
