package rpc

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Code says why a call was refused. Numbers are part of the protocol: they
// are only ever added.
type Code uint16

const (
	CodeOK           Code = 0  // never in an Error
	CodeMalformed    Code = 1  // the request does not parse or contradicts itself
	CodeUnknownKey   Code = 2  // no share of that key here
	CodeSlashable    Code = 3  // the slashing record forbids the duty
	CodeFenced       Code = 4  // this incarnation may not sign slashable duties yet, or no longer
	CodeOutOfRange   Code = 5  // the duty lies outside its lease or range bounds
	CodeNotGranted   Code = 6  // the ledger proved no grant for it
	CodeUnavailable  Code = 7  // busy, stopping or unreachable; another time or another holder may do
	CodeInternal     Code = 8  // a fault of the one who answers
	CodeWrongCluster Code = 9  // the request belongs to another cluster
	CodeWaiting      Code = 10 // asked for; others have to agree, or its time has to come
	CodeEpoch        Code = 11 // the share here is of another epoch, or about to come: the ledger moved, or will be seen to
)

var codeNames = [...]string{
	CodeOK:           "ok",
	CodeMalformed:    "malformed",
	CodeUnknownKey:   "unknown key",
	CodeSlashable:    "slashable",
	CodeFenced:       "fenced",
	CodeOutOfRange:   "out of range",
	CodeNotGranted:   "not granted",
	CodeUnavailable:  "unavailable",
	CodeInternal:     "internal",
	CodeWrongCluster: "wrong cluster",
	CodeWaiting:      "waiting",
	CodeEpoch:        "another epoch",
}

func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", uint16(c))
}

// maxErrorText bounds the text of an error on the wire.
const maxErrorText = 512

// Error is a refusal as it crosses the wire: returned by a handler, found by
// errors.As in what Call returns.
type Error struct {
	Code Code
	Text string
}

// Errorf builds an Error.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{code, fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string {
	if e.Text == "" {
		return e.Code.String()
	}
	return e.Code.String() + ": " + e.Text
}

// ErrConn is wrapped by the error of every call whose connection was lost.
// The peer may have acted on the request or not.
var ErrConn = errors.New("connection lost")

// CodeOf gives the code of any error of Call: a refusal's own, unavailable
// for a lost connection or an ended context, else internal.
func CodeOf(err error) Code {
	var refusal *Error
	switch {
	case err == nil:
		return CodeOK
	case errors.As(err, &refusal):
		return refusal.Code
	case errors.Is(err, ErrConn), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return CodeUnavailable
	default:
		return CodeInternal
	}
}

// refusalOf is what the server sends for a handler's error.
func refusalOf(err error) *Error {
	var refusal *Error
	if errors.As(err, &refusal) && refusal.Code != CodeOK {
		return refusal
	}
	if code := CodeOf(err); code == CodeUnavailable {
		return &Error{code, err.Error()}
	}
	return &Error{CodeInternal, err.Error()}
}

// clip shortens text to the limit without splitting a rune.
func clip(text string) string {
	if len(text) <= maxErrorText {
		return text
	}
	n := maxErrorText
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
