// Package verify checks the evidence of a Quorate cluster, with nothing in hand
// but the genesis file: audit logs, receipts, checkpoints. What ceremonies
// leave is package transcript's.
//
// Owns: a second implementation of spec/evidence.md and of what it rests on
// (the canonical encoding, CometBFT's headers and commits, RFC 6962, signed
// notes), written from the specifications.
//
// Never: a network, a clock, or a line of the product's code. Both judge the
// files in spec/vectors alike; a test forbids importing the product.
//
// Memory does not grow with a log: it is read once, through one buffer.
//
// Start reading at Genesis.Check.
package verify
