package dkg_test

import (
	"bytes"
	"testing"

	"github.com/quorate/quorate/internal/dkg"
	"github.com/quorate/quorate/internal/dkg/dkgtest"
)

// corpus returns every kind of message and a board of every phase, from a
// ceremony in which a dealer cheats.
func corpus(f *testing.F, hybrid bool) (messages, boards [][]byte) {
	c := open(f, dkgtest.Params(dkg.SuiteG1, hybrid, 4, 1))
	record := func(c *dkgtest.Ceremony, _ int, out []dkg.Message) []dkg.Message {
		boards = append(boards, c.Board.Encode())
		for _, m := range out {
			messages = append(messages, m.Encode())
		}
		return out
	}
	c.Acts[1], c.Acts[3] = record, record
	c.Acts[2] = both(forge(func(ed *dkg.Editor) { ed.AddToShare(0, 3, 1) }), record)
	if err := c.Run(); err != nil {
		f.Fatal(err)
	}
	// And a hand-over, in which participant 2 cheats.
	c = handOver(f, 4, hybrid, people(4))
	c.Acts[1], c.Acts[3] = record, record
	c.People[1], c.People[2] = record, both(falseDealers[0].act, record)
	if err := c.Run(); err != nil {
		f.Fatal(err)
	}
	return messages, boards
}

func FuzzParseMessage(f *testing.F) {
	for _, hybrid := range []bool{false, true} {
		messages, _ := corpus(f, hybrid)
		for _, m := range messages {
			f.Add(m)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := dkg.ParseMessage(in)
		if err == nil && !bytes.Equal(m.Encode(), in) {
			t.Fatalf("parse then encode changed %x", in)
		}
	})
}

func FuzzParseBoard(f *testing.F) {
	for _, hybrid := range []bool{false, true} {
		_, boards := corpus(f, hybrid)
		for _, b := range boards {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := dkg.ParseBoard(in)
		if err == nil && !bytes.Equal(b.Encode(), in) {
			t.Fatalf("parse then encode changed %x", in)
		}
	})
}

func FuzzParseParams(f *testing.F) {
	f.Add(dkgtest.Params(dkg.SuiteG1, true, 4, 1).Encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := dkg.ParseParams(in)
		if err == nil && !bytes.Equal(p.Encode(), in) {
			t.Fatalf("parse then encode changed %x", in)
		}
	})
}

// FuzzApply: no message that parses can upset a board.
func FuzzApply(f *testing.F) {
	messages, boards := corpus(f, true)
	for i, b := range boards {
		f.Add(b, messages[i%len(messages)], 1+i%4)
		f.Add(b, messages[i%len(messages)], -(1 + i%4))
	}
	f.Fuzz(func(t *testing.T, board, message []byte, from int) {
		b, err := dkg.ParseBoard(board)
		if err != nil {
			return
		}
		m, err := dkg.ParseMessage(message)
		if err != nil {
			return
		}
		apply := b.Apply
		if from < 0 {
			apply, from = b.ApplyDealer, -from
		}
		next, _, err := apply(1, from, m)
		if !bytes.Equal(b.Encode(), board) {
			t.Fatal("Apply changed the board it was given")
		}
		if err != nil {
			return
		}
		if again, err := dkg.ParseBoard(next.Encode()); err != nil || !bytes.Equal(again.Encode(), next.Encode()) {
			t.Fatalf("the next board does not parse: %v", err)
		}
	})
}
