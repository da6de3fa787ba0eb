// Package ident is who signs what goes on the ledger.
//
// Owns: identity keys of nodes, custody processes and members, and their
// signatures, always under a [wire.Tag]. Two suites: Ed25519, and Ed25519
// together with ML-DSA-65, of which both halves must verify, so that a
// transcript stays unforgeable when either falls.
//
// Never: keys that hold value (those are shares, in custody), or a signature
// over bytes without a tag.
//
// Spec: RFC 8032, FIPS 204 (pure ML-DSA, the tag as context string).
//
// Start reading at PublicKey.
package ident
