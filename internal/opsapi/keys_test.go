package opsapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/eth"
	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/slashing"
	"github.com/quorate/quorate/internal/wire"
)

// keyRoom remembers what it was asked for.
type keyRoom struct {
	asked  []string
	lent   []byte // the last password, as it was lent
	refuse error
}

var someKey = [48]byte{0xaa, 47: 0x01}

func (k *keyRoom) note(format string, args ...any) {
	k.asked = append(k.asked, fmt.Sprintf(format, args...))
}

func (k *keyRoom) ImportKeystore(_ context.Context, keystore, password []byte) (bool, [48]byte, error) {
	k.note("import %s with %q", keystore, password)
	k.lent = password
	return true, someKey, k.refuse
}

func (k *keyRoom) ImportSlashing(_ context.Context, interchange []byte) error {
	k.note("raise %d bytes", len(interchange))
	return k.refuse
}

func (k *keyRoom) ExportSlashing(_ context.Context, keys [][48]byte) (slashing.Interchange, error) {
	k.note("export %x", keys)
	return history(3), k.refuse
}

func (k *keyRoom) ExportOwnSlashing(_ context.Context, keys [][48]byte) (slashing.Interchange, error) {
	k.note("export own %x", keys)
	return history(2), k.refuse
}

func (k *keyRoom) Exit(_ context.Context, key [48]byte, index, epoch *uint64) (eth.VoluntaryExit, [96]byte, error) {
	text := func(v *uint64) string {
		if v == nil {
			return "?"
		}
		return fmt.Sprint(*v)
	}
	k.note("exit %x %s %s", key, text(index), text(epoch))
	return eth.VoluntaryExit{Epoch: 1 << 63, ValidatorIndex: 7}, [96]byte{1}, k.refuse
}

func (k *keyRoom) ExitAction(key [48]byte, index, epoch *uint64) (*action.Action, error) {
	duty := eth.Duty{Message: &eth.VoluntaryExit{ValidatorIndex: *index, Epoch: *epoch}}
	return &action.Action{Rule: action.RuleExit, Domain: action.DomainValidator, PublicKey: key[:], Duty: eth.EncodeDuty(duty)}, k.refuse
}

func (k *keyRoom) ExitGranted(_ context.Context, request [32]byte) (eth.VoluntaryExit, [96]byte, error) {
	k.note("exit of %x", request[:2])
	return eth.VoluntaryExit{Epoch: 1, ValidatorIndex: 7}, [96]byte{1}, k.refuse
}

func (k *keyRoom) ExitOf(_ context.Context, canonical []byte) (eth.VoluntaryExit, [96]byte, error) {
	k.note("exit by %x", canonical)
	return eth.VoluntaryExit{Epoch: 1, ValidatorIndex: 8}, [96]byte{1}, k.refuse
}

func history(slot uint64) slashing.Interchange {
	return slashing.Interchange{Keys: []slashing.KeyHistory{
		{Key: someKey, Watermarks: slashing.Watermarks{Block: slashing.BlockMark{Known: true, Slot: slot}}}}}
}

const password = "correct horse \"battery\" staple 🔑"

// TestKeys holds client and server against each other, and both against what
// the node is asked in the end.
func TestKeys(t *testing.T) {
	f := newFixture(t)
	server := httptest.NewServer(f.server)
	defer server.Close()
	c := NewClient(server.URL, secret.New([]byte(token)))
	ctx := t.Context()
	imported, err := c.ImportKeystore(ctx, []byte(`{"version": 4}`), secret.New([]byte(password)))
	if err != nil || !imported.Created || imported.PublicKey != fmt.Sprintf("0x%x", someKey) {
		t.Errorf("import: %+v, %v", imported, err)
	}
	if len(f.keys.lent) != len(password) || !bytes.Equal(f.keys.lent, make([]byte, len(password))) {
		t.Errorf("the password was not wiped: %q", f.keys.lent)
	}
	doc, err := history(3).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if raised, err := c.ImportSlashing(ctx, doc); err != nil || raised.Keys != 1 {
		t.Errorf("import history: %+v, %v", raised, err)
	}
	pubkey := fmt.Sprintf("0x%x", someKey)
	for own, slot := range map[bool]uint64{false: 3, true: 2} {
		raw, err := c.ExportSlashing(ctx, []string{pubkey}, own)
		if err != nil {
			t.Fatal(err)
		}
		if ic, err := slashing.ParseInterchange(raw); err != nil || len(ic.Keys) != 1 || ic.Keys[0].Block.Slot != slot {
			t.Errorf("export %t: %+v, %v", own, ic, err)
		}
	}
	if _, err := c.ExportSlashing(ctx, nil, false); err != nil {
		t.Error(err)
	}
	index, epoch := uint64(7), uint64(1<<63)
	for _, req := range []Exit{{}, {&index, nil}, {&index, &epoch}} {
		got, err := c.Exit(ctx, pubkey, req)
		want := SignedVoluntaryExit{VoluntaryExit{1 << 63, 7}, "0x01" + strings.Repeat("00", 95)}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("exit: %v %s", err, diff)
		}
	}
	want := []string{
		`import {"version": 4} with ` + fmt.Sprintf("%q", password), fmt.Sprintf("raise %d bytes", len(doc)),
		"export " + fmt.Sprintf("[%x]", someKey), "export own " + fmt.Sprintf("[%x]", someKey), "export []",
		fmt.Sprintf("exit %x ? ?", someKey), fmt.Sprintf("exit %x 7 ?", someKey), fmt.Sprintf("exit %x 7 9223372036854775808", someKey),
	}
	exports := f.keys.asked[2:4] // a map is in no order
	if strings.HasPrefix(exports[0], "export own") {
		exports[0], exports[1] = exports[1], exports[0]
	}
	if diff := cmp.Diff(want, f.keys.asked); diff != "" {
		t.Error(diff)
	}
}

// TestKeysNeedTheToken: all four routes, and reading history, too, because it
// has every holder work.
func TestKeysNeedTheToken(t *testing.T) {
	f := newFixture(t)
	for route, body := range map[string]string{
		"POST /v1/keys/import": `{}`, "POST /v1/slashing": `{}`, "GET /v1/slashing": "", "HEAD /v1/slashing": "",
		fmt.Sprintf("POST /v1/keys/0x%x/exit", someKey): `{}`,
	} {
		method, path, _ := strings.Cut(route, " ")
		for _, header := range []string{"", "Bearer wrong", "Bearer " + token[:31]} {
			if w := f.do(method, path, body, "Authorization", header); w.Code != http.StatusUnauthorized {
				t.Errorf("%s with %q: %d, want 401", route, header, w.Code)
			}
		}
	}
	if len(f.keys.asked) != 0 {
		t.Errorf("done without the token: %q", f.keys.asked)
	}
}

func TestKeysMalformed(t *testing.T) {
	f := newFixture(t)
	var log bytes.Buffer
	f.server.config.Log = slog.New(slog.NewTextHandler(&log, nil))
	exit := fmt.Sprintf("POST /v1/keys/0x%x/exit", someKey)
	secret64 := base64.StdEncoding.EncodeToString([]byte(password))
	for _, c := range []struct{ route, body string }{
		{"POST /v1/keys/import", ``},
		{"POST /v1/keys/import", `[]`},
		{"POST /v1/keys/import", `{"keystore":{},"password":"` + secret64},
		{"POST /v1/keys/import", `{"keystore":{},"password":"*` + secret64 + `"}`},
		{"POST /v1/keys/import", `{"keystore":{},"password":"` + password + `"}`},
		{"POST /v1/keys/import", `{"keystore":{},"password":"` + secret64 + `"} more`},
		{"POST /v1/keys/import", `{"keystore":"` + strings.Repeat("x", maxImport) + `","password":"` + secret64 + `"}`},
		{"POST /v1/slashing", ``},
		{"POST /v1/slashing", `{}`},
		{"POST /v1/slashing", `{"metadata":{"interchange_format_version":"4"}}`},
		{"POST /v1/slashing", strings.Repeat(" ", wire.MaxImportBody+1)},
		{"GET /v1/slashing?pubkey=0x00", ""},
		{"GET /v1/slashing?node=perhaps", ""},
		{exit, ``},
		{exit, `{"epoch":5}`},
		{exit, `{"epoch":"-5"}`},
		{exit, `{"validator_index":"x"}`},
		{exit, `{"index":"5"}`},
		{exit, `{} {}`},
		{"POST /v1/keys/0x00/exit", `{}`},
	} {
		method, path, _ := strings.Cut(c.route, " ")
		w := f.do(method, path, c.body, "Authorization", "Bearer "+token)
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s %.60q: %d %s, want 400", c.route, c.body, w.Code, w.Body)
		}
		for _, said := range []string{w.Body.String(), log.String()} {
			if strings.Contains(said, secret64) || strings.Contains(said, password) || strings.Contains(said, "horse") {
				t.Errorf("%s repeats the password: %s", c.route, said)
			}
		}
	}
	if len(f.keys.asked) != 0 {
		t.Errorf("done nonetheless: %.200q", f.keys.asked)
	}
}

// TestKeysRefused: what holders refuse reaches the operator, faults do not.
func TestKeysRefused(t *testing.T) {
	f := newFixture(t)
	doc, err := history(3).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err    error
		status int
		text   string
	}{
		{rpc.Errorf(rpc.CodeMalformed, "wrong password"), 400, "wrong password"},
		{rpc.Errorf(rpc.CodeUnknownKey, "no such key"), 404, "no such key"},
		{rpc.Errorf(rpc.CodeNotGranted, "no rule"), 403, "no rule"},
		{rpc.Errorf(rpc.CodeOutOfRange, "epoch 9"), 409, "epoch 9"},
		{fmt.Errorf("ask: %w", rpc.ErrConn), 503, "connection lost"},
		{rpc.Errorf(rpc.CodeUnavailable, "2 of 4"), 503, "2 of 4"},
		{errors.New("the disk at /secret"), 500, "internal error"},
	} {
		f.keys.refuse = c.err
		for route, body := range map[string]string{
			"POST /v1/keys/import": `{}`, "POST /v1/slashing": string(doc), "GET /v1/slashing": "",
			fmt.Sprintf("POST /v1/keys/0x%x/exit", someKey): `{}`,
		} {
			method, path, _ := strings.Cut(route, " ")
			w := f.do(method, path, body, "Authorization", "Bearer "+token)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.text) || strings.Contains(w.Body.String(), "/secret") {
				t.Errorf("%s: %v: %d %s, want %d %q", route, c.err, w.Code, w.Body, c.status, c.text)
			}
		}
	}
}
