// Package rehearsal plays a large ceremony on one machine: the real protocol
// with throw-away keys, among participants that are far away, late, absent or
// malicious.
//
// Owns: the simulated world (regions, latencies, who is absent, who breaks the
// protocol and how), the parallel run, and the scored report.
//
// Never: a key that counts. Ceremonies are exercises, named under a tag of
// their own; every seed follows from the rehearsal's, so that the same seed
// makes the same archive byte for byte. What the processor spent is measured
// and is the only part of a report that differs between runs.
//
// Spec: spec/assembly.md.
//
// Start reading at Run.
package rehearsal
