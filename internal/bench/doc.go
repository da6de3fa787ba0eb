// Package bench measures the product beside its own limits: each figure
// stands with what the cryptography and the disk alone cost, measured in the
// same run on the same cores, so that a busy or slow machine moves both.
//
// Owns: the report's form; the load on a running cluster; what processes cost
// by the kernel's accounts; the primitives that are the limits.
//
// Never: a shortcut past the product. A signature is counted when a client
// had it over HTTP, with every slashing record on disk. A cluster is given to
// it, and it never touches one that guards value: its duties burn the keys'
// future.
//
// Spec: design.md, "Contracts": `quorate bench`.
//
// Start reading at Sign, Ceremony and Commit.
package bench
