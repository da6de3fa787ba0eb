// Package ledger is the state machine that all nodes run alike.
//
// Owns: what a transaction may change and when ([Parse] → [State.Verify] →
// [State.Apply]), the deadlines that pass with block time ([State.Begin]), the
// typed events, and the hash tree over them.
//
// Never: a clock, randomness, I/O, a goroutine, map order, a float, a share
// or a plaintext. Time and height come with the block.
//
// Compatibility: kinds, codes and event kinds keep their numbers for ever;
// a new meaning takes a new number. Golden bytes stand in spec/.
//
// Spec: spec/ledger.md.
//
// Start reading at State.Apply.
package ledger
