// Package kem encrypts to a holder of a key so that the holder can later
// prove what it decrypted.
//
// Owns: Diffie-Hellman keys on ristretto255 ([SecretKey], [PublicKey]) with
// proofs of possession and of a correct shared point, the derandomised X-Wing
// leg that protects the same message against a quantum computer
// ([Encapsulate], [HybridKey]), and ristretto255 as a group to deal in
// ([Ristretto]).
//
// Never: randomness, clocks, or a symmetric cipher. Coins come from the
// caller, and nonces from the secret and the whole statement, so that the
// same inputs make the same bytes.
//
// Spec: spec/ceremony.md; RFC 9496 (ristretto255), draft-connolly-cfrg-xwing-kem.
//
// Start reading at SecretKey.
package kem
