// Package peer carries calls between the nodes of a cluster.
//
// Owns: the authenticated channel (TLS 1.3 alone, both sides by pinned
// Ed25519 keys, X25519MLKEM768 alone, no resumption), one kept-alive
// connection to each peer for calling it, and knowing who answers.
//
// Never: certificate authorities, names in certificates, a queue for a peer
// that is away, or what a method means. A node that is on nobody's roster
// gets no further than the handshake.
//
// Spec: RFC 8446, ALPN "quorate/1"; inside it the frames of package rpc, the
// one who dialled being the client. Two nodes that call each other hold two
// connections.
//
// Start reading at Mesh.
package peer
