// Package qr carries small files over an air gap, as pictures.
//
// Owns: frames, the texts that a file is cut into, each with its number, how
// many there are, and a hash of all ([Frames], [Join]); and QR codes of them,
// on a terminal, as PNG, and read from PNG and JPEG ([Terminal], [PNG],
// [Read]).
//
// Never: a secret, or a judgement on what it carries. The hash is there to
// keep pictures of different files apart, and proves nothing.
//
// Spec: spec/participants.md.
//
// Start reading at Frames.
package qr
