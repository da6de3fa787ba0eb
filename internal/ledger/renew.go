package ledger

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg"
)

// This file gives existing keys new shares. The commit of a new epoch is the
// end of its ceremony: n - f new holders have signed that they stored and
// checked their shares, and from that block on the key's record names the new
// epoch, threshold, holders and commitment, all keys of the ceremony at once.

// HoldersOf returns the seats that hold a share of a key.
func HoldersOf(k *action.KeyRecord) dkg.Seats {
	if k.Held() {
		return 0
	}
	return dkg.AllSeats(int(k.N)).Without(dkg.Seats(k.Without))
}

// Renewal asks for new shares of keys.
type Renewal struct {
	Mode      dkg.Mode
	Keys      [][]byte  // nil: every active key that no other ceremony is about
	Threshold int       // reshare: 0 is the default of so many holders
	Holders   dkg.Seats // reshare: who is to hold shares; none: who does now
	Lost      dkg.Seats // reshare: holders that have lost theirs, and only receive
	Handover  bool      // reshare: the holders so far are participants of an assembly
	Deal      uint32    // how long those have to deal, in milliseconds; 0: a day
	Purpose   string
}

// maxRenewal bounds the keys of one renewal, so that its opening fits into a
// transaction.
const maxRenewal = 4096

// PlanRenewal turns a request into the ceremonies that it takes: one for keys
// that are shared alike. Their nonces and deadlines are the caller's to add.
func (s *State) PlanRenewal(r Renewal, base dkg.Params) ([]CeremonyOpen, error) {
	if !r.Mode.Renews() || r.Mode == dkg.ModeRefresh && (r.Threshold != 0 || r.Holders|r.Lost != 0) {
		return nil, refuse(CodeMalformed, "a refresh changes neither holders nor threshold: that takes a reshare")
	}
	if beyond := (r.Holders | r.Lost).Without(dkg.AllSeats(int(base.N))); beyond != 0 {
		return nil, refuse(CodeMalformed, "seats %s are not on the roster", beyond)
	}
	if r.Handover {
		open, err := s.planHandover(r, base)
		return []CeremonyOpen{open}, err
	}
	records, err := s.renewable(r.Keys)
	if err != nil {
		return nil, err
	}
	type sharing struct {
		epoch, without uint32
		t              uint16
		use            action.Use
	}
	var order []sharing
	alike := map[sharing][]*action.KeyRecord{}
	for _, k := range records {
		of := sharing{k.Epoch, k.Without, k.T, k.Use}
		if alike[of] == nil {
			order = append(order, of)
		}
		alike[of] = append(alike[of], k)
	}
	var out []CeremonyOpen
	for _, of := range order {
		for batch := range slices.Chunk(alike[of], maxRenewal) {
			open, err := planOne(r, base, batch)
			if err != nil {
				return nil, err
			}
			out = append(out, open)
		}
	}
	return out, nil
}

// renewable returns the records of keys, in order.
func (s *State) renewable(keys [][]byte) (records []*action.KeyRecord, err error) {
	if keys == nil {
		s.Keys(action.DomainValidator, func(k *action.KeyRecord) bool {
			if k.State == action.KeyActive && s.Get(s.claimPath(k.PublicKey)) == nil {
				records = append(records, k)
			}
			return true
		})
		if len(records) == 0 {
			return nil, refuse(CodeNotFound, "there is no active key that no other ceremony is about")
		}
		return records, nil
	}
	for _, k := range slices.CompactFunc(sortedKeys(keys), bytes.Equal) {
		rec, err := s.Key(action.DomainValidator, k)
		if err != nil {
			return nil, err
		}
		if rec.Held() {
			return nil, refuse(CodeConflict, "key 0x%x is held by participants that are not nodes (hint: they hand it over: quorate ceremony open --mode handover)", k)
		}
		records = append(records, rec)
	}
	return records, nil
}

func sortedKeys(keys [][]byte) [][]byte {
	keys = slices.Clone(keys)
	slices.SortFunc(keys, bytes.Compare)
	return keys
}

func planOne(r Renewal, p dkg.Params, keys []*action.KeyRecord) (CeremonyOpen, error) {
	first := keys[0]
	holders := HoldersOf(first)
	p.Mode, p.Keys, p.T, p.Without = r.Mode, uint32(len(keys)), uint8(first.T), dkg.Seats(first.Without)
	p.Use, p.Epoch = first.Use, first.Epoch+1
	p.Old = dkg.Old{T: first.T, Dealers: holders.Without(r.Lost), Epoch: first.Epoch}
	if r.Holders != 0 {
		p.Without = dkg.AllSeats(int(p.N)).Without(r.Holders)
	}
	if r.Mode == dkg.ModeReshare {
		var err error
		if p.T, err = thresholdFor(r.Threshold, p.Members()); err != nil {
			return CeremonyOpen{}, err
		}
	}
	open := CeremonyOpen{Purpose: r.Purpose}
	var commitments [][]byte
	for _, k := range keys {
		open.Keys, commitments = append(open.Keys, k.PublicKey), append(commitments, k.Commitment)
	}
	root, _, err := p.Prior(commitments)
	if err != nil {
		return CeremonyOpen{}, refuse(CodeMalformed, "%w", err)
	}
	p.Expected = root
	if err := p.Check(); err != nil {
		return CeremonyOpen{}, refuse(CodeMalformed, "%w", err)
	}
	open.Params = p
	return open, nil
}

// thresholdFor is how many of so many holders sign: t, or by default the safe
// number.
func thresholdFor(t int, members dkg.Seats) (uint8, error) {
	th, err := action.DefaultThreshold(members.Len())
	if t != 0 {
		th, err = action.NewThreshold(t, members.Len())
	}
	if err != nil {
		return 0, refuse(CodeMalformed, "%w", err)
	}
	return uint8(th.T()), nil
}

// Renewals returns the ceremonies that made the present shares of keys which
// were shared otherwise before.
func (s *State) Renewals() (ids [][32]byte) {
	seen := map[[32]byte]bool{}
	s.Keys(action.DomainValidator, func(k *action.KeyRecord) bool {
		if k.Epoch > 0 && !seen[k.Ceremony] {
			seen[k.Ceremony] = true
			ids = append(ids, k.Ceremony)
		}
		return true
	})
	return ids
}

// checkRenewal wants keys that sign, each once, shared alike and as the
// parameters say, and posts their commitments for the ceremony.
func (s *State) checkRenewal(p dkg.Params, keys [][]byte) error {
	if len(keys) != int(p.Keys) {
		return refuse(CodeMalformed, "%d keys, the parameters have %d", len(keys), p.Keys)
	}
	var commitments [][]byte
	var holders dkg.Seats
	for i, k := range keys {
		if i > 0 && bytes.Compare(keys[i-1], k) >= 0 {
			return refuse(CodeMalformed, "keys are not in ascending order")
		}
		rec, err := s.Key(action.DomainValidator, k)
		if err != nil {
			return err
		}
		if i == 0 {
			holders = HoldersOf(rec)
		}
		switch {
		case rec.State != action.KeyActive && rec.State != action.KeyGenerated:
			return refuse(CodeConflict, "key 0x%x is %s", k, rec.State)
		case rec.Use != p.Use:
			return refuse(CodeConflict, "key 0x%x is for %s, the ceremony's are for %s", k, rec.Use, p.Use)
		case rec.T != p.Old.T || rec.Epoch != p.Old.Epoch || HoldersOf(rec) != holders:
			return refuse(CodeConflict, "key 0x%x is shared %d of %s in epoch %d", k, rec.T, HoldersOf(rec), rec.Epoch)
		}
		commitments = append(commitments, rec.Commitment)
	}
	if p.Old.Dealers.Without(holders) != 0 || p.Mode == dkg.ModeRefresh && p.Old.Dealers != holders {
		return refuse(CodeConflict, "dealers %s are not the holders %s", p.Old.Dealers, holders)
	}
	root, bodies, err := p.Prior(commitments)
	if err != nil {
		return refuse(CodeMalformed, "%w", err)
	}
	if root != p.Expected {
		return refuse(CodeConflict, "the keys are shared otherwise than the parameters say")
	}
	for _, b := range bodies {
		s.setBody(BlobPath(b.Name), b.Body)
	}
	return nil
}

// renewKeys commits the epoch that a ceremony made. What the key is otherwise,
// its state included, stays: it may have been archived meanwhile.
func (s *State) renewKeys(ctx txContext, board *dkg.Board) error {
	p, id := board.Params(), board.ID()
	_, about := s.Ceremony(id)
	result, err := dkg.ReadResult(board, s.Source)
	if err != nil {
		return refuse(CodeConflict, "%w", err)
	}
	var before dkg.Seats
	for k := range result.Keys() {
		rec, err := s.Key(action.DomainValidator, result.PublicKey(k))
		if err != nil || !bytes.Equal(rec.PublicKey, about.Keys[k]) || rec.Epoch != p.Old.Epoch {
			// n - f holders said so all the same; it takes more than f liars.
			return refuse(CodeConflict, "result %d is not the key that the ceremony is about", k)
		}
		before = HoldersOf(rec)
		rec.Epoch, rec.Ceremony, rec.T, rec.N, rec.Without = p.Epoch, id, uint16(p.T), uint16(p.N), uint32(p.Without)
		rec.Commitment = result.Commitment(k)
		s.putKey(rec)
	}
	if p.FromAssembly() {
		return s.takeOver(ctx, p, id, about.Keys[0])
	}
	s.record(ctx, Event{Kind: EventKeyRenewed, Object: ceremonyName(id),
		Detail: fmt.Sprintf("%d keys, %s to epoch %d, %d of %s", p.Keys, p.Mode, p.Epoch, p.T, p.Members())})
	if p.Mode == dkg.ModeReshare {
		s.handOver(ctx, p, id, before, about.Keys)
	}
	return nil
}
