// Package quorum makes one signature out of the answers of many holders.
//
// Owns: whom to ask first, when to ask more, combining, the one verification
// before anything leaves (batched under load), and naming who answered falsely.
//
// Never: a share, a decision whether a duty may be signed (each holder makes
// its own), a transport, or a signature that was not verified.
//
// Spec: crypto.md, "Signing"; at most f holders lie, stop or are slow.
//
// Start reading at Signer.Sign.
package quorum
