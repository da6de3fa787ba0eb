// Package opsapi is what operators and consoles ask a node, as JSON over HTTP.
//
// Owns: the routes under /v1, their types, the server and its Go [Client].
//
// Never: duties (signerapi), decisions (the ledger), or a secret in an answer.
// Reading needs no credentials where the server listens on loopback; changing
// anything, and reading over a network, needs the bearer token that lies in
// the node's home. The Host
// header must name the server, so that a web page cannot reach it by having
// its own name point here.
//
//	GET  /v1/status              the node, its peers and its custody processes
//	GET  /v1/keys                the inventory
//	GET  /v1/keys/{pubkey}       one key
//	GET  /v1/ceremonies          all ceremonies
//	GET  /v1/ceremonies/{id}     one ceremony
//	POST /v1/ceremonies          open a ceremony that makes new keys
//	GET  /v1/events?from=&limit= the audit log
//
// Start reading at Server and, for the shapes, types.go.
package opsapi
