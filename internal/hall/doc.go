// Package hall is where people take part, through a node, in a ceremony that
// the ledger holds.
//
// Owns: [Hall], which follows the logs of ceremonies among participants as any
// participant can, tells how far they have come, carries what participants
// signed to the ledger, also to nodes that take their key over, and keeps for
// them the ciphertexts that dealers send off the ledger.
//
// Never: a decision, a key or a share. What it says anyone can compute from
// the log, and nobody has to believe it: the last link is proven by the ledger.
//
// Spec: spec/assembly.md, "On a ledger".
//
// Start reading at Hall.Read and Hall.Say.
package hall
