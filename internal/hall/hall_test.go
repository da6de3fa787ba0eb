package hall_test

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/dkg/assembly/assemblytest"
	"github.com/quorate/quorate/internal/hall"
	"github.com/quorate/quorate/internal/hall/halltest"
	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/ledger"
)

// A whole ceremony through one node: what it shows is what the log says, what
// is brought twice is no second entry, and the files prove themselves.
func TestHall(t *testing.T) {
	f := halltest.New(t, assemblytest.New(t, 10, 2, 3, nil))
	if err := f.Hall.Read([32]byte{1}, nil); !errors.Is(err, hall.ErrUnknown) {
		t.Fatal(err)
	}
	var first assemblytest.Post
	f.Play(map[int]assembly.Phase{4: assembly.PhaseVerify}, func(r *hall.Room) {
		if first.Seat == 0 {
			first = f.Next(r.Follower, 1)[0]
		}
		total := 0
		for _, c := range r.Follower.Cohorts() {
			total += c.Seats
			if r.Follower.Board().Phase() > assembly.PhaseDraw && (c.Cohort == 0 || c.Dealers != 3 || len(c.Took[assembly.PhaseJoin]) != c.Joined) {
				t.Errorf("cohort %+v", c)
			}
		}
		if total != 10 {
			t.Errorf("%d participants are in a cohort or in none", total)
		}
	}, func(assembly.Phase) {})
	sent := f.Sent
	if entry, err := f.Say(first); err != nil || entry == 0 || f.Sent != sent {
		t.Errorf("brought again: entry %d, %v", entry, err)
	}
	late := f.Sign(2, first.Message)
	if _, err := f.Say(late); !isCode(err, ledger.CodePhase) {
		t.Error(err)
	}
	late.Signature[3] ^= 1
	if _, err := f.Say(late); !isCode(err, ledger.CodeSigner) {
		t.Error(err)
	}
	if _, err := f.Hall.Archive(f.ID); !errors.Is(err, hall.ErrUnsealed) {
		t.Error(err)
	}
	if _, err := f.Hall.Archive([32]byte{1}); !errors.Is(err, hall.ErrUnknown) {
		t.Error(err)
	}
	record := recordOf(f)
	for seat := 1; seat <= 7; seat++ {
		s := ledger.AssemblySeal{Ceremony: f.ID, Seat: uint16(seat), Signature: assembly.SignSeal(f.Keys[seat-1], record.Link)}
		before := f.Sent
		for range 2 {
			if err := f.Hall.Seal(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		if f.Sent != before+1 {
			t.Errorf("a seal is carried %d times", f.Sent-before)
		}
		if s.Seat++; !isCode(f.Hall.Seal(t.Context(), s), ledger.CodeSigner) {
			t.Error("another's seal is taken")
		}
	}
	write, err := f.Hall.Archive(f.ID)
	var archive bytes.Buffer
	if err == nil {
		err = write(&archive)
	}
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := f.Hall.Certificate(f.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range [][]byte{archive.Bytes(), certificate} {
		if o, err := assembly.Verify(raw); err != nil || o.Confirmed != 9 {
			t.Errorf("%+v, %v", o, err)
		}
	}
	var log []byte
	for next := uint64(0); next <= record.Entries; {
		part, to, err := f.Hall.Log(f.ID, next)
		if err != nil || to <= next {
			t.Fatal(err)
		}
		log, next = append(log, part...), to
	}
	if !bytes.HasPrefix(archive.Bytes(), log) {
		t.Error("the log is not how the archive begins")
	}
}

// Ciphertexts lie here from when the dealer brings them until the ceremony
// ends; they outlive a restart, and nobody can bring others.
func TestMail(t *testing.T) {
	f := halltest.New(t, assemblytest.New(t, 4, 1, 0, func(p *assembly.Params) { p.Hybrid = true }))
	fetched := 0
	f.Play(nil, func(*hall.Room) {}, func(phase assembly.Phase) {
		if phase != assembly.PhaseVerify || fetched > 0 {
			return
		}
		for dealer := 1; dealer <= 4; dealer++ {
			var letters []byte
			for seat := 1; seat <= 4; seat++ {
				letters = append(letters, f.Letter(dealer, seat).Ciphertext...)
			}
			if _, err := f.Hall.Mail(f.ID, dealer, 1); !errors.Is(err, hall.ErrNoMail) {
				t.Error(err)
			}
			for _, bad := range [][]byte{nil, letters[kem.CiphertextSize:], append([]byte{letters[0] ^ 1}, letters[1:]...)} {
				if err := f.Hall.PutMail(f.ID, dealer, bad); !errors.Is(err, hall.ErrNotMail) {
					t.Error(err)
				}
			}
			if err := f.Hall.PutMail(f.ID, dealer%4+1, letters); !errors.Is(err, hall.ErrNotMail) {
				t.Error(err)
			}
			for range 2 {
				if err := f.Hall.PutMail(f.ID, dealer, letters); err != nil {
					t.Fatal(err)
				}
			}
			again := hall.New(f.Config)
			for seat := 1; seat <= 4; seat++ {
				l, err := again.Mail(f.ID, dealer, seat)
				if want := f.Letter(dealer, seat); err != nil || !bytes.Equal(l.Ciphertext, want.Ciphertext) || !slices.Equal(l.Path, want.Path) {
					t.Fatalf("letter of %d to %d: %v", dealer, seat, err)
				}
				fetched++
			}
		}
		for _, seat := range []int{-1, 0, 5} {
			if _, err := f.Hall.Mail(f.ID, 1, seat); !errors.Is(err, hall.ErrNoMail) {
				t.Error(err)
			}
			if _, err := f.Hall.Mail(f.ID, seat, 1); !errors.Is(err, hall.ErrNotMail) {
				t.Error(err)
			}
		}
		if err := f.Hall.FollowOpen(); err != nil {
			t.Error(err)
		}
	})
	if fetched != 16 {
		t.Fatalf("%d letters", fetched)
	}
	if err := f.Hall.FollowOpen(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(f.Config.Dir); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// A participant that says what the ledger refuses is not carried for ever.
func TestRefused(t *testing.T) {
	f := halltest.New(t, assemblytest.New(t, 4, 1, 0, func(p *assembly.Params) { p.Deadlines.Join = 600_000 }))
	vote := &assembly.Vote{CID: f.ID}
	for i := range hall.MaxRefused + 1 {
		vote.Transcript[0] = byte(i)
		_, err := f.Say(f.Sign(2, vote.Encode()))
		if i < hall.MaxRefused != isCode(err, ledger.CodePhase) || i == hall.MaxRefused != errors.Is(err, hall.ErrBusy) {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	// Whoever has what another said too late, brings it in vain.
	late := f.Sign(3, vote.Encode())
	sent := f.Sent
	for range 2 * hall.MaxRefused {
		if _, err := f.Say(late); !isCode(err, ledger.CodePhase) {
			t.Fatal(err)
		}
	}
	var join assemblytest.Post
	if err := f.Hall.Read(f.ID, func(r *hall.Room) error {
		join = f.Next(r.Follower, 3)[0]
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Say(join); err != nil || f.Sent != sent+2 {
		t.Errorf("what was refused once is carried %d times, and its participant is not heard: %v", f.Sent-sent-1, err)
	}
	// The log has grown: perhaps it is in place now. It is not counted again.
	if _, err := f.Say(late); !isCode(err, ledger.CodePhase) || f.Sent != sent+3 {
		t.Errorf("carried %d times in all: %v", f.Sent-sent, err)
	}
	if err := f.Hall.Read(f.ID, func(r *hall.Room) error {
		if r.Refused[3] != 1 {
			t.Errorf("counted %d times", r.Refused[3])
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	seen := 0
	if err := f.Hall.Rooms(func(r *hall.Room) { seen += r.Refused[2] }); err != nil || seen != hall.MaxRefused {
		t.Error(seen, err)
	}
	if _, err := f.Say(f.Sign(1, vote.Encode())); !isCode(err, ledger.CodePhase) {
		t.Error("another is refused for it", err)
	}
}

func isCode(err error, code ledger.Code) bool {
	var e *ledger.Error
	return errors.As(err, &e) && e.Code == code
}

func recordOf(f *halltest.World) *action.AssemblyRecord {
	view, err := f.View()
	if err != nil {
		f.Fatal(err)
	}
	r, _ := view.Assembly(f.ID)
	return r
}
