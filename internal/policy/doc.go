// Package policy decides who may request, approve, veto and execute what, and
// on which terms.
//
// Owns: the policy document (YAML with permissions in Cedar and conditions in
// CEL), its compilation with errors that point at line and column, the pure
// decisions that the ledger takes with it ([Policy.May], [Policy.Terms]), and
// what people need to trust a change: plain language, difference, examples,
// and the refusal of a policy that locks everyone out.
//
// Never: clocks, time zone databases, I/O, or a decision that two machines
// could take differently. What does not compile decides nothing; what no
// statement permits, or no tier covers, is forbidden. Cedar and CEL are cut
// down to parts that cannot fail or run long: no arithmetic, floats, loops or
// regular expressions.
//
// Spec: spec/policy.md; testdata/example.yaml shows all that can be said.
//
// Start reading at Compile and Query.
package policy
