package signerapi

import (
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonText is a JSON string held as bytes, because a Go string cannot be
// wiped. Unlike encoding/json it refuses what is not valid Unicode instead of
// replacing it: a password must arrive as it was meant.
type jsonText []byte

var errText = errors.New("want a string of valid Unicode")

// UnmarshalJSON is called with a syntactically valid JSON value.
func (t *jsonText) UnmarshalJSON(raw []byte) error {
	if len(raw) < 2 || raw[0] != '"' || !utf8.Valid(raw) {
		return errText
	}
	raw = raw[1 : len(raw)-1]
	out := make([]byte, 0, len(raw)) // unescaping never lengthens
	for len(raw) > 0 {
		if raw[0] != '\\' {
			out, raw = append(out, raw[0]), raw[1:]
			continue
		}
		if len(raw) < 2 {
			return errText
		}
		escape := raw[1]
		raw = raw[2:]
		switch escape {
		case '"', '\\', '/':
			out = append(out, escape)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, n := codePoint(raw)
			if n == 0 {
				return errText
			}
			out, raw = utf8.AppendRune(out, r), raw[n:]
		default:
			return errText
		}
	}
	*t = out
	return nil
}

// codePoint reads what follows \u, a surrogate's other half included, and
// returns how long it was, 0 for an unpaired surrogate.
func codePoint(b []byte) (r rune, n int) {
	r, ok := hex4(b)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 4
	}
	if len(b) < 10 || b[4] != '\\' || b[5] != 'u' {
		return 0, 0
	}
	low, ok := hex4(b[6:])
	if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
		return 0, 0
	}
	return r, 10
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
