// Package transcript verifies certificates of large ceremonies a second time:
// written from spec/assembly.md and spec/transcript.md, on other libraries
// than the product, sharing its vectors and none of its code.
//
// Everything in it is public, so that arithmetic may take as long as it likes.
//
// Start reading at Verify.
package transcript
