// Package wire is the one canonical encoding.
//
// Owns: how a value becomes bytes and back ([Encoder], [Decoder]), the
// domain-separation tags ([Tag]) under which anything is hashed, signed or
// sealed, Merkle trees ([Tree]), and every size limit of the product
// (limits.go).
//
// Never: reflection, optional fields, maps, floats, or two encodings of one
// value. Integers are big-endian and of fixed width, variable parts carry a
// 32-bit length, and trailing bytes are an error. A decoder checks a length
// against its limit and against what is left before it allocates.
//
// Start reading at Encoder.
package wire
