// Package cli is the command line: quorate NOUN VERB.
//
// Owns: commands and their flags, what they print, exit codes and hints; the
// assembly of a node process from its home; and the supervisor behind
// `quorate dev`, which runs a whole cluster on one machine.
//
// Never: a decision about keys, ledgers or duties, or a secret in argv, the
// environment or an output.
//
// Exit codes: 0 done, 1 failed, 2 bad use, 3 denied by policy, 4 waiting for
// approval, 5 not found, 6 unavailable. An error ends with a hint that names
// the next command, where there is one.
//
// Start reading at Main; the cluster of `quorate dev` at devCluster.
package cli
