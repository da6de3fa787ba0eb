package wire

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"hash"
)

// Tag separates one use of a hash, signature or seal from every other. A
// tag is never used again with another preimage: a new format takes a new tag.
type Tag string

// Every tag of the product stands here, so that a collision shows.
const (
	TagCluster         Tag = "quorate/v1/cluster"         // genesis document -> cluster id
	TagAppHash         Tag = "quorate/v1/app-hash"        // ledger state roots -> AppHash
	TagEventLeaf       Tag = "quorate/v1/event-leaf"      // salted commitment to one audit event
	TagEventSalt       Tag = "quorate/v1/event-salt"      // transaction salt -> salt of one event
	TagCheckpoint      Tag = "quorate/v1/checkpoint"      // text of a checkpoint -> what a node signs with its hybrid identity
	TagTx              Tag = "quorate/v1/tx"              // transaction -> what its signer signs
	TagLogin           Tag = "quorate/v1/login"           // challenge of a node -> what a member signs to read from it
	TagSnapshot        Tag = "quorate/v1/snapshot"        // state-sync chunk or manifest
	TagClosing         Tag = "quorate/v1/closing"         // a custody process's last word
	TagTestimony       Tag = "quorate/v1/testimony"       // another's word about it
	TagAnchor          Tag = "quorate/v1/anchor"          // how far a slashing record has come
	TagStop            Tag = "quorate/v1/stop"            // a holder's last word on shares that a reshare replaced
	TagStopMarks       Tag = "quorate/v1/stop-marks"      // how far each key was signed with -> name of that list
	TagWatermarks      Tag = "quorate/v1/watermarks"      // all keys' slashing status -> digest
	TagHistory         Tag = "quorate/v1/history"         // EIP-3076 document -> its name on the ledger
	TagFreshness       Tag = "quorate/v1/freshness"       // custody's own nonce
	TagSeal            Tag = "quorate/v1/seal"            // associated data of records sealed at rest
	TagPeer            Tag = "quorate/v1/peer"            // node-to-node channel binding
	TagGrant           Tag = "quorate/v1/grant"           // canonical action -> action hash
	TagRequest         Tag = "quorate/v1/request"         // a request for an action -> its id
	TagPolicy          Tag = "quorate/v1/policy"          // policy document -> version of the policy
	TagUsage           Tag = "quorate/v1/usage"           // usage log -> digest
	TagLogHeader       Tag = "quorate/v1/log/header"      // header of a log segment -> start of its chain
	TagLogFrame        Tag = "quorate/v1/log/frame"       // previous link and frame -> next link
	TagLogMark         Tag = "quorate/v1/log/mark"        // how far a log segment was written
	TagCeremony        Tag = "quorate/v1/ceremony"        // parameters -> cid
	TagRoster          Tag = "quorate/v1/ceremony/roster" // joined participants -> roster root
	TagSeats           Tag = "quorate/v1/ceremony/seats"  // who sits where -> Params.Roster
	TagJoin            Tag = "quorate/v1/ceremony/join"
	TagExpected        Tag = "quorate/v1/ceremony/expected" // public keys that an import must yield
	TagVerdict         Tag = "quorate/v1/ceremony/verdict"  // a set of dealings -> what verdicts are about
	TagConfirm         Tag = "quorate/v1/ceremony/confirm"
	TagCeremonyMessage Tag = "quorate/v1/ceremony/message"    // what a custody process says in a ceremony
	TagDealerMessage   Tag = "quorate/v1/ceremony/dealer"     // what a participant that hands its key over says in one
	TagPoP             Tag = "quorate/v1/ceremony/pop"        // possession of EK_i
	TagPoKSecret       Tag = "quorate/v1/ceremony/pok-secret" // knowledge of f(0)
	TagPoKRho          Tag = "quorate/v1/ceremony/pok-rho"    // knowledge of rho
	TagDLEQ            Tag = "quorate/v1/ceremony/dleq"       // complaint opening
	TagMaskKey         Tag = "quorate/v1/ceremony/mask-key"   // K_i -> key of the masks for one recipient
	TagMask            Tag = "quorate/v1/ceremony/mask"       // that key -> mask of one share
	TagUnbias          Tag = "quorate/v1/ceremony/unbias"     // delta
	TagDealerCoins     Tag = "quorate/v1/ceremony/dealer-coins"
	TagBatchWeight     Tag = "quorate/v1/ceremony/batch-weight"
	TagBlob            Tag = "quorate/v1/ceremony/blob"  // name of a body kept beside the ledger's state
	TagNonce           Tag = "quorate/v1/ceremony/nonce" // secret and statement -> nonce of a proof

	TagAssembly           Tag = "quorate/v1/assembly"              // parameters of a large ceremony -> cid
	TagAssemblyExercise   Tag = "quorate/v1/assembly/exercise"     // the same of a rehearsal, so that its keys never count as real
	TagAssemblySeats      Tag = "quorate/v1/assembly/seats"        // identity keys in order -> Params.Roster
	TagAssemblyMessage    Tag = "quorate/v1/assembly/message"      // what a participant signs with its identity key
	TagAssemblyRoster     Tag = "quorate/v1/assembly/roster"       // who joined with which keys
	TagAssemblyDraw       Tag = "quorate/v1/assembly/draw"         // randomness -> order of the participants
	TagAssemblyPoP        Tag = "quorate/v1/assembly/pop"          // possession of EK_i
	TagAssemblyPoKSecret  Tag = "quorate/v1/assembly/pok-secret"   // knowledge of f(0)
	TagAssemblyPoKRho     Tag = "quorate/v1/assembly/pok-rho"      // knowledge of rho, over the whole header
	TagAssemblyDLEQ       Tag = "quorate/v1/assembly/dleq"         // complaint opening
	TagAssemblyMaskKey    Tag = "quorate/v1/assembly/mask-key"     // K_i -> key of the mask
	TagAssemblyMask       Tag = "quorate/v1/assembly/mask"         // that key -> mask of the share
	TagAssemblyTranscript Tag = "quorate/v1/assembly/transcript"   // a set of dealings -> what reports and votes are about
	TagAssemblyVote       Tag = "quorate/v1/assembly/vote"         // content of a vote, to compare votes by
	TagAssemblyLowDegree  Tag = "quorate/v1/assembly/low-degree"   // points -> where their degree is tested
	TagAssemblyUnbias     Tag = "quorate/v1/assembly/unbias"       // delta
	TagAssemblyConfirm    Tag = "quorate/v1/assembly/confirm"      // result -> what confirmations sign
	TagAssemblyCoins      Tag = "quorate/v1/assembly/coins"        // seed -> all that a participant draws
	TagAssemblyArchive    Tag = "quorate/v1/assembly/archive"      // previous link and entry -> next link
	TagAssemblySeal       Tag = "quorate/v1/assembly/seal"         // last link -> what closes an archive
	TagParticipants       Tag = "quorate/v1/assembly/participants" // list of names and keys -> what the action says of it
	TagAssemblyStatement  Tag = "quorate/v1/assembly/statement"    // message -> what participants sign with their shares
	TagFederation         Tag = "quorate/v1/federation"            // root over certificates -> what cohorts sign

	TagBeacon Tag = "quorate/v1/beacon" // cluster and height -> what a beacon signs
)

// Hash is SHA-256 over the tag and the parts, each with its length in front,
// so that no two lists of parts share a preimage.
func Hash(tag Tag, parts ...[]byte) [32]byte {
	h := sha256.New()
	frame(h, tag, parts)
	var out [32]byte
	h.Sum(out[:0])
	return out
}

// HashWide is Hash with SHA-512: 64 bytes, enough to reduce into a field of
// 256 bits without a bias that anyone could see.
func HashWide(tag Tag, parts ...[]byte) [64]byte {
	h := sha512.New()
	frame(h, tag, parts)
	var out [64]byte
	h.Sum(out[:0])
	return out
}

func frame(h hash.Hash, tag Tag, parts [][]byte) {
	var n [8]byte
	write := func(b []byte) {
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	write([]byte(tag))
	for _, p := range parts {
		write(p)
	}
}
