// Package signerapi is the HTTP face of the validator domain: Web3Signer's
// ETH2 signing API and the Ethereum Keymanager API, on one port.
//
// Owns: routes, statuses and bodies as validator clients know them, the strict
// reading of sign requests, authentication of callers (bearer token, client
// certificate, Host), the bounds that keep slow, large or many requests from
// hurting the node, and the metric names that Web3Signer's dashboards use.
//
// Never: a share, a whole key, the slashing decision, or a signature that it
// made itself. A request becomes a typed duty whose signing root is computed
// here, and that duty, not the root that the client claims, is what the
// [Signer] is asked for.
//
// Where Web3Signer and sense differ, Web3Signer wins as far as clients can
// notice: a signing root that contradicts the duty is 500 (400 with Strict),
// and the signature is text unless the request's Accept names JSON or */*.
// Three things are stricter: the identifier is 0x and 96 lower-case digits,
// browsers of other origins are refused, and an error always has a JSON body.
//
// Spec: Web3Signer's OpenAPI description, remote-signing-api v1.4.0 and
// keymanager-APIs. Remote keys are the one part of the latter that has no
// meaning for a signer without remote signers of its own: see remotekeys.go.
//
// Start reading at Server.ServeHTTP, then Server.sign and ParseSignRequest.
package signerapi
