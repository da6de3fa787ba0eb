package opsapi

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/dkg/assembly/assemblytest"
	"github.com/quorate/quorate/internal/hall/halltest"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/secret"
)

// onWorld is a fixture whose ledger holds a ceremony among participants.
type onWorld struct {
	*fixture
	world *halltest.World
}

func (o onWorld) View() (*ledger.State, error) { return o.world.View() }

func (o onWorld) Ask(ctx context.Context, a ledger.Ask) error {
	_, err := o.world.Submit(ctx, action.KindRequest, a.Encode())
	return err
}

// laptop is a participant who has nothing but a client.
type laptop struct {
	*testing.T
	*Client
	id       string
	follower *assembly.Follower
	next     uint64
}

// read follows the log as far as it goes.
func (l *laptop) read() {
	l.Helper()
	for {
		entries, next, err := l.AssemblyLog(l.Context(), l.id, l.next)
		if err != nil {
			l.Fatal(err)
		}
		if next == l.next {
			return
		}
		if l.next = next; l.follower == nil {
			if l.follower, entries, err = assembly.Begin(entries); err != nil {
				l.Fatal(err)
			}
		}
		if err := l.follower.Take(entries); err != nil {
			l.Fatal(err)
		}
	}
}

// A whole hybrid ceremony over HTTP, without a token: people read the log, post
// and seal what they signed, and fetch each other's ciphertexts.
func TestAssemblyOverHTTP(t *testing.T) {
	w := halltest.New(t, assemblytest.New(t, 7, 1, 0, func(p *assembly.Params) { p.Hybrid = true }))
	server, err := New(Config{Ledger: onWorld{newFixture(t), w}, Keys: &keyRoom{}, Evidence: newFixture(t), Hall: w.Hall, Beacon: newFixture(t), Self: newFixture(t),
		Token: secret.New([]byte(token)), Listen: "0.0.0.0:0", Cluster: w.Cluster.ID, Node: "node0"})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(server)
	defer front.Close()
	l := &laptop{T: t, Client: NewClient(front.URL, secret.Bytes{}), id: fmt.Sprintf("%x", w.ID)}
	sent := false
	for range 100 {
		l.read()
		b := l.follower.Board()
		if b.Phase().Ended() {
			break
		}
		if b.Phase() == assembly.PhaseVerify && !sent {
			sent = true
			l.mail(w)
		}
		said := 0
		for seat := 1; seat <= 7; seat++ {
			for _, p := range w.Next(l.follower, seat) {
				entry, err := l.PostAssembly(t.Context(), l.id, AssemblyPost(p))
				if status(err) == http.StatusConflict {
					continue // another was faster, or the phase is over
				}
				if err != nil || entry == 0 {
					t.Fatalf("entry %d, %v", entry, err)
				}
				w.Took(p)
				said++
			}
		}
		if said == 0 {
			w.Make(1000, nil)
		}
	}
	l.seal(w)
	l.sees(w)
}

// mail brings everybody's ciphertexts, and fetches them again.
func (l *laptop) mail(w *halltest.World) {
	l.Helper()
	for dealer := 1; dealer <= 7; dealer++ {
		var letters []byte
		for seat := 1; seat <= 7; seat++ {
			letters = append(letters, w.Letter(dealer, seat).Ciphertext...)
		}
		if err := l.PutLetters(l.Context(), l.id, dealer, letters[1:]); status(err) != http.StatusBadRequest {
			l.Error(err)
		}
		if _, err := l.Letter(l.Context(), l.id, dealer, 3); status(err) != http.StatusNotFound {
			l.Error(err)
		}
		if err := l.PutLetters(l.Context(), l.id, dealer, letters); err != nil {
			l.Fatal(err)
		}
		got, err := l.Letter(l.Context(), l.id, dealer, 3)
		if want := w.Letter(dealer, 3); err != nil || !bytes.Equal(got.Ciphertext, want.Ciphertext) || !slices.Equal(got.Path, want.Path) {
			l.Fatal(err)
		}
	}
}

func (l *laptop) seal(w *halltest.World) {
	l.Helper()
	if err := l.AssemblyArchive(l.Context(), l.id, &bytes.Buffer{}); status(err) != http.StatusConflict {
		l.Error(err)
	}
	for seat := 1; seat <= 5; seat++ {
		if err := l.SealAssembly(l.Context(), l.id, AssemblySeal{seat, assembly.SignSeal(w.Keys[seat-1], l.follower.Link())}); err != nil {
			l.Fatal(err)
		}
	}
	if err := l.SealAssembly(l.Context(), l.id, AssemblySeal{6, assembly.SignSeal(w.Keys[0], l.follower.Link())}); status(err) != http.StatusForbidden {
		l.Error(err)
	}
}

// sees compares what the node shows with what the participant knows.
func (l *laptop) sees(w *halltest.World) {
	l.Helper()
	var archive bytes.Buffer
	if err := l.AssemblyArchive(l.Context(), l.id, &archive); err != nil {
		l.Fatal(err)
	}
	certificate, err := l.AssemblyCertificate(l.Context(), l.id)
	if err != nil {
		l.Fatal(err)
	}
	for _, raw := range [][]byte{archive.Bytes(), certificate} {
		if o, err := assembly.Verify(raw); err != nil || o.Confirmed != 7 {
			l.Errorf("%+v, %v", o, err)
		}
	}
	a, err := l.Assembly(l.Context(), l.id, true)
	key, _ := l.follower.Board().PublicKey()
	link := l.follower.Link()
	if err != nil || a.Phase != "done" || a.PublicKey != key.String() || a.Entries != l.follower.Entries() || a.Link != fmt.Sprintf("%x", link) ||
		!a.Sealed || a.Seals != 5 || !a.DepositSafe || len(a.Seats) != 7 || !a.Seats[6].Confirmed || len(a.Cohorts) != 1 ||
		a.Cohorts[0].Confirmed != 7 || a.Cohorts[0].Latency["join"].Heard != 7 || len(a.Cohorts[0].Regions) != 3 {
		l.Errorf("%+v, %v", a, err)
	}
	if a, err = l.Assembly(l.Context(), l.id, false); err != nil || a.Seats != nil || a.Cohorts == nil {
		l.Errorf("%+v, %v", a, err)
	}
	all, err := l.Assemblies(l.Context())
	if err != nil || len(all) != 1 || all[0].ID != l.id || all[0].Phase != "done" {
		l.Errorf("%+v, %v", all, err)
	}
	keyed := NewClient(l.base, secret.New([]byte(token)))
	inventory, err := keyed.Keys(l.Context())
	if err != nil || len(inventory) != 1 || inventory[0].State != "held" || inventory[0].Provenance != "assembled" || inventory[0].Holders != 7 {
		l.Errorf("%+v, %v", inventory, err)
	}
	if _, err := l.Keys(l.Context()); status(err) != http.StatusUnauthorized {
		l.Error("the inventory needs no token", err)
	}
	for _, wrong := range []string{strings.Repeat("ab", 32), "x"} {
		if _, err := l.Assembly(l.Context(), wrong, true); status(err) != http.StatusNotFound && status(err) != http.StatusBadRequest {
			l.Error(wrong, err)
		}
	}
	if _, err := l.PostAssembly(l.Context(), l.id, AssemblyPost{Seat: 99999}); status(err) != http.StatusBadRequest {
		l.Error(err)
	}
	if _, err := l.AssemblyProof(l.Context(), l.id); status(err) != http.StatusServiceUnavailable {
		l.Error(err)
	}
}

// What asks for a ceremony says what is wrong with it before anybody is asked;
// asking as the node takes its token.
func TestAskAssembly(t *testing.T) {
	c := assemblytest.New(t, 7, 1, 0, nil)
	w := halltest.New(t, c)
	f := newFixture(t)
	server, err := New(Config{Ledger: onWorld{f, w}, Keys: &f.keys, Evidence: f, Hall: w.Hall, Beacon: f, Self: f, Token: secret.New([]byte(token)), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(server)
	defer front.Close()
	wants := c.Action("another").Assembly
	c.Params.Nonce[0]++
	wants.Params = c.Params.Encode()
	ask, err := AskAssembly(wants, c.List)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewClient(front.URL, secret.Bytes{}).OpenAssembly(t.Context(), ask); status(err) != http.StatusUnauthorized {
		t.Error(err)
	}
	if _, err := NewClient(front.URL, secret.New([]byte(token))).OpenAssembly(t.Context(), ask); status(err) != http.StatusForbidden {
		t.Error("the policy of this cluster lets no node ask", err)
	}
	many := slices.Clone(c.List)
	seed := make([]byte, ident.SeedSize)
	for i := range 300 {
		seed[0], seed[1] = byte(i), byte(i>>8)
		key, err := ident.FromSeed(ident.Ed25519MLDSA65, seed)
		if err != nil {
			t.Fatal(err)
		}
		many = append(many, action.Participant{Name: fmt.Sprint("q", i), Region: "r", Key: key.Public()})
	}
	if _, err := AskAssembly(wants, many); err == nil || !strings.Contains(err.Error(), "hint:") {
		t.Error(err)
	}
	many[1].Name = many[2].Name
	if _, err := AskAssembly(wants, many); err == nil || !strings.Contains(err.Error(), "seats 2 and 3") {
		t.Error(err)
	}
}
