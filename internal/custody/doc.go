// Package custody is the isolated process that holds one operator's shares of
// one key domain, and the client by which the node talks to it.
//
// Owns: the shares and their use. A duty is signed only after the slashing
// record allows it and is durable; anything else only against a commit
// certificate that this package verifies itself, fresh by its own nonce. DKG
// runs here.
//
// Never: the network (a system call filter leaves it unix sockets only), the
// consensus engine, policy, or a word of the node that it cannot check.
//
// Spec: spec/custody.md (socket protocol), spec/ceremony.md.
//
// Start reading at Process (the server's side) and Client (the node's side).
package custody
