// Package durable is how anything reaches the disk and is still there after
// a crash.
//
// Owns: atomic replacement of a file ([WriteFile]), the lock that keeps a
// second process out of a directory ([Lock]), and an append-only log with
// group commit ([Log]). Everything goes through the small interface [FS], so
// that package durabletest can fail, tear, lose or kill at every operation.
//
// Never: a retry after a failed write or fsync. The kernel may have dropped
// the dirty pages and report success the second time, so that what memory
// believes and what the disk holds have parted for good. The log is poisoned
// then and its owner must end the process.
//
// Never: the creation of something missing by opening it. Only [Create]
// creates a log; a log that is gone is [ErrMissing].
//
// Spec: the file format stands in frame.go.
//
// Start reading at Log.
package durable
