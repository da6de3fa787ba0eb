package participant

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/wire"
)

// This file has what is carried between a hand-over and its participants.

// Summons brings a participant where the ceremony stands: the ledger's
// certificate of it and of the key's record, and in hybrid mode what the
// receivers joined with. Nobody has to believe who carries it.
type Summons struct {
	Ceremony    [32]byte
	Certificate []byte
	Bodies      []dkg.Posted
}

// HandOverReply is what a participant has to say to one.
type HandOverReply struct {
	Ceremony [32]byte
	Seat     int
	Phase    dkg.Phase // in which the ceremony stood
	Posts    []Post
}

const (
	summonsMagic       = "quorate hand-over summons v1\n"
	handOverReplyMagic = "quorate hand-over reply v1\n"
)

// Encode returns the file.
func (s *Summons) Encode() []byte {
	var e wire.Encoder
	e.Fixed([]byte(summonsMagic))
	e.Fixed(s.Ceremony[:])
	e.Bytes(s.Certificate)
	e.Count(len(s.Bodies))
	for _, b := range s.Bodies {
		e.Fixed(b.Name[:])
		e.Bytes(b.Body)
	}
	return e.Out()
}

const maxBody = 8 << 10 // a join is 1.3 KB

// MaxSummons bounds the file.
const MaxSummons = wire.MaxProof + wire.MaxNodes*(maxBody+36) + 1<<10

// ParseSummons reads the file, and checks nothing else.
func ParseSummons(raw []byte) (*Summons, error) {
	rest, ok := bytes.CutPrefix(raw, []byte(summonsMagic))
	if !ok {
		return nil, errors.New("read summons: not one to a hand-over")
	}
	d := wire.NewDecoder(rest)
	s := &Summons{}
	d.Fixed(s.Ceremony[:])
	s.Certificate = d.Bytes(wire.MaxProof)
	for range d.Count(wire.MaxNodes, 32+4) {
		var b dkg.Posted
		d.Fixed(b.Name[:])
		b.Body = d.Bytes(maxBody)
		s.Bodies = append(s.Bodies, b)
	}
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("read summons: %w", err)
	}
	return s, nil
}

// ReadSummons reads a summons of somebody who has no share to deal from, and
// proves the ceremony in it from the genesis alone.
func (inv *Invitation) ReadSummons(raw []byte) (*dkg.Board, time.Time, error) {
	s, err := ParseSummons(raw)
	if err != nil {
		return nil, time.Time{}, err
	}
	l, err := newLight(inv)
	if err != nil {
		return nil, time.Time{}, err
	}
	l, v, err := l.verify(s.Certificate)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read summons: %w", err)
	}
	proven, ok := v.Get(l.ns.Ceremony(s.Ceremony[:]))
	if !ok {
		return nil, time.Time{}, fmt.Errorf("read summons: %w", ErrUnknown)
	}
	board, err := dkg.ParseBoard(proven)
	return board, l.now, err
}

// Encode returns the file.
func (r *HandOverReply) Encode() []byte {
	var e wire.Encoder
	e.Fixed([]byte(handOverReplyMagic))
	e.Fixed(r.Ceremony[:])
	e.U16(uint16(r.Seat))
	e.U8(uint8(r.Phase))
	e.Count(len(r.Posts))
	for _, p := range r.Posts {
		e.Bytes(p.Message)
		e.Bytes(p.Signature)
	}
	return e.Out()
}

// ParseHandOverReply reads the file, and checks nothing else.
func ParseHandOverReply(raw []byte) (*HandOverReply, error) {
	rest, ok := bytes.CutPrefix(raw, []byte(handOverReplyMagic))
	if !ok {
		return nil, errors.New("read reply: not one of a hand-over")
	}
	d := wire.NewDecoder(rest)
	r := &HandOverReply{}
	d.Fixed(r.Ceremony[:])
	r.Seat, r.Phase = int(d.U16()), dkg.Phase(d.U8())
	for range d.Count(wire.MaxNodes, 8) {
		r.Posts = append(r.Posts, Post{d.Bytes(wire.MaxTx), d.Bytes(maxSignature)})
	}
	if err := d.Finish(); err != nil {
		return nil, fmt.Errorf("read reply: %w", err)
	}
	return r, nil
}
