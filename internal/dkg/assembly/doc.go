// Package assembly makes one BLS key among up to 4096 participants, most of
// whom never deal.
//
// Owns: the parameters ([Params]) and messages of a large ceremony; its public
// state ([Board]), a function of what was posted; what a participant says in
// it ([Participant]); the two transcripts, [Archive] for blame and replay, which
// a [Follower] follows while it grows, and [Certificate], which alone proves
// that a key is shared as it says; and [Federation], which joins ceremonies
// without joining their keys.
//
// Never: a clock, a random source, a goroutine or a log. Secret scalars meet
// constant-time code only; multi-scalar multiplications see public points.
//
// It differs from package dkg where thousands differ from sixteen: dealers are
// drawn, a dealing publishes a point for every participant, so that each reads
// 80 bytes of it, and nobody is asked to answer whom the others do not need
// (docs/decisions/0013-large-ceremonies-publish-every-point.md).
//
// Spec: spec/assembly.md, spec/transcript.md.
//
// Start reading at Board.Apply and Participant.Deal; Verify checks the files.
package assembly
