// Package slashing decides whether a duty may be signed, and remembers it.
//
// Owns: the rule ([Watermarks]), the fences and floors that hold when memory cannot
// be trusted, the durable [Record] in which every use of a key is
// written before its signature may leave the process, and the EIP-3076
// interchange of that history.
//
// Never: keys, shares or signatures; clocks (the caller brings [Bounds]); an
// allowed duty for want of a record; a watermark that goes down.
//
// Spec: EIP-3076, minimal strategy (docs/decisions/0009 says why no other). A
// record keeps, per key, the highest signed slot, source epoch and target
// epoch. A block must lie above the slot, an attestation above the target and
// not below the source; the one exception is the identical message, if it is
// the last one that this record itself allowed. The history is a value behind
// two pure functions, check and advance.
//
// A fence bars every slashable duty of a key until someone states what was
// signed at most; a floor is such a statement. Duties that cannot be slashed
// go on behind both. The floor over what other holders of the key signed is
// kept apart: it goes down when they have proven how far they went.
//
// Start reading at Record.
package slashing
