// Package action says what may be asked of a cluster, in canonical bytes.
//
// Owns: the genesis document and with it the cluster's identity, the
// transaction envelope, the actions that need a grant, the records that the
// ledger keeps and custody reads (nodes, keys, grants), and safe thresholds.
//
// Never: transitions (internal/ledger decides), signatures on duties, I/O.
//
// Spec: spec/ledger.md.
//
// Start reading at Tx and Genesis.
package action
