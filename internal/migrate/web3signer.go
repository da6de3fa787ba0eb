package migrate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/quorate/quorate/internal/slashing"
)

// schemaVersion is Web3Signer's newest, which brought the high watermark.
const schemaVersion = 12

// Web3Signer is what its slashing database holds.
type Web3Signer struct {
	// History has one entry for each validator that was ever registered.
	// Messages that are not among its newest ones are in it as a maximum.
	History slashing.Interchange
	// HighSlot and HighEpoch are the high watermark, at and above which
	// Web3Signer signs nothing; nil where none is set. Below it, it may go
	// on signing while we read, so that History forbids everything below.
	HighSlot, HighEpoch *uint64
	// Sessions counts who else is connected. Unless a high watermark is set,
	// Web3Signer must not be among them.
	Sessions int
}

// ReadWeb3Signer reads the database behind a connection string, which may be
// a URL (a JDBC one, too) or in key=value form. It reads one snapshot and
// writes nothing.
func ReadWeb3Signer(ctx context.Context, connection string) (Web3Signer, error) {
	config, err := pgx.ParseConfig(strings.TrimPrefix(strings.TrimSpace(connection), "jdbc:"))
	if err != nil {
		// The cause may quote the password.
		return Web3Signer{}, errors.New("read slashing database: the connection string is malformed")
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return Web3Signer{}, fmt.Errorf("read slashing database: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var out Web3Signer
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		out, err = readAll(ctx, tx)
		return err
	})
	if err != nil {
		return Web3Signer{}, fmt.Errorf("read slashing database: %w", err)
	}
	return out, nil
}

// validator is a row of validators with its low watermark, below which
// Web3Signer signs nothing.
type validator struct {
	id  int64
	key []byte
	low slashing.Watermarks
}

func readAll(ctx context.Context, tx pgx.Tx) (out Web3Signer, err error) {
	var version int
	if err := tx.QueryRow(ctx, `SELECT version FROM database_version WHERE id = 1`).Scan(&version); err != nil {
		return out, fmt.Errorf("read schema version: %w", err)
	}
	if version != schemaVersion {
		return out, fmt.Errorf("schema version %d, only %d is known: start a current Web3Signer on the database once, it migrates", version, schemaVersion)
	}
	if err := readMetadata(ctx, tx, &out); err != nil {
		return out, fmt.Errorf("read metadata: %w", err)
	}
	validators, err := readValidators(ctx, tx)
	if err != nil {
		return out, fmt.Errorf("read validators: %w", err)
	}
	for _, v := range validators {
		h, err := v.history(ctx, tx)
		if err != nil {
			return out, fmt.Errorf("read history of 0x%x: %w", v.key, err)
		}
		out.History.Keys = append(out.History.Keys, out.below(h))
	}
	return out, nil
}

func readMetadata(ctx context.Context, tx pgx.Tx, out *Web3Signer) error {
	var genesis []byte
	var slot, epoch *string
	err := tx.QueryRow(ctx, `SELECT genesis_validators_root, high_watermark_slot::text, high_watermark_epoch::text FROM metadata WHERE id = 1`).
		Scan(&genesis, &slot, &epoch)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return errors.New("no genesis validators root: this Web3Signer has never signed")
	case err != nil:
		return err
	case len(genesis) != len(out.History.Genesis):
		return errors.New("genesis validators root is not 32 bytes")
	}
	copy(out.History.Genesis[:], genesis)
	if out.HighSlot, err = optional(slot); err != nil {
		return err
	}
	if out.HighEpoch, err = optional(epoch); err != nil {
		return err
	}
	return tx.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND coalesce(backend_type, 'client backend') = 'client backend'`).
		Scan(&out.Sessions)
}

// below adds what Web3Signer may still sign under its high watermark. With it,
// only the maximum forbids enough.
func (w Web3Signer) below(h slashing.KeyHistory) slashing.KeyHistory {
	if w.HighSlot != nil && *w.HighSlot > 0 {
		h.Blocks = nil
		h.Block = slashing.BlockMark{Known: true, Slot: max(h.Block.Slot, *w.HighSlot-1)}
	}
	if w.HighEpoch != nil && *w.HighEpoch > 0 {
		last := *w.HighEpoch - 1 // for sources and targets
		h.Votes = nil
		h.Vote = slashing.VoteMark{Known: true, Source: max(h.Vote.Source, last), Target: max(h.Vote.Target, last)}
	}
	return h
}

func readValidators(ctx context.Context, tx pgx.Tx) ([]validator, error) {
	rows, err := tx.Query(ctx, `SELECT v.id, v.public_key, w.slot::text, w.source_epoch::text, w.target_epoch::text
		FROM validators v LEFT JOIN low_watermarks w ON w.validator_id = v.id ORDER BY v.public_key`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (v validator, err error) {
		var slot, source, target *string
		if err := row.Scan(&v.id, &v.key, &slot, &source, &target); err != nil {
			return v, err
		}
		if len(v.key) != len(slashing.Key{}) {
			return v, fmt.Errorf("public key of validator %d is not 48 bytes", v.id)
		}
		return v, errors.Join(mark(&v.low, slot), voteMark(&v.low, source, target))
	})
}

// history reads the newest messages of a validator. What is older, and its
// low watermark, count as one more message without a root, unless the newest
// forbid as much already, which they do in every history that nobody could be
// slashed for.
func (v validator) history(ctx context.Context, tx pgx.Tx) (slashing.KeyHistory, error) {
	older := v.low
	blocks, err := v.blocks(ctx, tx)
	if err != nil {
		return slashing.KeyHistory{}, err
	}
	votes, err := v.votes(ctx, tx)
	if err != nil {
		return slashing.KeyHistory{}, err
	}
	if older.Block.Known && len(blocks) == 0 {
		blocks = append(blocks, older.Block)
	}
	oldest := uint64(math.MaxUint64)
	if len(votes) > 0 {
		oldest = votes[len(votes)-1].Target
	}
	if err := v.olderVotes(ctx, tx, oldest, &older); err != nil {
		return slashing.KeyHistory{}, err
	}
	dominated := len(votes) > 0
	for _, kept := range votes {
		dominated = dominated && kept.Source >= older.Vote.Source
	}
	if older.Vote.Known && !dominated {
		votes = append(votes, older.Vote)
	}
	return slashing.HistoryOf(slashing.Key(v.key), blocks, votes), nil
}

// blocks returns the newest blocks, the highest slot first.
func (v validator) blocks(ctx context.Context, tx pgx.Tx) ([]slashing.BlockMark, error) {
	rows, err := tx.Query(ctx, `SELECT slot::text, signing_root FROM signed_blocks b
		WHERE validator_id = $1 AND slot >= $2::text::numeric ORDER BY b.slot DESC LIMIT $3`,
		v.id, decimal(v.low.Block.Slot), slashing.Keep)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (slashing.BlockMark, error) {
		var slot string
		var root []byte
		if err := row.Scan(&slot, &root); err != nil {
			return slashing.BlockMark{}, err
		}
		var w slashing.Watermarks
		err := errors.Join(mark(&w, &slot), signingRoot(root, &w.Block.Ours, &w.Block.Root))
		return w.Block, err
	})
}

// votes returns the newest attestations, the highest target first.
func (v validator) votes(ctx context.Context, tx pgx.Tx) ([]slashing.VoteMark, error) {
	rows, err := tx.Query(ctx, `SELECT source_epoch::text, target_epoch::text, signing_root FROM signed_attestations a
		WHERE validator_id = $1 AND target_epoch >= $2::text::numeric ORDER BY a.target_epoch DESC LIMIT $3`,
		v.id, decimal(v.low.Vote.Target), slashing.Keep)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (slashing.VoteMark, error) {
		var source, target string
		var root []byte
		if err := row.Scan(&source, &target, &root); err != nil {
			return slashing.VoteMark{}, err
		}
		var w slashing.Watermarks
		err := errors.Join(voteMark(&w, &source, &target), signingRoot(root, &w.Vote.Ours, &w.Vote.Root))
		return w.Vote, err
	})
}

// olderVotes raises a mark above all votes below a target.
func (v validator) olderVotes(ctx context.Context, tx pgx.Tx, target uint64, older *slashing.Watermarks) error {
	var highSource, highTarget *string
	err := tx.QueryRow(ctx, `SELECT max(source_epoch)::text, max(target_epoch)::text FROM signed_attestations
		WHERE validator_id = $1 AND target_epoch < $2::text::numeric`, v.id, decimal(target)).Scan(&highSource, &highTarget)
	if err != nil {
		return err
	}
	var w slashing.Watermarks
	if err := voteMark(&w, highSource, highTarget); err != nil || !w.Vote.Known {
		return err
	}
	older.Vote = slashing.VoteMark{
		Known:  true,
		Source: max(older.Vote.Source, w.Vote.Source),
		Target: max(older.Vote.Target, w.Vote.Target),
	}
	return nil
}

// The columns are NUMERIC(20), which no integer type of the driver holds. They
// come as text; mind that ORDER BY would take the text, too, were the column
// not qualified.

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

func optional(s *string) (*uint64, error) {
	if s == nil {
		return nil, nil
	}
	n, err := strconv.ParseUint(*s, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%.24q is no slot or epoch", *s)
	}
	return &n, nil
}

func mark(w *slashing.Watermarks, slot *string) error {
	n, err := optional(slot)
	if n != nil {
		w.Block = slashing.BlockMark{Known: true, Slot: *n}
	}
	return err
}

func voteMark(w *slashing.Watermarks, source, target *string) error {
	s, err := optional(source)
	t, err2 := optional(target)
	if s != nil && t != nil {
		w.Vote = slashing.VoteMark{Known: true, Source: *s, Target: *t}
	}
	return errors.Join(err, err2)
}

func signingRoot(raw []byte, known *bool, root *slashing.Root) error {
	if raw == nil {
		return nil
	}
	if len(raw) != len(root) {
		return errors.New("signing root is not 32 bytes")
	}
	*known = true
	copy(root[:], raw)
	return nil
}
