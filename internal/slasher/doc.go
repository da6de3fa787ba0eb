// Package slasher is the judge of our tests: it watches every signature that
// anybody emits, whole or partial, and finds the pairs that a chain would
// slash.
//
// Owns: the full history of what it saw, and the conditions of the
// consensus-specs, written down anew: is_slashable_attestation_data, and two
// headers of one slot as in process_proposer_slashing.
//
// Never: anything that a product links; a line shared with package slashing,
// whose mistakes it is there to find; forgetting.
//
// Spec: consensus-specs, phase0. A partial counts against the holder that made
// it. Where the sharing is known (Deal), t partials of one message count as
// the key's own signature, whether or not somebody combined them.
//
// Start reading at Slasher.
package slasher
