// Package dkg makes threshold keys, new or imported, without any machine ever
// holding one (an importer excepted).
//
// Owns: the ceremony's parameters ([Params]) and messages; what the ledger
// keeps of it ([Board], a value that [Board.Apply] and [Board.Tick] turn into
// the next); and what a seat says in it ([Participant]). Both are sans-I/O
// and generic over BLS12-381 G1 and ristretto255.
//
// Never: a clock, a random source, a goroutine of its own, a log, or identity
// keys: who posts a message is the ledger's to know. Secret scalars meet
// constant-time code only, and the types that hold them do not print.
//
// The public outcome is [Result], the secret one [ShareOut]; nothing is both.
//
// Spec: spec/ceremony.md.
//
// Start reading at Participant.Next and Board.Apply.
package dkg
