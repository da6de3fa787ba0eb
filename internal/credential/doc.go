// Package credential is how a person signs for the ledger.
//
// Owns: [Signer] and where its key may be: a file sealed with a passphrase
// ([Generate], [Open]), an SSH agent ([FromAgent]), or an authenticator behind
// a browser, whose assertion [Assertion] turns into a signature; and how a
// passphrase is read.
//
// Never: verification (package ident's, where custody can have it too), a
// passphrase from arguments or the environment, or a private key that leaves
// its agent.
//
// Spec: age-encryption.org/v1 with a scrypt recipient, OpenSSH's
// PROTOCOL.sshsig and PROTOCOL.agent, Web Authentication Level 3.
//
// Start reading at Signer.
package credential
