// Package node is one operator's node: the consensus engine, the ledger it
// runs, and what the node does by itself with both.
//
// Owns: the ABCI adapter (the only importer of CometBFT), signing and
// following the node's own transactions, commit certificates for custody,
// carrying ceremonies forward between the ledger and custody, and the order
// in which all of it starts and stops.
//
// Never: a share. What it knows it can lose to an intruder without losing a key.
//
// Spec: spec/ledger.md.
//
// Start reading at Node.Run.
package node
