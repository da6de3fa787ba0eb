package opsapi

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/ledger"
	"github.com/quorate/quorate/internal/wire"
)

// AskAssembly is what asks for a ceremony among participants. It says what is
// wrong with the list before anybody is asked.
func AskAssembly(a action.Assembly, list action.Participants) (ledger.Ask, error) {
	if err := list.Check(); err != nil {
		return ledger.Ask{}, fmt.Errorf("list of participants: %w", err)
	}
	a.Seats = list.Hash()
	ask := ledger.Ask{Action: &action.Action{Rule: action.RuleAssembly, Assembly: a}, Purpose: a.Purpose, Seats: list.Encode()}
	const envelope = 8 << 10 // around it, with the largest signature
	if size := len(ask.Encode()) + envelope; size > wire.MaxTx {
		return ask, fmt.Errorf("list of participants: %d of them take %d bytes, and a transaction holds %d (hint: Ed25519 identity keys take 37 bytes each, hybrid ones 1989; names and regions count, too)",
			len(list), size, wire.MaxTx)
	}
	return ask, nil
}

// OpenAssembly has the node ask for a ceremony among participants.
func (c *Client) OpenAssembly(ctx context.Context, ask ledger.Ask) (v Opened, err error) {
	return v, c.post(ctx, "/v1/assemblies", OpenAssembly{hex.EncodeToString(ask.Action.Encode()), ask.Seats}, &v)
}

// Assemblies returns all ceremonies among participants, newest first.
func (c *Client) Assemblies(ctx context.Context) (v []Assembly, err error) {
	return v, c.get(ctx, "/v1/assemblies", &v)
}

// Assembly returns one of them; its participants only when asked so.
func (c *Client) Assembly(ctx context.Context, id string, seats bool) (v Assembly, err error) {
	return v, c.get(ctx, assemblyRoute(id)+"?seats="+strconv.FormatBool(seats), &v)
}

// AssemblyLog returns whole entries from a number on, and the number of the
// next. Entries count from 1; from 0 the log's head stands before them.
func (c *Client) AssemblyLog(ctx context.Context, id string, from uint64) (entries []byte, next uint64, err error) {
	var raw bytes.Buffer
	header, err := c.ask(ctx, requestTime, http.MethodGet, assemblyRoute(id, "log")+"?from="+strconv.FormatUint(from, 10), nil, &limited{&raw, wire.MaxLogPage + wire.MaxTx})
	if err != nil {
		return nil, 0, err
	}
	next, err = strconv.ParseUint(header.Get(headerNext), 10, 64)
	if err != nil || next < from {
		return nil, 0, errors.New("ask node: the answer does not say which entry comes next")
	}
	return raw.Bytes(), next, nil
}

// AssemblyProof returns a certificate of the ceremony's record, for whoever
// knows the genesis.
func (c *Client) AssemblyProof(ctx context.Context, id string) ([]byte, error) {
	var raw bytes.Buffer
	err := c.stream(ctx, requestTime, http.MethodGet, assemblyRoute(id, "proof"), nil, &limited{&raw, wire.MaxProof})
	return raw.Bytes(), err
}

// PostAssembly brings a signed message, and returns the number of its entry.
func (c *Client) PostAssembly(ctx context.Context, id string, p AssemblyPost) (entry uint64, err error) {
	var v AssemblyPosted
	err = c.post(ctx, assemblyRoute(id, "messages"), p, &v)
	return v.Entry, err
}

// SealAssembly brings a participant's seal.
func (c *Client) SealAssembly(ctx context.Context, id string, s AssemblySeal) error {
	return c.post(ctx, assemblyRoute(id, "seals"), s, &struct{}{})
}

// PutLetters brings a dealer's ciphertexts, in order of who joined.
func (c *Client) PutLetters(ctx context.Context, id string, dealer int, letters []byte) error {
	return c.do(ctx, requestTime, http.MethodPut, assemblyRoute(id, "letters", strconv.Itoa(dealer)), letters, &struct{}{})
}

// Letter returns what a dealer sent to a seat. Whoever uses it checks its path.
func (c *Client) Letter(ctx context.Context, id string, dealer, seat int) (*assembly.Letter, error) {
	var v AssemblyLetter
	if err := c.get(ctx, assemblyRoute(id, "letters", strconv.Itoa(dealer), strconv.Itoa(seat)), &v); err != nil {
		return nil, err
	}
	l := &assembly.Letter{Ciphertext: v.Ciphertext}
	for _, h := range v.Path {
		if len(h) != 32 {
			return nil, errors.New("ask node: a ciphertext's path is none")
		}
		l.Path = append(l.Path, [32]byte(h))
	}
	return l, nil
}

// AssemblyArchive writes the archive of a ceremony that its participants have
// sealed.
func (c *Client) AssemblyArchive(ctx context.Context, id string, w io.Writer) error {
	return c.stream(ctx, importTime, http.MethodGet, assemblyRoute(id, "archive"), nil, &limited{w, wire.MaxArchive})
}

// AssemblyCertificate returns the light transcript of a ceremony that is done.
func (c *Client) AssemblyCertificate(ctx context.Context, id string) ([]byte, error) {
	var raw bytes.Buffer
	err := c.stream(ctx, requestTime, http.MethodGet, assemblyRoute(id, "certificate"), nil, &limited{&raw, wire.MaxCertificate})
	return raw.Bytes(), err
}

func assemblyRoute(id string, more ...string) string {
	path := "/v1/assemblies/" + url.PathEscape(id)
	for _, m := range more {
		path += "/" + m
	}
	return path
}
