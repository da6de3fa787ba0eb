// Package secret holds secret bytes so that they do not leave by accident.
//
// Owns: [Bytes], an opaque holder in locked memory; [Redacted], which makes
// any type that embeds it refuse to print, log or marshal itself; [Wipe]; and
// [Harden], which keeps the process out of core dumps and debuggers.
//
// Never: cryptography, files, or a second way out. Bytes leave a holder
// through the one word Expose, whose callers a test can list.
//
// Wiping is best effort: the garbage collector, the stack and cgo make copies
// that nobody can reach. What this package adds is that the long-lived copy
// stands in memory that is neither swapped nor dumped, and outside the Go heap.
//
// Start reading at Bytes.
package secret
