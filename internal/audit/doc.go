// Package audit turns the ledger's event log into evidence.
//
// Owns: the log's tree as tiles and proofs ([Tile], [Inclusion],
// [Consistency]), checkpoints and who has to sign them ([Signatories]), the
// audit log file ([WriteLog], [VerifyLog]), receipts ([Receipt]), and the log
// as JSON Lines and CSV ([WriteLines], [WriteCSV]).
//
// Never: keys, a network, or a decision. It writes what the ledger recorded,
// and what it verifies it verifies with package proof.
//
// Spec: spec/evidence.md; C2SP signed-note, tlog-checkpoint, tlog-cosignature,
// tlog-tiles. Module verify/ is a second implementation that shares
// spec/vectors/ and no code.
//
// Start reading at WriteLog, then VerifyLog.
package audit
