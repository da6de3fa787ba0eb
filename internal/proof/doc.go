// Package proof decides what the ledger has said, for a process that runs no
// ledger of its own.
//
// Owns: the light client's view of a CometBFT 0.40 chain ([Header],
// [ValidatorSet], [Commit], [Client]), inclusion and absence under an IAVL
// root ([Inclusion], [Absence]), the preimage of the AppHash ([State]), the
// one artefact that carries all of it ([Certificate]), the judgement whether
// a certificate is recent ([Freshness]), and the names of things on the
// ledger ([Path]).
//
// Never: a clock (time comes from headers, elapsed time from the caller), I/O,
// a third-party module, or a value that was not proven. A [Verified] is the
// only thing that yields values, and only [Client.Verify] makes one.
//
// Trust: a client starts from the genesis validators and follows every change
// of the set through a header that the previous set committed. A commit needs
// more than two thirds of the power. Whoever holds two thirds of a set's keys
// can forge for that set; the trusting period bounds how far ahead of the last
// verified header such keys still count.
//
// Spec: CometBFT "core data structures" and "light client"; IAVL v1 node
// hashing; ICS-23 for the soundness rules of inclusion.
//
// Start reading at Certificate, then Client.Verify.
package proof
