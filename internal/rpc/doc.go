// Package rpc carries calls over one connection, many at a time.
//
// Owns: the frame, the request ids, the [Code] a refusal crosses the wire
// with, and the bounds that keep a slow or hostile peer from growing memory.
//
// Never: who the peer is (package peer, or the permissions of a socket), what
// a method means, or net/http and crypto/tls, because custody links it.
//
// Spec: a frame is five fields in the encoding of package wire:
//
//	kind U8 | id U64 | word U16 | body Bytes
//
// A request's word is its method, a reply's its code: 0 with a result as
// body, anything else with the error's text. A cancel frame has the id of the
// request it withdraws, whose reply may then come or not. Ids are the
// client's and serve once. Method 0 is answered by the server itself with an
// empty body: a call to it proves only that the peer runs.
//
// Start reading at Client.Call and Serve.
package rpc
