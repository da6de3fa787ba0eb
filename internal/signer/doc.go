// Package signer turns a duty into a signature: allowed, then asked of the
// holders.
//
// Owns: the way from a parsed duty to a verified signature, on the side of
// the node that was asked and of the nodes it asks; the keys of the ledger
// with their points parsed; getting the proof that custody wants for what is
// no everyday duty.
//
// Never: the decision whether a duty may be signed (each custody process makes
// its own), HTTP, or a consensus round on the way of a duty.
//
// Spec: design.md, flow "Sign", as ARCHITECTURE.md has it.
//
// Start reading at Signer.Sign.
package signer
