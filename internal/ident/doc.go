// Package ident is who signs what goes on the ledger.
//
// Owns: identity keys of nodes, custody processes and members, and their
// signatures, always under a [wire.Tag]. Four suites, verified alike by the
// ledger, by custody and by auditors: Ed25519; Ed25519 together with
// ML-DSA-65, of which both halves must verify, so that a transcript stays
// unforgeable when either falls; keys of an SSH agent; and passkeys. The last
// two are for people, whose key never leaves an agent or an authenticator.
//
// Never: keys that hold value (those are shares, in custody), a signature
// over bytes without a tag, a parser where rebuilding the bytes will do, or
// two encodings of one signature: ECDSA counts with the smaller s only.
//
// Spec: spec/credentials.md, which rests on RFC 8032, FIPS 204 (pure ML-DSA,
// the tag as context string), OpenSSH's PROTOCOL.sshsig and PROTOCOL.u2f, Web
// Authentication Level 3 §5.8.1 and §7.2.
//
// Start reading at PublicKey.
package ident
