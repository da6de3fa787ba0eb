package signerapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// Signer turns a duty into a signature of the whole cluster.
//
// Its methods are called by many goroutines. Errors carry an rpc.Code, which
// decides the status (status.go); the text of a refusal reaches the client,
// that of an internal error only the log.
type Signer interface {
	// Sign returns before ctx ends, with a signature that was verified. client
	// names the caller by its certificate, "" without one.
	Sign(ctx context.Context, client string, key [48]byte, duty eth.Duty) ([96]byte, error)
	// Holds says whether key may be asked for at all. It is called before the
	// body of a request is read, so it must be cheap.
	Holds(key [48]byte) bool
	// Keys returns the keys that sign, sorted. Holds accepts them, and frozen ones.
	Keys() [][48]byte
}

// Health says what stands between this node and a signature.
type Health interface {
	// Health returns soon: it reports what is known, it does not probe.
	Health(ctx context.Context) []Check
}

// Check is one line of the health report.
type Check struct {
	ID     string // stable, e.g. "quorum"
	Up     bool
	Reason string // why it is down; shown to anyone who asks
}

// Reloader looks again at which keys there are. A reload is asked for with
// POST /reload and runs inside Server.Run, one at a time.
type Reloader interface {
	// Reload returns how many keys could not be loaded; an error means that
	// it did not get that far.
	Reload(ctx context.Context) (failed int, err error)
}

// Watermarks knows the bound, set for all keys, at which signing of blocks
// and attestations ends.
type Watermarks interface {
	// HighWatermark returns nil when none is set.
	HighWatermark(ctx context.Context) (*Watermark, error)
}

// Watermark is Web3Signer's high watermark.
type Watermark struct{ Epoch, Slot uint64 }

// Keymanager is what the Keymanager API needs. Imports, deletions and
// settings are called one at a time.
type Keymanager interface {
	Keystores
	Proposers
	Exits
}

// Keystores moves keys in and out.
type Keystores interface {
	// Import decrypts an EIP-2335 keystore and deals its key to every
	// custody process. created is false when the key was known already. The
	// caller wipes password afterwards; nobody may keep it.
	Import(ctx context.Context, keystore, password []byte) (created bool, key [48]byte, err error)
	// ImportSlashing raises the watermarks of an EIP-3076 interchange at every
	// holder and returns when they are durable. It never lowers any.
	ImportSlashing(ctx context.Context, interchange []byte) error
	// Delete returns once so many holders have durably stopped that the rest
	// cannot sign. There is one outcome per key, in order; interchange holds
	// the history of those that were deleted or not active. It is a complete
	// document even where that is none.
	Delete(ctx context.Context, keys [][48]byte) (outcomes []DeleteOutcome, interchange []byte, err error)
}

// DeleteOutcome is what became of one key.
type DeleteOutcome struct {
	Status  DeleteStatus
	Message string // only with DeleteError
}

// DeleteStatus is a status of the Keymanager API.
type DeleteStatus string

const (
	Deleted         DeleteStatus = "deleted"
	DeleteNotActive DeleteStatus = "not_active" // had stopped before; history returned
	DeleteNotFound  DeleteStatus = "not_found"
	DeleteError     DeleteStatus = "error" // it may still sign
)

// Proposers keeps what a key's blocks and registrations must say.
type Proposers interface {
	// Settings returns the key's own settings and the cluster's, which fill
	// what the key leaves open.
	Settings(ctx context.Context, key [48]byte) (own, cluster action.ProposerSettings, err error)
	// SetSettings changes the key's own settings and returns once custody
	// will hold registrations against them.
	SetSettings(ctx context.Context, key [48]byte, change action.SettingsChange) error
}

// Exits signs voluntary exits, which are granted by the ledger, never duties.
type Exits interface {
	// Exit chooses the current epoch for a nil epoch and the index on record
	// for a nil index; without one it refuses as malformed.
	Exit(ctx context.Context, key [48]byte, index, epoch *uint64) (SignedVoluntaryExit, error)
}

// SignedVoluntaryExit is the consensus object of that name.
type SignedVoluntaryExit struct {
	Epoch          uint64
	ValidatorIndex uint64
	Signature      [96]byte
}

// Config says what to serve and to whom. Network, Signer and Health are needed.
type Config struct {
	Network *eth.Network
	Signer  Signer
	Health  Health

	Reloader   Reloader   // nil: a reload finds nothing to do
	Watermarks Watermarks // nil: no high watermark is ever set

	// Keymanager serves /eth/v1, which does not exist without it. Token is
	// what its callers present; it is kept and never destroyed.
	Keymanager Keymanager
	Token      secret.Bytes

	Listen string // host:port of Run
	TLS    *TLS   // nil: plain HTTP

	// Hosts are the names by which this server may be addressed, without port,
	// as Web3Signer's --http-host-allowlist; "*" allows all. Nil means
	// localhost and the loopback addresses.
	Hosts []string

	// Strict answers 400 to a signing root that contradicts the duty, where
	// Web3Signer answers 500.
	Strict bool

	Deadline  time.Duration // from a sign request's arrival in full to its answer; 0 means 4 s
	QueueWait time.Duration // how long it may wait for a free place; 0 means 500 ms
	InFlight  int           // sign requests at work at once; 0 means 256
	MaxConns  int           // open connections; 0 means 4096

	Metrics *Metrics     // nil: counted, served nowhere
	Log     *slog.Logger // nil: discarded
}

// The limits that no operator needs to turn.
const (
	minToken     = 32 // characters; the specification asks for 256 bits
	maxHeader    = 16 << 10
	smallBody    = 64 << 10 // a sign request larger than this waits for one of largeBodies
	largeBodies  = 16       // so that bodies in memory stay below largeBodies × wire.MaxHTTPBody
	headerTime   = 5 * time.Second
	requestTime  = 10 * time.Second // headers and body of a sign request
	idleTime     = 30 * time.Second // Web3Signer's default
	writeTime    = 20 * time.Second // for the answer; above Deadline and ledgerTime
	ledgerTime   = 15 * time.Second // a setting or an exit: a few blocks
	importUpload = 2 * time.Minute  // body of an import
	importTime   = 10 * time.Minute // an import or a deletion of many keys
	graceTime    = 5 * time.Second  // for requests under way when Run ends
)

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Network == nil || c.Signer == nil || c.Health == nil:
		return c, errors.New("configure signer API: network, signer and health are needed")
	case c.Keymanager != nil && c.Token.Len() < minToken:
		return c, fmt.Errorf("configure signer API: the Keymanager API needs a token of at least %d characters", minToken)
	case c.Deadline < 0 || c.Deadline > writeTime/2:
		return c, fmt.Errorf("configure signer API: deadline %s is outside 0 to %s", c.Deadline, writeTime/2)
	}
	if c.Hosts == nil {
		c.Hosts = []string{"localhost", "127.0.0.1", "::1"}
	}
	c.Hosts = slices.Clone(c.Hosts)
	c.Deadline = orDefault(c.Deadline, 4*time.Second)
	c.QueueWait = orDefault(c.QueueWait, 500*time.Millisecond)
	c.InFlight = orDefault(c.InFlight, 256)
	c.MaxConns = orDefault(c.MaxConns, 4096)
	if c.Metrics == nil {
		c.Metrics = NewMetrics("")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// maxImports bounds the keystores and the keys of one request.
const maxImports = wire.MaxKeysPerBatch
