package migrate

import (
	"context"
	"errors"
	"fmt"
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
	for _, h := range validators {
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

// below adds what Web3Signer may still sign under its high watermark.
func (w Web3Signer) below(h slashing.KeyHistory) slashing.KeyHistory {
	if w.HighSlot != nil && *w.HighSlot > 0 {
		h.Block = slashing.BlockMark{Known: true, Slot: max(h.Block.Slot, *w.HighSlot-1)}
	}
	if w.HighEpoch != nil && *w.HighEpoch > 0 {
		last := *w.HighEpoch - 1 // for sources and targets
		h.Vote = slashing.VoteMark{Known: true, Source: max(h.Vote.Source, last), Target: max(h.Vote.Target, last)}
	}
	return h
}

// readValidators returns the highest slot, source and target of each validator.
// That no message lies under its low watermark Web3Signer promises; the mark
// counts as one, because what was pruned may have been as high.
func readValidators(ctx context.Context, tx pgx.Tx) ([]slashing.KeyHistory, error) {
	rows, err := tx.Query(ctx, `SELECT v.public_key,
			greatest(w.slot, (SELECT max(slot) FROM signed_blocks WHERE validator_id = v.id))::text,
			greatest(w.source_epoch, a.source)::text, greatest(w.target_epoch, a.target)::text
		FROM validators v LEFT JOIN low_watermarks w ON w.validator_id = v.id
		LEFT JOIN (SELECT validator_id, max(source_epoch) AS source, max(target_epoch) AS target
			FROM signed_attestations GROUP BY validator_id) a ON a.validator_id = v.id
		ORDER BY v.public_key`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (h slashing.KeyHistory, err error) {
		var key []byte
		var slot, source, target *string
		if err := row.Scan(&key, &slot, &source, &target); err != nil {
			return h, err
		}
		if len(key) != len(h.Key) {
			return h, fmt.Errorf("public key 0x%x is not 48 bytes", key)
		}
		copy(h.Key[:], key)
		return h, errors.Join(mark(&h.Watermarks, slot), voteMark(&h.Watermarks, source, target))
	})
}

// The columns are NUMERIC(20), which no integer type of the driver holds. They
// come as text.

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
