package participant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/kem"
	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// Sealer keeps a participant's secrets in files; credential.Box is one.
type Sealer interface {
	Seal(what string, content secret.Bytes) ([]byte, error)
	Open(what string, file []byte) (secret.Bytes, error)
}

// Config is what a seat is opened with.
type Config struct {
	Dir        string // the seat's own directory; made if it is not there
	Invitation *Invitation
	Signer     credential.Signer // the enrolled credential
	Sealer     Sealer
	Random     io.Reader // for the seed of a new seat
}

// Seat is one participant's place in one ceremony. It is for use by one
// goroutine, and its directory for one process.
type Seat struct {
	config Config
	cid    [32]byte
	me     int
	lock   *durable.DirLock
	log    *os.File // the archive, as far as the ledger proved it
	damage error    // why what was there is not gone by

	light    light
	follower *assembly.Follower // nil before the first bundle
	coins    func() secret.Bytes
	self     *assembly.Participant
	heard    map[string]bool // own messages that are on the log
	said     said
}

// Files of a seat's directory.
const (
	fileInvitation = "invitation.json"
	fileSeed       = "seed"
	fileLog        = "log"
	fileProof      = "proof" // the certificate that proves the log's last link
	fileShare      = "share"
	fileLetter     = "letter-"

	whatSeed = "quorate participant seed v1"
)

// ErrStop is wrapped by errors that are no carrier's fault: what the ledger
// proves does not let the seat go on, whoever brings it.
var ErrStop = errors.New("the seat cannot go on")

// ErrForeign means that the seat joined, but not from this directory.
var ErrForeign = fmt.Errorf("%w: it joined with another seed than the one in this directory", ErrStop)

// ErrIdentity means that the seat is another's.
var ErrIdentity = fmt.Errorf("%w: the ceremony knows its seat by another key than this identity's", ErrStop)

// Open takes a seat, or takes it again. A seat that is new gets its seed, and
// nothing ever gives a seat that has followed a log another one.
func Open(c Config) (s *Seat, err error) {
	cid, err := c.Invitation.cid()
	if err != nil {
		return nil, err
	}
	s = &Seat{config: c, cid: cid, me: c.Invitation.Seat, heard: map[string]bool{}}
	if s.light, err = newLight(c.Invitation); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("take seat: %w", err)
	}
	if s.lock, err = durable.Lock(c.Dir); err != nil {
		return nil, err
	}
	if err = s.load(); err != nil {
		s.Close()
		return nil, fmt.Errorf("take seat %d in %s: %w", s.me, c.Dir, err)
	}
	return s, nil
}

// Close lets go of the directory, and forgets.
func (s *Seat) Close() {
	if s.coins != nil {
		s.coins().Destroy()
	}
	if s.self != nil {
		s.self.Destroy()
	}
	if s.log != nil {
		s.log.Close()
	}
	s.lock.Close()
}

func (s *Seat) path(name string) string { return filepath.Join(s.config.Dir, name) }

func (s *Seat) load() error {
	if handedOver(s.config.Dir) {
		return ErrHandedOver
	}
	if err := s.loadSeed(); err != nil {
		return err
	}
	var err error
	if s.log, err = os.OpenFile(s.path(fileLog), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(s.log, wire.MaxArchive))
	if err != nil {
		return err
	}
	certificate, err := durable.ReadFile(durable.OS{}, s.path(fileProof), wire.MaxProof)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, unproven := s.light.prove(s.cid, certificate)
	if f, _, err := assembly.Begin(raw); err == nil && unproven != nil && f.Board().ID() != s.cid {
		return fmt.Errorf("it is the directory of ceremony %x", f.Board().ID())
	}
	if certificate == nil {
		return nil // nothing was followed, or a crash came before it was proven
	}
	var f *assembly.Follower
	var entries []assembly.Entry
	var whole int
	if s.damage = unproven; s.damage == nil {
		f, entries, whole, s.damage = readLog(raw, l.record)
	}
	if s.damage != nil {
		return nil
	}
	if err := s.log.Truncate(int64(whole)); err != nil {
		return err
	}
	if _, err := s.log.Seek(int64(whole), io.SeekStart); err != nil {
		return err
	}
	if err := s.begin(f); err != nil {
		return err
	}
	s.light = l
	return s.follow(entries)
}

// readLog reads a log as far as a record proves it, and returns how many bytes
// those are: what a crash left behind them is fetched again.
func readLog(raw []byte, r *action.AssemblyRecord) (f *assembly.Follower, entries []assembly.Entry, whole int, err error) {
	f, rest, err := assembly.Begin(raw)
	if err != nil {
		return nil, nil, 0, err
	}
	entries, err = assembly.ReadEntries(rest)
	if uint64(len(entries)) < r.Entries {
		return nil, nil, 0, fmt.Errorf("%d of %d: %w", len(entries), r.Entries, errors.Join(ErrShort, err))
	}
	entries = entries[:r.Entries]
	link, whole := f.Link(), len(raw)-len(rest)
	for i := range entries {
		link, whole = entries[i].Link(link), whole+len(entries[i].Raw)
	}
	if link != r.Link {
		return nil, nil, 0, ErrLog
	}
	return f, entries, whole, nil
}

// loadSeed opens the seed, or makes it, durably, before anything is said.
func (s *Seat) loadSeed() error {
	file, err := durable.ReadFile(durable.OS{}, s.path(fileSeed), credential.MaxSecretFile)
	var seed secret.Bytes
	switch {
	case err == nil:
		if seed, err = s.config.Sealer.Open(whatSeed, file); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	default:
		if _, err := os.Lstat(s.path(fileLog)); err == nil {
			return errors.New("the directory has a log and no seed: what the seat said cannot be said again")
		}
		if seed, err = secret.Random(s.config.Random, assembly.SeedSize); err != nil {
			return err
		}
		if file, err = s.config.Sealer.Seal(whatSeed, seed); err != nil {
			return err
		}
		if err := durable.WriteOSFile(s.path(fileSeed), file, 0o600); err != nil {
			return err
		}
	}
	s.coins = func() secret.Bytes { return seed }
	return nil
}

// begin starts to follow at the archive's head.
func (s *Seat) begin(f *assembly.Follower) (err error) {
	f.Examine = true
	p, roster := f.Board().Params(), f.Roster()
	if p.ID() != s.cid {
		return fmt.Errorf("%w: it is that of ceremony %x", ErrLog, p.ID())
	}
	if s.me > int(p.N) || string(roster[s.me-1].Bytes()) != string(s.config.Signer.Public().Bytes()) {
		return ErrIdentity
	}
	if s.self, err = assembly.NewParticipant(p, s.me, s.coins()); err != nil {
		return err
	}
	s.follower = f
	return nil
}

// follow takes entries that are on disk.
func (s *Seat) follow(entries []assembly.Entry) error {
	for i := range entries {
		e := &entries[i]
		if e.Seat == s.me {
			s.heard[string(e.Message)] = true
		}
		if err := s.follower.Take(e.Raw); err != nil {
			return fmt.Errorf("%w: %w", ErrStop, err)
		}
	}
	if slices.Contains(s.follower.Board().Joined(), s.me) && !s.heard[string(s.self.Join().Encode())] {
		return ErrForeign
	}
	return nil
}

// Number is the seat's.
func (s *Seat) Number() int { return s.me }

// Board is the ceremony as far as the seat has followed it; nil before the
// first bundle.
func (s *Seat) Board() *assembly.Board {
	if s.follower == nil {
		return nil
	}
	return s.follower.Board()
}

// Entries says how many entries of the log the seat has followed.
func (s *Seat) Entries() uint64 {
	if s.follower == nil {
		return 0
	}
	return s.follower.Entries()
}

// Time is that of the newest block that was proven; zero before the first.
func (s *Seat) Time() time.Time { return s.light.now }

// Record is what the ledger last proved of the ceremony; nil before the first
// bundle.
func (s *Seat) Record() *action.AssemblyRecord { return s.light.record }

// Left says whether the ceremony goes on without the seat, because it did not
// join in time.
func (s *Seat) Left() bool {
	b := s.Board()
	return b != nil && b.Phase() > assembly.PhaseJoin && !slices.Contains(b.Joined(), s.me)
}

// Damage says why the log that the directory has counts for nothing, until
// what was there is fetched anew; nil when it does count. The seed is what the
// seat speaks from, so that it says again what it said.
func (s *Seat) Damage() error { return s.damage }

// HasShare says whether the share is on disk.
func (s *Seat) HasShare() bool {
	_, err := os.Lstat(s.path(fileShare))
	return err == nil
}

// Take follows what a bundle brings. Nothing of it is believed: the ledger's
// certificate proves the link, the link the entries, and they are on disk
// before the seat acts on them.
func (s *Seat) Take(b *Bundle) error {
	if err := s.take(b); err != nil {
		return fmt.Errorf("take bundle: %w", err)
	}
	return nil
}

func (s *Seat) take(b *Bundle) error {
	if b.Ceremony != s.cid {
		return fmt.Errorf("it is of ceremony %x", b.Ceremony)
	}
	light, err := s.light.prove(s.cid, b.Certificate)
	if err != nil {
		return err
	}
	proven := light.record
	if proven.Entries < s.Entries() {
		return fmt.Errorf("%d entries, followed %d: %w", proven.Entries, s.Entries(), ErrOld)
	}
	if b.From > s.Entries() {
		return fmt.Errorf("it begins behind entry %d, followed %d: %w", b.From, s.Entries(), ErrGap)
	}
	var first *assembly.Follower
	raw := b.Log
	if b.From == 0 {
		if first, raw, err = assembly.Begin(b.Log); err != nil {
			return err
		}
	}
	entries, err := assembly.ReadEntries(raw)
	if err != nil {
		return err
	}
	have := s.Entries() - b.From
	if uint64(len(entries)) < proven.Entries-b.From {
		return fmt.Errorf("%d of %d: %w", b.From+uint64(len(entries)), proven.Entries, ErrShort)
	}
	entries = entries[have : proven.Entries-b.From]
	var head []byte
	if s.follower == nil {
		head = b.Log[:len(b.Log)-len(raw)]
		if err := s.begin(first); errors.Is(err, ErrIdentity) {
			return errors.Join(err, s.vacate())
		} else if err != nil {
			return err
		}
	}
	if err := s.accept(head, entries, proven, b.Certificate); err != nil {
		return err
	}
	s.light = light
	return s.keepLetters(b.Letters)
}

// vacate leaves a directory that was made with the key of somebody else as it
// was, for the seat's own key file could not open the seed in it. A seat speaks
// only when it has followed a log: where there is none, the seed said nothing.
func (s *Seat) vacate() error {
	if followed, err := s.log.Stat(); err != nil || followed.Size() > 0 {
		return err
	}
	if _, err := os.Lstat(s.path(fileProof)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Remove(s.path(fileLog)); err != nil {
		return err
	}
	return os.Remove(s.path(fileSeed))
}

// Taken says whether a directory is that of a seat.
func Taken(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, fileSeed))
	return err == nil || handedOver(dir)
}

// accept compares the link, keeps the entries, and follows them. Behind a head
// they take the place of whatever is in the directory.
func (s *Seat) accept(head []byte, entries []assembly.Entry, proven *action.AssemblyRecord, certificate []byte) error {
	link, out := s.follower.Link(), slices.Clone(head)
	for i := range entries {
		link = entries[i].Link(link)
		out = append(out, entries[i].Raw...)
	}
	if link != proven.Link {
		if head != nil {
			s.follower = nil
		}
		return ErrLog
	}
	if len(out) > 0 {
		if err := s.keep(head != nil, out, certificate); err != nil {
			return fmt.Errorf("%w: keep the log: %w", ErrStop, err)
		}
	}
	s.damage = nil
	return s.follow(entries)
}

// keep writes entries, and then the certificate that proves them. Without it
// they count for nothing after a crash.
func (s *Seat) keep(anew bool, out, certificate []byte) error {
	if anew {
		if err := s.log.Truncate(0); err != nil {
			return err
		}
		if _, err := s.log.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	if _, err := s.log.Write(out); err != nil {
		return err
	}
	if err := s.log.Sync(); err != nil {
		return err
	}
	return durable.WriteOSFile(s.path(fileProof), certificate, 0o600)
}

// keepLetters stores what dealers sent, if it is what they committed to.
func (s *Seat) keepLetters(letters map[int]assembly.Letter) error {
	for dealer, l := range letters {
		if !s.Board().IsLetter(dealer, s.me, &l) {
			continue
		}
		var e wire.Encoder
		e.Fixed(l.Ciphertext)
		e.Path(l.Path)
		if err := durable.WriteOSFile(s.path(fileLetter+strconv.Itoa(dealer)), e.Out(), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// letter returns what a dealer sent; nil when nothing came.
func (s *Seat) letter(dealer int) *assembly.Letter {
	raw, err := durable.ReadFile(durable.OS{}, s.path(fileLetter+strconv.Itoa(dealer)), kem.CiphertextSize+4+32*maxPath)
	if err != nil {
		return nil
	}
	d := wire.NewDecoder(raw)
	l := &assembly.Letter{Ciphertext: make([]byte, kem.CiphertextSize)}
	d.Fixed(l.Ciphertext)
	l.Path = d.Path(maxPath)
	if d.Finish() != nil || !s.Board().IsLetter(dealer, s.me, l) { // damaged, it is fetched again
		return nil
	}
	return l
}

// Missing returns the dealers whose letters the seat waits for: those that it is
// to report on, and those that it makes its share of, if the disk lost one.
func (s *Seat) Missing() (dealers []int) {
	b := s.Board()
	if b == nil || !b.Params().Hybrid || !b.MayReport(s.me) && (b.Phase() != assembly.PhaseConfirm || s.HasShare()) {
		return nil
	}
	for _, d := range b.Qualified() {
		if s.letter(d) == nil {
			dealers = append(dealers, d)
		}
	}
	return dealers
}

// Reply says what is due, signed. It may be asked at any time, and as often
// as one likes: what the log has already is not said again.
func (s *Seat) Reply(ctx context.Context) (*Reply, error) {
	r := &Reply{Ceremony: s.cid, Seat: s.me, Entries: s.Entries()}
	if s.follower == nil {
		return r, nil
	}
	r.Phase = s.Board().Phase()
	messages, mail, err := s.due()
	if err != nil {
		return nil, fmt.Errorf("say what is due in phase %s: %w", s.Board().Phase(), err)
	}
	r.Mail = mail
	for _, raw := range messages {
		if s.heard[string(raw)] {
			continue
		}
		tag, parts := assembly.MessageParts(s.me, raw)
		signature, err := s.config.Signer.Sign(ctx, tag, parts...)
		if err != nil {
			return nil, fmt.Errorf("sign message: %w", err)
		}
		r.Posts = append(r.Posts, Post{raw, signature})
	}
	if s.Board().Phase() >= assembly.PhaseDone {
		tag, parts := assembly.SealParts(s.follower.Link())
		if r.Seal, err = s.config.Signer.Sign(ctx, tag, parts...); err != nil {
			return nil, fmt.Errorf("seal the archive: %w", err)
		}
	}
	return r, nil
}
