package signerapi

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/quorate/quorate/internal/wire"
)

// What the signing API sends is ASCII, its numbers are unsigned integers and
// its strings have no escapes. This parser accepts that subset of RFC 8259 and
// no more, so that nothing can be read in two ways: a duplicate key, an
// escaped one, or a number that a float would round is refused where it stands.

// value is one JSON value. Its text points into the body.
type value struct {
	kind    byte // one of { [ " 0 t f n
	text    string
	members []member
	items   []value
}

type member struct {
	key  string
	val  value
	read bool
}

// fieldError is why a request is refused, and where. It repeats no more of the
// request than a short excerpt of a name.
type fieldError struct{ path, reason string }

func (e *fieldError) Error() string {
	if e.path == "" {
		return e.reason
	}
	return excerpt(e.path, 160) + ": " + e.reason
}

// parser reads one document. path is where it stands.
type parser struct {
	s      string
	at     int
	values int
	path   []string
}

func parseJSON(body []byte) (value, error) {
	if len(body) > wire.MaxHTTPBody {
		return value{}, &fieldError{reason: fmt.Sprintf("body of more than %d bytes", wire.MaxHTTPBody)}
	}
	p := parser{s: string(body)}
	v, err := p.value()
	if err != nil {
		return value{}, err
	}
	if p.space(); p.at != len(p.s) {
		return value{}, p.syntax("something after the end of the JSON value")
	}
	return v, nil
}

func (p *parser) fail(reason string) error {
	return &fieldError{strings.ReplaceAll(strings.Join(p.path, "."), ".[", "["), reason}
}

func (p *parser) syntax(reason string) error {
	return p.fail(fmt.Sprintf("malformed JSON at byte %d: %s", p.at, reason))
}

func (p *parser) space() {
	for p.at < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.at]) >= 0 {
		p.at++
	}
}

// next skips space and reports the byte there, 0 at the end.
func (p *parser) next() byte {
	p.space()
	if p.at == len(p.s) {
		return 0
	}
	return p.s[p.at]
}

func (p *parser) value() (value, error) {
	if p.values++; p.values > wire.MaxJSONValues {
		return value{}, p.fail("too many values in one body")
	}
	if len(p.path) > wire.MaxJSONDepth {
		return value{}, &fieldError{reason: "nested too deeply"}
	}
	switch c := p.next(); {
	case c == '{':
		return p.object()
	case c == '[':
		return p.array()
	case c == '"':
		s, err := p.str()
		return value{kind: '"', text: s}, err
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	case c == 0:
		return value{}, p.syntax("it ends where a value should begin")
	}
	for _, word := range []string{"true", "false", "null"} {
		if strings.HasPrefix(p.s[p.at:], word) {
			p.at += len(word)
			return value{kind: word[0]}, nil
		}
	}
	return value{}, p.syntax("no value begins like this")
}

func (p *parser) object() (value, error) {
	v := value{kind: '{'}
	p.at++
	for first := true; ; first = false {
		c := p.next()
		if c == '}' && first {
			p.at++
			return v, nil
		}
		if c != '"' {
			return v, p.syntax("expected a field name")
		}
		key, err := p.str()
		if err != nil {
			return v, err
		}
		for _, m := range v.members {
			if m.key == key {
				return v, p.fail(fmt.Sprintf("duplicate field %.40q", key))
			}
		}
		if len(v.members) == wire.MaxJSONFields {
			return v, p.fail("too many fields in one object")
		}
		if p.next() != ':' {
			return v, p.syntax("expected a colon")
		}
		p.at++
		p.path = append(p.path, excerpt(key, 40))
		val, err := p.value()
		if err != nil {
			return v, err
		}
		p.path = p.path[:len(p.path)-1]
		v.members = append(v.members, member{key: key, val: val})
		if done, err := p.more('}'); done || err != nil {
			return v, err
		}
	}
}

func (p *parser) array() (value, error) {
	v := value{kind: '['}
	p.at++
	if p.next() == ']' {
		p.at++
		return v, nil
	}
	for i := 0; ; i++ {
		p.path = append(p.path, "["+strconv.Itoa(i)+"]")
		item, err := p.value()
		if err != nil {
			return v, err
		}
		p.path = p.path[:len(p.path)-1]
		v.items = append(v.items, item)
		if done, err := p.more(']'); done || err != nil {
			return v, err
		}
	}
}

// more reads the comma before another element, or what closes the list.
func (p *parser) more(closing byte) (done bool, err error) {
	switch p.next() {
	case ',':
		p.at++
		return false, nil
	case closing:
		p.at++
		return true, nil
	}
	return false, p.syntax("expected a comma or the end of the list")
}

func (p *parser) str() (string, error) {
	p.at++
	start := p.at
	for ; p.at < len(p.s); p.at++ {
		switch c := p.s[p.at]; {
		case c == '"':
			p.at++
			return p.s[start : p.at-1], nil
		case c == '\\':
			return "", p.syntax("escapes are not used in this API")
		case c < 0x20 || c > 0x7e:
			return "", p.syntax("not printable ASCII")
		}
	}
	return "", p.syntax("unterminated string")
}

func (p *parser) number() (value, error) {
	start := p.at
	for p.at < len(p.s) && strings.IndexByte("0123456789+-.eE", p.s[p.at]) >= 0 {
		p.at++
	}
	text := p.s[start:p.at]
	if !isDecimal(text) {
		return value{}, p.fail("not a decimal integer")
	}
	return value{kind: '0', text: text}, nil
}

// isDecimal reports whether s is an unsigned integer in its only form.
func isDecimal(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s == "0" || s != "" && s[0] != '0'
}

// excerpt is the beginning of a name of the client's, fit for an error.
func excerpt(s string, n int) string {
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}
