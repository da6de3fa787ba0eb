// Package store keeps the ledger's state on disk: the authenticated key-value
// state, the bodies that it names by hash, and the history of both.
//
// Owns: the IAVL tree and its root, the same state as plain pairs for reading,
// bodies, one record per block, proofs about the last blocks, and snapshots
// for nodes that join. What is staged for a block becomes durable in one
// atomic, synced write: after a crash the store is at that block or at the one
// before it, never between and never ahead. CometBFT replays what is missing.
//
// Never: what a value means, or whether a block is valid. It links no
// consensus engine.
//
// A failed write is final. The disk's state is then unknown, so every later
// call fails and the process must stop; a restart finds out.
//
// Spec: IAVL v1 (cosmos/iavl v1.3.5); proofs in package proof's form.
//
// Start reading at Store.
package store
