// Package eth turns what a validator is asked to sign into what it signs.
//
// Owns: the message of every kind that the signing APIs know ([Duty],
// [Message], [Kind]), its one canonical encoding ([EncodeDuty]), its
// hash-tree-root, its domain and so its [SigningRoot]; what of it can be
// slashed ([Slashable]); and the constants of a network ([Network]).
//
// Never: keys, signatures, slashing decisions, JSON, YAML, files, clocks. No
// other package can build a SigningRoot, so nothing else can be signed.
//
// Every container is defined once, in Visit, with the names and the order of
// its specification. Hashing, encoding, decoding and (in package signerapi)
// parsing JSON are each a [Visitor] over that definition.
//
// Every share-holder recomputes the signing root from the duty, so a duty is
// compact: a block is its header, whose body root was computed where the
// request was parsed ([BeaconBlock.Header]), and a Gloas envelope or bid holds
// its large parts by their roots. For all of them the object root is the same.
//
// Spec: consensus-specs v1.7.0-alpha.13 (SSZ with EIP-7495 and EIP-7916, phase0
// to gloas), builder-specs, remote-signing-api v1.4.0, EIP-7044. Gloas is not
// final; what changes there changes here.
//
// Start reading at Duty.
package eth
