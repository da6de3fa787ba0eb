package opsapi

import (
	"encoding/json"
	"time"

	"github.com/quorate/quorate/internal/audit"
)

// Status is a node as it sees itself.
type Status struct {
	Node      string    `json:"node"`
	PID       int       `json:"pid"`
	Cluster   string    `json:"cluster"`
	Network   string    `json:"network"`
	Nodes     int       `json:"nodes"`
	Threshold int       `json:"threshold"` // partial signatures that a signature needs
	Height    uint64    `json:"height"`    // 0: the ledger has no block yet
	Time      time.Time `json:"time"`      // of that block
	Peers     []Peer    `json:"peers"`
	Custody   []Custody `json:"custody"`
	// Keys whose shares are older than the policy says, and those of them that
	// are so beyond its grace.
	RotationsDue     int `json:"rotations_due"`
	RotationsOverdue int `json:"rotations_overdue"`
}

// Peer is another node, as seen from this one.
type Peer struct {
	Name      string  `json:"name"`
	Address   string  `json:"address"`
	Connected bool    `json:"connected"`
	RTT       float64 `json:"rtt_ms,omitempty"`
	Error     string  `json:"error,omitempty"`
}

// Custody is a custody process of the node.
type Custody struct {
	Domain   string `json:"domain"`
	PID      int    `json:"pid,omitempty"` // 0: it was started by somebody else
	Up       bool   `json:"up"`
	Keys     int    `json:"keys"`               // shares that can sign
	Anchored uint64 `json:"anchored,omitempty"` // height at which it last knew the ledger to be present
	Error    string `json:"error,omitempty"`

	Incarnation string  `json:"incarnation,omitempty"` // this life of the process, as the ledger knows it
	LeaseLeft   float64 `json:"lease_left_s"`          // how long it signs blocks and attestations if the ledger stays silent
	// SlashingStrategy is how it remembers what it signed, in EIP-3076's terms.
	SlashingStrategy string `json:"slashing_strategy"`
	// RolledBack is how many entries the slashing record lacked, at least, when
	// this life began, of those that the ledger knows of.
	RolledBack uint64 `json:"rolled_back,omitempty"`
	// FencedUntil is there while, after a restart that nobody could vouch
	// for, keys sign blocks and attestations only above a slot and an epoch.
	FencedUntil *Fence `json:"fenced_until,omitempty"`
}

// Fence is what slashable duties have to lie above.
type Fence struct {
	Slot  uint64 `json:"slot,string"`
	Epoch uint64 `json:"epoch,string"`
}

// Key is an entry of the inventory.
type Key struct {
	PublicKey  string     `json:"pubkey"`
	Domain     string     `json:"domain"`
	State      string     `json:"state"`
	Provenance string     `json:"provenance"`
	Owner      string     `json:"owner"`
	Purpose    string     `json:"purpose,omitempty"`
	Exercise   bool       `json:"exercise,omitempty"`
	Use        string     `json:"use"` // "duties" or "beacon"
	Epoch      uint32     `json:"epoch"`
	Threshold  int        `json:"threshold"`
	Holders    int        `json:"holders"`
	Ceremony   string     `json:"ceremony"`
	From       *Former    `json:"from,omitempty"` // participants that made the key, and handed it over
	Created    uint64     `json:"created"`        // height
	LastUse    *time.Time `json:"last_use,omitempty"`

	SharesSince *time.Time `json:"shares_since,omitempty"` // when the ceremony began that made them
	RotationDue *time.Time `json:"rotation_due,omitempty"` // when the policy wants new ones
	Rotation    string     `json:"rotation,omitempty"`     // due or overdue, when the time has come

	FeeRecipient string  `json:"fee_recipient,omitempty"`
	GasLimit     *uint64 `json:"gas_limit,omitempty,string"`
	Graffiti     *string `json:"graffiti,omitempty"`
}

// Former are participants that are not nodes. So many of their old shares sign
// until enough of them are destroyed.
type Former struct {
	Ceremony     string `json:"ceremony"`
	Participants int    `json:"n"`
	Threshold    int    `json:"t"`
}

// Ceremony is where a ceremony stands.
type Ceremony struct {
	ID        string     `json:"id"`
	Mode      string     `json:"mode"`
	Suite     string     `json:"suite"`
	Use       string     `json:"use"`
	Hybrid    bool       `json:"hybrid"`
	Phase     string     `json:"phase"`
	Deadline  *time.Time `json:"deadline,omitempty"` // of the phase, in block time
	Keys      int        `json:"keys"`
	Threshold int        `json:"threshold"`
	Epoch     uint32     `json:"epoch"` // of the shares that it makes
	Holders   int        `json:"holders"`
	Seats     []Seat     `json:"seats"`
	Faults    []Fault    `json:"faults,omitempty"`
	Purpose   string     `json:"purpose,omitempty"`
	By        string     `json:"by"`
	Opened    uint64     `json:"opened"` // height
	Handover  *Handover  `json:"handover,omitempty"`
	// From says of a ceremony that takes a key over who hands it over.
	From *FromAssembly `json:"from,omitempty"`
}

// FromAssembly is who hands a key over to nodes.
type FromAssembly struct {
	Ceremony     string `json:"ceremony"` // of the participants
	PublicKey    string `json:"public_key"`
	Participants int    `json:"n"`
	Threshold    int    `json:"t"`
	Dealt        int    `json:"dealt"`
	Dealers      []int  `json:"dealers"` // whose dealings count so far
	DepositSafe  bool   `json:"deposit_safe"`
}

// Handover is what the commit of a reshare asks of its holders.
type Handover struct {
	Floor   uint64 `json:"floor,string"` // slot above which new holders sign, or earlier where old ones prove it
	Floored []int  `json:"floored"`      // seats that the floor is for
	Stopped []int  `json:"stopped"`      // old holders that have said where they stopped
	Needed  int    `json:"needed"`       // how many lower the floor
}

// Seat is a participant.
type Seat struct {
	Index  int    `json:"index"`
	Node   string `json:"node"`
	Member bool   `json:"member"` // gets shares
	Joined bool   `json:"joined"`
	Dealt  bool   `json:"dealt"` // among the dealers whose dealings count
	Holds  bool   `json:"holds"` // proved that it holds its shares
}

// Fault is what a seat did or left undone.
type Fault struct {
	Seat         int    `json:"seat"`
	Kind         string `json:"kind"`
	Attributable bool   `json:"attributable"`
	Participant  bool   `json:"participant,omitempty"` // of the assembly that hands its key over, and no seat
}

// Event is an entry of the audit log.
type Event = audit.Entry

// Events is a piece of the audit log.
type Events struct {
	Size   uint64  `json:"size"` // entries in the whole log
	Root   string  `json:"root"` // RFC 6962 root over all of them
	Events []Event `json:"events"`
}

// OpenCeremony asks for new keys, or for new shares of keys.
type OpenCeremony struct {
	Mode    string `json:"mode,omitempty"`  // "keygen" (the default), "refresh", "reshare" or "handover"
	Keys    int    `json:"keys,omitempty"`  // keygen: how many
	Use     string `json:"use,omitempty"`   // keygen: "duties" (the default) or "beacon"
	Hybrid  bool   `json:"hybrid"`          // encrypt to seats with X-Wing as well
	Suite   string `json:"suite,omitempty"` // "bls12-381" (the default)
	Purpose string `json:"purpose,omitempty"`
	// PhaseTimeout is how many milliseconds of block time each phase may take;
	// 0 leaves it to the node. Who is silent for so long is left out.
	PhaseTimeout uint32 `json:"phase_timeout_ms,omitempty"`

	// DealTimeout is the same, of a handover, for its participants: to deal and,
	// if it is hybrid, to answer.
	DealTimeout uint32 `json:"deal_timeout_ms,omitempty"`

	PublicKeys []string `json:"pubkeys,omitempty"` // refresh, reshare: which keys; none: every active one. Handover: the one
	// Reshare and handover only: who holds shares afterwards, and how many sign. 0 is the
	// default for so many holders. Lost are holders without their share, which
	// receive and do not deal.
	Seats     []int `json:"seats,omitempty"`
	Threshold int   `json:"threshold,omitempty"`
	Lost      []int `json:"lost,omitempty"`
}

// Opened answers OpenCeremony.
type Opened struct {
	ID string `json:"id"`
	// More are the other ceremonies, where keys that are shared differently
	// take several.
	More []string `json:"more,omitempty"`
}

// ImportKeystore hands over a key that was whole. On the wire the password is
// base64, so that it stays out of strings, which cannot be wiped.
type ImportKeystore struct {
	Keystore json.RawMessage `json:"keystore"` // EIP-2335
	Password []byte          `json:"password"`
}

// Imported answers ImportKeystore.
type Imported struct {
	PublicKey string `json:"pubkey"`
	Created   bool   `json:"created"` // false: it could sign before
}

// ImportedSlashing answers an EIP-3076 interchange.
type ImportedSlashing struct {
	Keys int `json:"keys"`
}

// Exit asks for a signed voluntary exit.
type Exit struct {
	ValidatorIndex *uint64 `json:"validator_index,omitempty,string"` // nil: the one that the key's duties named
	Epoch          *uint64 `json:"epoch,omitempty,string"`           // nil: the present one
}

// SignedVoluntaryExit is the consensus object of that name, as beacon nodes
// take it.
type SignedVoluntaryExit struct {
	Message   VoluntaryExit `json:"message"`
	Signature string        `json:"signature"`
}

// VoluntaryExit is what is signed.
type VoluntaryExit struct {
	Epoch          uint64 `json:"epoch,string"`
	ValidatorIndex uint64 `json:"validator_index,string"`
}

// Error is the body of every answer that is not a success.
type Error struct {
	Status int    `json:"-"`
	Text   string `json:"error"`
	Hint   string `json:"hint,omitempty"`
}

// Pending is the body of an answer with status 202: what was asked for waits
// for others, or for its time.
type Pending struct {
	Request string `json:"request"` // its id
	Text    string `json:"error"`
	Hint    string `json:"hint"`
}

func (p *Pending) Error() string { return p.Text }

func (e *Error) Error() string { return e.Text }
