package migrate

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/quorate/quorate/internal/slashing"
)

// schema is the tables of Web3Signer's schema 12, without its functions.
const schema = `
CREATE TABLE validators (id serial PRIMARY KEY, public_key bytea NOT NULL UNIQUE, enabled boolean NOT NULL DEFAULT true);
CREATE TABLE signed_blocks (id bigserial PRIMARY KEY, validator_id integer NOT NULL REFERENCES validators,
	slot numeric(20) NOT NULL, signing_root bytea, UNIQUE (validator_id, slot));
CREATE TABLE signed_attestations (id bigserial PRIMARY KEY, validator_id integer REFERENCES validators,
	source_epoch numeric(20) NOT NULL, target_epoch numeric(20) NOT NULL, signing_root bytea, UNIQUE (validator_id, target_epoch));
CREATE TABLE low_watermarks (validator_id integer NOT NULL UNIQUE REFERENCES validators,
	slot numeric(20), target_epoch numeric(20), source_epoch numeric(20),
	CHECK ((target_epoch IS NULL) = (source_epoch IS NULL)));
CREATE TABLE metadata (id integer PRIMARY KEY, genesis_validators_root bytea NOT NULL,
	high_watermark_epoch numeric(20), high_watermark_slot numeric(20));
CREATE TABLE database_version (id integer PRIMARY KEY, version integer NOT NULL);
INSERT INTO database_version VALUES (1, 12);`

// postgres starts a server of our own on a socket in a new directory.
func postgres(t *testing.T) (connection string) {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("QUORATE_CHECK") == "1" {
		missing = t.Fatalf
	}
	initdb, err := exec.LookPath("initdb")
	if err != nil {
		bin, err := exec.Command("pg_config", "--bindir").Output()
		if err != nil {
			missing("no PostgreSQL here (Debian package postgresql): %v", err)
		}
		initdb = filepath.Join(strings.TrimSpace(string(bin)), "initdb")
	}
	if initdb, err = filepath.EvalSymlinks(initdb); err != nil {
		missing("no PostgreSQL server here (Debian package postgresql): %v", err)
	}
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	attr := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 { // the server refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			missing("no user postgres: %v", err)
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			t.Fatal(err)
		}
		gid, err := strconv.Atoi(u.Gid)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	data := filepath.Join(dir, "data")
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(filepath.Join(filepath.Dir(initdb), name), args...)
		cmd.Dir, cmd.SysProcAttr = dir, attr
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	run("initdb", "-D", data, "-U", "web3signer", "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8")
	run("pg_ctl", "start", "-w", "-D", data, "-l", filepath.Join(dir, "log"), "-o", "-k "+dir+" -c listen_addresses= -F")
	t.Cleanup(func() { run("pg_ctl", "stop", "-m", "immediate", "-D", data) })
	return "host=" + dir + " user=web3signer dbname=postgres"
}

func key(b byte) slashing.Key { return slashing.Key{b} }

func root(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func block(slot uint64) slashing.BlockMark { return slashing.BlockMark{Known: true, Slot: slot} }

func vote(source, target uint64) slashing.VoteMark {
	return slashing.VoteMark{Known: true, Source: source, Target: target}
}

// admin is the other side: what Web3Signer does to the database.
type admin struct {
	*testing.T
	conn *pgx.Conn
}

func (a admin) exec(sql string, args ...any) {
	a.Helper()
	if _, err := a.conn.Exec(a.Context(), sql, args...); err != nil {
		a.Fatalf("%s: %v", sql, err)
	}
}

func (a admin) validator(k slashing.Key) (id int) {
	a.Helper()
	if err := a.conn.QueryRow(a.Context(), `INSERT INTO validators (public_key) VALUES ($1) RETURNING id`, k[:]).Scan(&id); err != nil {
		a.Fatal(err)
	}
	return id
}

func TestWeb3Signer(t *testing.T) {
	connection := postgres(t)
	conn, err := pgx.Connect(t.Context(), connection)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	a := admin{t, conn}
	refused := func(why string) {
		t.Helper()
		if _, err := ReadWeb3Signer(t.Context(), connection); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("read: %v, want %q", err, why)
		}
	}
	refused("schema version")
	a.exec(schema)
	refused("never signed")
	a.exec(`INSERT INTO metadata (id, genesis_validators_root) VALUES (1, $1)`, root(7))

	// In order: without history; without and with a root, the last slot there
	// is; many; pruned; watermarks alone; watermarks above what is there; the
	// highest source at another target than the highest.
	ids := map[byte]int{}
	for b := byte(1); b <= 7; b++ {
		ids[b] = a.validator(key(b))
	}
	signBlock := func(v byte, slot any, root []byte) {
		a.exec(`INSERT INTO signed_blocks (validator_id, slot, signing_root) VALUES ($1, $2, $3)`, ids[v], slot, root)
	}
	signVote := func(v byte, source, target uint64, root []byte) {
		a.exec(`INSERT INTO signed_attestations (validator_id, source_epoch, target_epoch, signing_root) VALUES ($1, $2::text::numeric, $3::text::numeric, $4)`,
			ids[v], fmt.Sprint(source), fmt.Sprint(target), root)
	}
	low := func(v byte, slot, source, target uint64) {
		a.exec(`INSERT INTO low_watermarks (validator_id, slot, source_epoch, target_epoch) VALUES ($1, $2, $3, $4)`, ids[v], slot, source, target)
	}
	signBlock(2, "18446744073709551615", root(1)) // 2^64-1
	signBlock(2, 5, nil)
	signVote(2, 3, 4, nil)
	signVote(2, 1<<63, 1<<63+1, root(2))
	for i := range uint64(74) {
		signBlock(3, i, root(1))
		signVote(3, i, i+1, root(1))
		signVote(7, i, 10*i+9, root(1))
	}
	signVote(7, 500, 501, root(1))
	signBlock(4, 50, root(1))
	signBlock(4, 51, root(1))
	signVote(4, 8, 9, root(1))
	low(4, 50, 8, 9)
	low(5, 60, 6, 7)
	signBlock(6, 10, root(1))
	signVote(6, 1, 2, root(1))
	low(6, 99, 30, 40)

	db, err := ReadWeb3Signer(t.Context(), connection)
	if err != nil {
		t.Fatal(err)
	}
	if db.History.Genesis != slashing.Root(root(7)) || db.HighSlot != nil || db.HighEpoch != nil || db.Sessions != 1 {
		t.Errorf("%x, %v, %v, %d sessions", db.History.Genesis, db.HighSlot, db.HighEpoch, db.Sessions)
	}
	newest := func(v byte) (h slashing.KeyHistory) {
		if i := slices.IndexFunc(db.History.Keys, func(h slashing.KeyHistory) bool { return h.Key == key(v) }); i >= 0 {
			h = db.History.Keys[i]
		}
		return h
	}
	for v, want := range map[byte]slashing.Watermarks{
		1: {},
		2: {Block: block(1<<64 - 1), Vote: vote(1<<63, 1<<63+1)},
		3: {Block: block(73), Vote: vote(73, 74)},
		4: {Block: block(51), Vote: vote(8, 9)},
		5: {Block: block(60), Vote: vote(6, 7)},
		6: {Block: block(99), Vote: vote(30, 40)},
		7: {Vote: vote(500, 739)},
	} {
		if diff := cmp.Diff(slashing.KeyHistory{Key: key(v), Watermarks: want}, newest(v)); diff != "" {
			t.Errorf("validator %d (-want +got):\n%s", v, diff)
		}
	}
	if len(db.History.Keys) != 7 {
		t.Errorf("%d validators", len(db.History.Keys))
	}

	// What was read is what an importer reads.
	doc, err := db.History.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if back, err := slashing.ParseInterchange(doc); err != nil || cmp.Diff(db.History, back) != "" {
		t.Errorf("the document says otherwise, %v:\n%s", err, cmp.Diff(db.History, back))
	}

	// Under a high watermark everything below counts as signed.
	a.exec(`UPDATE metadata SET high_watermark_slot = 1000, high_watermark_epoch = 20000`)
	if db, err = ReadWeb3Signer(t.Context(), "jdbc:postgresql:///postgres?user=web3signer&host="+strings.TrimPrefix(strings.Fields(connection)[0], "host=")); err != nil {
		t.Fatal(err)
	}
	if *db.HighSlot != 1000 || *db.HighEpoch != 20000 {
		t.Errorf("high watermark %d, %d", *db.HighSlot, *db.HighEpoch)
	}
	for v := byte(1); v <= 7; v++ {
		h := newest(v)
		slot, source, target := uint64(999), uint64(19999), uint64(19999)
		if v == 2 {
			slot, source, target = 1<<64-1, 1<<63, 1<<63+1
		}
		if h.Block.Slot != slot || h.Vote.Source != source || h.Vote.Target != target {
			t.Errorf("validator %d under the high watermark: %+v", v, h)
		}
	}

	a.exec(`UPDATE signed_blocks SET slot = 18446744073709551616 WHERE slot = 50`)
	refused("no slot or epoch")
}

func TestConnectionStringStaysSecret(t *testing.T) {
	for _, connection := range []string{"postgres://user:hunter2@%zz/db", "password=hunter2 port=many", "jdbc:oracle:hunter2"} {
		_, err := ReadWeb3Signer(t.Context(), connection)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
}
