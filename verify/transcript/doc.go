// Package transcript verifies what ceremonies leave a second time: archives,
// certificates and federations of those among thousands, and archives and
// certificates of those on a ledger.
//
// Owns: a second implementation of spec/transcript.md, and of what it rests on
// in spec/assembly.md and spec/ceremony.md, written from these pages. It
// shares the product's vectors and none of its code; points of BLS12-381 are
// of another library, too.
//
// Never: a secret. Everything here is public, so that arithmetic may take as
// long as it likes.
//
// Start reading at Verify.
package transcript
