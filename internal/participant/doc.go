// Package participant is one seat of a ceremony among thousands, held by
// somebody who runs no node.
//
// Owns: what a participant is handed ([Invitation]); what it keeps ([Seat]):
// its seed and its share, sealed, and the ceremony's log as far as the ledger
// proved it; what goes to it and comes from it ([Bundle], [Reply]), over a
// network or on paper; how long phases have to last for people in many time
// zones ([Plan]); and how a seat hands its share over to nodes, and destroys it
// ([HandOver], [Summons]).
//
// Never: a network. Whoever carries bundles and replies, a loop on the same
// laptop or a person with a memory stick, is not believed, and neither are
// nodes. What is said twice is said alike: a seat is a function of its seed
// and of the log. The share lies on disk, sealed, before it is confirmed.
//
// Spec: spec/participants.md, spec/assembly.md.
//
// Start reading at Seat.Take and Seat.Reply.
package participant
