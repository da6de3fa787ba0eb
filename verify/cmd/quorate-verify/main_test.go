package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	vectors    = "../../../spec/vectors/evidence/"
	ceremonies = "../../../spec/vectors/ceremony/"
	rounds     = "../../../spec/vectors/beacon/rounds/"
	beacon     = "0xb928f3beb93519eecf0145da903b40a4c97dca00b21f12ac0df3be9116ef2ef27b2ae6bcd4c5bc2d54ef5a70627efcb7"
)

func TestExitCodes(t *testing.T) {
	genesis := "--genesis=" + vectors + "genesis.json"
	unknown := filepath.Join(t.TempDir(), "unknown")
	if err := os.WriteFile(unknown, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(t.TempDir(), "short")
	raw, err := os.ReadFile(ceremonies + "honest.certificate")
	if err == nil {
		err = os.WriteFile(short, raw[:len(raw)-1], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args   []string
		code   int
		output string // part of it
	}{
		"a log":              {[]string{genesis, vectors + "good/complete.log"}, 0, "verified: audit log, 17 events, 2 checkpoints, 2 cosignatures"},
		"all four suites":    {[]string{genesis, vectors + "good/approvals.log"}, 0, "13 of them erased or withheld, proven at height 9, 2023-11-14 22:13:29Z, 4 signatures of transactions verified\n"},
		"a stranger":         {[]string{genesis, vectors + "good/stranger.log"}, 0, "2 not, for want of a credential"},
		"several kinds":      {[]string{vectors + "good/checkpoint", vectors + "good/ceremony.receipt", genesis}, 0, "verified: receipt, 2 events"},
		"one of two refused": {[]string{genesis, vectors + "bad/short.log", vectors + "good/small.log"}, 1, "REFUSED: byte "},
		"an unknown kind":    {[]string{genesis, unknown}, 1, "no audit log, receipt, checkpoint or transcript"},
		"help":               {[]string{"--help"}, 0, "usage:"},
		"nothing":            {nil, 2, "no file"},
		"no genesis":         {[]string{vectors + "good/small.log"}, 2, "hint: --genesis"},
		"genesis beside it":  {[]string{vectors + "good.json"}, 1, "no audit log"},
		"transcripts": {[]string{ceremonies + "bad-share.archive", ceremonies + "federation.federation", ceremonies + "ledger-honest.archive"}, 0,
			"verified: ceremony archive, ceremony a451e158073316d9222652a80f221a1d8333f791941bc8e7657512a03ecaf347, an exercise whose keys do not count, 3 shares of 4, " +
				"ended in phase done, key 0x91dd65d132a20116a3e12944472d00d499a075699faa5f12d7631971a9dd3715c36184fe2304418c2fee4141e6df817a, confirmed by 4, " +
				"safe to deposit to, participant 1 to blame: false share\n"},
		"a hand-over": {[]string{ceremonies + "ledger-handover.archive"}, 0,
			"reshare to epoch 1, handed over by the participants of ceremony 5bf5defc1fded31ea1c9435751a567c1381099e352ea9e1f530dd25797c04d30, "},
		"a round":             {[]string{"--key", beacon, rounds + "plain.json"}, 0, "verified: beacon round 12, randomness "},
		"a proven round":      {[]string{rounds + "proven.json", "--genesis", rounds + "../genesis.json"}, 0, "verified: beacon round 12"},
		"a round of whom":     {[]string{rounds + "plain.json", "--genesis", rounds + "../genesis.json"}, 1, "hint: get the round with --proof"},
		"a round, no key":     {[]string{rounds + "plain.json"}, 2, "--key HEX"},
		"another's round":     {[]string{"--key", beacon, rounds + "other-height.json"}, 1, "did not sign round 13"},
		"no key":              {[]string{"--key", "0xyz", rounds + "plain.json"}, 2, "key: "},
		"of both sorts":       {[]string{genesis, ceremonies + "honest.certificate", vectors + "good/small.log"}, 0, "verified: audit log"},
		"a short transcript":  {[]string{short}, 1, "REFUSED: verify ceremony certificate: read up to byte"},
		"no such file":        {[]string{genesis, "absent"}, 2, "absent"},
		"unknown, no genesis": {[]string{unknown}, 1, "no audit log"},
		"no genesis document": {[]string{"--genesis", vectors + "good.json", vectors + "good/small.log"}, 2, "read genesis"},
		"an unknown flag":     {[]string{"--fast", vectors + "good/small.log"}, 2, "usage:"},
		"an unknown output":   {[]string{genesis, "-o", "xml", vectors + "good/small.log"}, 2, "xml"},
	} {
		var out bytes.Buffer
		if code := run(c.args, &out, &out); code != c.code || !strings.Contains(out.String(), c.output) {
			t.Errorf("%s: exit code %d, want %d with %q:\n%s", name, code, c.code, c.output, out.String())
		}
	}
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	code := run([]string{"-o", "json", "--genesis", vectors + "genesis.json", vectors + "good/small.log", vectors + "bad/short.log", ceremonies + "ledger-honest.certificate"}, &out, &out)
	var verdicts []struct {
		File, Kind, Error string
		OK                bool
		Events, Height    uint64
		Transactions      struct{ Verified uint64 }
		Transcript        struct {
			Kind       string
			PublicKeys []string `json:"public_keys"`
		}
	}
	if err := json.Unmarshal(out.Bytes(), &verdicts); err != nil {
		t.Fatal(err)
	}
	if v := verdicts[0]; code != 1 || !v.OK || v.Kind != "audit log" || v.Events != 17 || v.Height != 9 || v.Transactions.Verified != 10 || v.Error != "" {
		t.Errorf("exit code %d, %+v", code, v)
	}
	if v := verdicts[1]; v.OK || !strings.Contains(v.Error, "byte ") {
		t.Errorf("%+v", v)
	}
	if v := verdicts[2]; !v.OK || v.Kind != "" || v.Transcript.Kind != "ledger ceremony certificate" || len(v.Transcript.PublicKeys) != 2 {
		t.Errorf("%+v", v)
	}
}
