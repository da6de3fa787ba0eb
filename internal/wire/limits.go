package wire

import "time"

// Every limit on what comes from outside stands here, with its reason.
const (
	MaxNodes        = 16        // seats of a cluster and of a ceremony held by nodes
	MaxParticipants = 4096      // seats of a large ceremony
	MaxDealers      = 256       // of them who deal; up to as many participants, everybody does
	MaxComplaints   = 256       // of one verdict on dealings; more wait for the next round
	MaxArchive      = 512 << 20 // archive of a large ceremony; 4096 participants of which 128 deal make 50 MB
	MaxCertificate  = 4 << 20   // its light certificate: 0.63 MB
	MaxLogPage      = 4 << 20   // one answer with entries of a ceremony's log; the first stands in it whatever its size
	MaxLetters      = 5 << 20   // ciphertexts of one dealer: 1120 bytes for each participant
	MaxName         = 64        // names of nodes, operators, regions, members
	MaxKeysPerBatch = 10_000    // keys of one ceremony, or of one request about keys
	MaxTx           = 512 << 10 // one transaction; larger dealings go in chunks
	MaxChunk        = 256 << 10 // one chunk of a dealing
	MaxTxPerBlock   = 4 << 20   // bytes of transactions in a block
	MaxFrame        = 4 << 20   // one frame between processes or nodes
	MaxGenesis      = 1 << 20   // genesis document
	MaxProof        = 256 << 10 // header, commit and inclusion proofs together
	MaxProofSteps   = 64        // depth of an inclusion proof
	MaxClaims       = 256       // ledger keys that one certificate speaks of
	MaxSetChanges   = 32        // changes of the validator set that one certificate bridges
	MaxChainID      = 50        // CometBFT's limit
	MaxPath         = 512       // one ledger path
	MaxLogFrame     = 64 << 20  // one frame of a durable log; the largest is a snapshot
	MaxEvent        = 8 << 10   // body of one audit event: seven texts of 1 KiB
	MaxCheckpoint   = 256 << 10 // signed note: two lines of each node of a quorum, one of each witness
	MaxWitnesses    = 16        // that cosign checkpoints
	MaxReceipt      = 4 << 20   // a transaction, its events with their paths, a certificate
	MaxRound        = 512 << 10 // file of a beacon's round: a certificate in base64, and little else
	MaxRequest      = 1 << 10   // events that one transaction causes; a receipt holds them all
	MaxHTTPBody     = 8 << 20   // a sign request; a PHASE0 block stays below 1 MiB
	MaxImportBody   = 64 << 20  // keystores and slashing data of a Keymanager import
	MaxKeystore     = 64 << 10  // one EIP-2335 keystore
	MaxPassword     = 1 << 10   // one keystore password
	MinPassphrase   = 8         // of a new key file, in bytes (NIST SP 800-63B)
	MaxSealedKey    = 2 << 10   // public key in the header of a sealed record; the largest is a hybrid identity
	MaxSealedSecret = 4 << 10   // secret in a sealed record
	MaxRPID         = 128       // relying party of a passkey: a domain name
	MaxOrigin       = 192       // scheme, host and port of a page that may ask for a passkey
	MaxOrigins      = 8         // such pages of one passkey; a member's consoles at several operators
	MaxClientData   = 1 << 10   // clientDataJSON of an assertion; browsers write about 250 bytes
	MaxScryptMemory = 256 << 20 // N*r*128 of a keystore; the standard one takes all of it
	MaxJSONDepth    = 64        // nesting of a JSON body
	MaxJSONValues   = 1 << 17   // values in one sign request; the largest block has a tenth of it
	MaxJSONFields   = 64        // fields of one object of a sign request; the largest has 19

	MaxPolicy           = 64 << 10 // one policy document
	MaxPolicyStatements = 256      // permits and forbids of a policy
	MaxPolicyTiers      = 64       // its tiers
	MaxPolicyCondition  = 1 << 10  // bytes of a tier's condition
	MaxPolicyOffsets    = 512      // pinned offsets of a policy's time zone: two a year for 256 years

	FreshnessWindow = 60 * time.Second // how long a header that proves custody's nonce stays fresh
)
