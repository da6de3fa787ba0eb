package participant

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/policy"
)

func keyText(t testing.TB, i byte) string {
	seed := sha256.Sum256([]byte{i})
	key, err := ident.FromSeed(ident.Ed25519, append(seed[:], seed[:]...))
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.Public().MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestGuests(t *testing.T) {
	a, b := keyText(t, 1), keyText(t, 2)
	lines := fmt.Sprintf("# who is asked\nname,region,zone,key,member,window\nalice,eu,Europe/Paris,%s,alice,\nbob, us, America/New_York, %s,,\"sat,sun 10:00-12:00\"\n", a, b)
	list := fmt.Sprintf("- {name: alice, region: eu, zone: Europe/Paris, key: %q, member: alice}\n- {name: bob, region: us, zone: America/New_York, key: %q, window: \"sat,sun 10:00-12:00\"}\n", a, b)
	csv, err := ParseGuests([]byte(lines))
	if err != nil {
		t.Fatal(err)
	}
	yaml, err := ParseGuests([]byte(list))
	if err != nil {
		t.Fatal(err)
	}
	if Seats(csv).Hash() != Seats(yaml).Hash() || len(csv) != 2 || csv[0].Member != "alice" || csv[1].Zone != "America/New_York" {
		t.Error(cmp.Diff(csv[0].Name, yaml[0].Name), csv, yaml)
	}
	week, err := policy.ParseWeek("mon-fri 09:00-18:00")
	if err != nil {
		t.Fatal(err)
	}
	if desks := Desks(append(csv, yaml...), week, nil); len(desks) != 2 || desks[0].Week != week || desks[1].Week.Days[1] {
		t.Error(desks)
	}
	for name, raw := range map[string]string{
		"empty":           "",
		"unknown column":  "name,nick\nalice,al\n",
		"no key":          "name,region\nalice,eu\n",
		"bad key":         "name,region,key\nalice,eu,0x00\n",
		"same key":        fmt.Sprintf("name,region,key\nalice,eu,%s\nbob,eu,%s\n", a, a),
		"same name":       fmt.Sprintf("name,region,key\nalice,eu,%s\nalice,eu,%s\n", a, b),
		"no such zone":    fmt.Sprintf("name,region,zone,key\nalice,eu,Europe/Atlantis,%s\n", a),
		"no such window":  fmt.Sprintf("name,region,window,key\nalice,eu,mornings,%s\n", a),
		"missing field":   "name,region,key\nalice,eu\n",
		"unknown field":   "- {name: alice, nick: al}\n",
		"a name to paint": fmt.Sprintf("name,region,key\nali\x1bce,eu,%s\n", a),
	} {
		if _, err := ParseGuests([]byte(raw)); err == nil || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzGuests(f *testing.F) {
	f.Add([]byte("name,region,zone,key,member\nalice,eu,Europe/Paris," + keyText(f, 1) + ",alice\n"))
	f.Add([]byte("- {name: alice, region: eu, key: " + keyText(f, 1) + "}\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if guests, err := ParseGuests(raw); err == nil && Seats(guests).Check() != nil {
			t.Fatal("guests whom the ledger refuses")
		}
	})
}
