package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/quorate/quorate/internal/wire"
)

// A document is YAML with everything left out that makes two readers see two
// things: no anchors, aliases, merge keys, tags, repeated or unknown fields,
// no characters that hide or reorder text, one document only. Scalars are read
// as they are written, so that neither `no` nor `1:30` turns into something else.
type document struct {
	problems
	lines []string
}

// parseYAML returns the root of a document, or nil with the reasons kept.
func (d *document) parseYAML(doc []byte) *yaml.Node {
	if len(doc) > wire.MaxPolicy {
		d.add(pos{1, 1}, "the document has %d bytes, over the limit of %d: shorten it", len(doc), wire.MaxPolicy)
		return nil
	}
	if at, why := badCharacter(doc); why != "" {
		d.add(at, "%s", why)
		return nil
	}
	d.lines = strings.Split(string(doc), "\n")
	dec := yaml.NewDecoder(bytes.NewReader(doc))
	var root yaml.Node
	if err := dec.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			d.add(pos{1, 1}, "the document is empty: begin with \"version: 1\"")
		} else {
			d.syntax(err)
		}
		return nil
	}
	var more yaml.Node
	if err := dec.Decode(&more); err == nil {
		d.add(at(&more), "a second document begins here: keep one, and no \"---\" line")
		return nil
	} else if !errors.Is(err, io.EOF) {
		d.syntax(err)
		return nil
	}
	if !d.plain(&root) || len(root.Content) != 1 {
		return nil
	}
	return root.Content[0]
}

var yamlLine = regexp.MustCompile(`^line ([0-9]{1,9}): `)

// syntax keeps an error of the YAML parser, which knows the line only.
func (d *document) syntax(err error) {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 1
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
		if strings.HasPrefix(text, "did not find expected") {
			line++ // the parser counts from 0, the scanner below it from 1
		}
	}
	line = max(1, min(line, len(d.lines)))
	column := 1 + len(d.lines[line-1]) - len(strings.TrimLeft(d.lines[line-1], " \t"))
	hint := ""
	switch {
	case strings.Contains(text, "cannot start any token"), strings.Contains(text, "tab character"):
		hint = " (indent with spaces; quote a text that begins with a special character)"
	case strings.Contains(text, "mapping values are not allowed"):
		hint = " (quote a text that holds a colon and a space)"
	case strings.Contains(text, "did not find expected"):
		hint = " (look for a missing bracket, quote or indentation)"
	}
	d.add(pos{line, column}, "not YAML: %s%s", text, hint)
}

// badCharacter finds what a reader of the text would not see as it is.
func badCharacter(doc []byte) (pos, string) {
	at := pos{1, 1}
	for len(doc) > 0 {
		r, n := utf8.DecodeRune(doc)
		doc = doc[n:]
		switch {
		case r == '\n':
			at = pos{at.line + 1, 1}
			continue
		case r == utf8.RuneError && n == 1:
			return at, "not UTF-8: save the document as UTF-8"
		case r == '\r':
			return at, "a carriage return: save the document with Unix line ends (LF)"
		case r < ' ' && r != '\t', r >= 0x7f && r <= 0x9f, r == 0xfeff, r == 0x2028, r == 0x2029,
			r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x206f:
			return at, fmt.Sprintf("the invisible character U+%04X: delete it", r)
		}
		at.column++
	}
	return at, ""
}

// plain refuses every feature that lets one text mean another.
func (d *document) plain(n *yaml.Node) bool {
	switch {
	case n.Kind == yaml.AliasNode:
		d.add(at(n), "an alias (*%s): write the value out", n.Value)
	case n.Anchor != "":
		d.add(at(n), "an anchor (&%s): delete it and write values out where they are needed", n.Anchor)
	case n.Style&yaml.TaggedStyle != 0:
		d.add(at(n), "a tag (%s): delete it", n.Tag)
	default:
		for _, c := range n.Content {
			if !d.plain(c) {
				return false
			}
		}
		return true
	}
	return false
}

func at(n *yaml.Node) pos { return pos{max(n.Line, 1), max(n.Column, 1)} }

// A mapping is a node's fields by name.
type mapping struct {
	d      *document
	at     pos
	what   string
	fields map[string]*yaml.Node
	keys   map[string]pos
	order  []string
}

// mapping reads a node with the known fields, or any if known is nil.
func (d *document) mapping(n *yaml.Node, what string, known ...string) (mapping, bool) {
	m := mapping{d: d, at: at(n), what: what, fields: map[string]*yaml.Node{}, keys: map[string]pos{}}
	if n.Kind != yaml.MappingNode {
		hint := "one \"name: value\" a line"
		if known != nil {
			hint = "the fields " + strings.Join(known, ", ")
		}
		d.add(at(n), "%s must be a mapping: write %s", what, hint)
		return m, false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode:
			d.add(at(k), "a field's name in %s must be a word", what)
		case m.fields[k.Value] != nil:
			d.add(at(k), "%s has the field %q twice: keep one (the first is on line %d)", what, k.Value, m.keys[k.Value].line)
		case known != nil && !slices.Contains(known, k.Value):
			d.add(at(k), "%s has no field %q: %s", what, k.Value, didYouMean(k.Value, known))
		default:
			m.fields[k.Value], m.keys[k.Value] = v, at(k)
			m.order = append(m.order, k.Value)
		}
	}
	return m, true
}

func (m mapping) has(name string) bool { return m.fields[name] != nil }

// pos is where a field's value stands, or the mapping if there is none.
func (m mapping) pos(name string) pos {
	if n := m.fields[name]; n != nil {
		return at(n)
	}
	return m.at
}

// need complains about a field that is missing.
func (m mapping) need(name, hint string) bool {
	if !m.has(name) {
		m.d.add(m.at, "%s lacks the field %q: add %s", m.what, name, hint)
		return false
	}
	return true
}

// text is a scalar as written.
func (d *document) text(n *yaml.Node, what string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Value == "" {
		d.add(at(n), "%s must be a text: write one, or delete the field", what)
		return "", false
	}
	return n.Value, true
}

func (m mapping) text(name string) string {
	if !m.has(name) {
		return ""
	}
	s, _ := m.d.text(m.fields[name], name)
	return s
}

// list reads a sequence; a scalar stands for a list of one.
func (d *document) list(n *yaml.Node, what string, limit int) []*yaml.Node {
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		return []*yaml.Node{n}
	}
	if n.Kind != yaml.SequenceNode {
		d.add(at(n), "%s must be a list: write [a, b], or one \"- item\" a line", what)
		return nil
	}
	if len(n.Content) > limit {
		d.add(at(n), "%s has %d entries, over the limit of %d: merge some", what, len(n.Content), limit)
		return nil
	}
	return n.Content
}

// words reads a list of distinct texts that check accepts.
func (m mapping) words(name string, check func(string) string) []string {
	if !m.has(name) {
		return nil
	}
	var out []string
	for _, n := range m.d.list(m.fields[name], name, 64) {
		s, ok := m.d.text(n, "an entry of "+name)
		if !ok {
			continue
		}
		if slices.Contains(out, s) {
			m.d.add(at(n), "%s names %q twice: keep one", name, s)
		} else if why := check(s); why != "" {
			m.d.add(at(n), "%s", why)
		} else {
			out = append(out, s)
		}
	}
	return out
}

// number reads a whole number up to limit.
func (m mapping) number(name string, limit uint64) uint64 {
	if !m.has(name) {
		return 0
	}
	n := m.fields[name]
	v, err := strconv.ParseUint(n.Value, 10, 64)
	if n.Kind != yaml.ScalarNode || err != nil || v > limit || (len(n.Value) > 1 && n.Value[0] == '0') {
		m.d.add(at(n), "%s must be a whole number from 0 to %d: write its digits only", name, limit)
		return 0
	}
	return v
}

func (m mapping) boolean(name string) bool {
	if !m.has(name) {
		return false
	}
	switch n := m.fields[name]; n.Value {
	case "true":
		return true
	case "false":
		return false
	default:
		m.d.add(at(n), "%s must be true or false", name)
		return false
	}
}

var units = map[byte]uint64{'s': 1000, 'm': 60_000, 'h': 3_600_000, 'd': 86_400_000, 'w': 7 * 86_400_000, 'y': 365 * 86_400_000}

const maxDuration = 100 * 365 * 86_400_000 // a hundred years, in milliseconds

// parseDuration reads 90s, 36h, 7d, 1d12h, 7y (of 365 days) in milliseconds.
func parseDuration(s string) (uint64, bool) {
	if s == "0" {
		return 0, true
	}
	var total, last uint64 = 0, maxDuration
	for s != "" {
		i := 0
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		if i == 0 || i > 9 || i == len(s) {
			return 0, false
		}
		v, _ := strconv.ParseUint(s[:i], 10, 64)
		unit := units[s[i]]
		if unit == 0 || unit >= last { // from large to small, each once
			return 0, false
		}
		total, last, s = total+v*unit, unit, s[i+1:]
	}
	return total, last != maxDuration && total <= maxDuration
}

func (m mapping) duration(name string) uint64 {
	if !m.has(name) {
		return 0
	}
	n := m.fields[name]
	v, ok := parseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || !ok {
		m.d.add(at(n), "%s must be a duration of at most 100y: write 90s, 30m, 36h, 7d, 2w, 1y or 1d12h", name)
	}
	return v
}

// moment reads a time in UTC, in milliseconds.
func (m mapping) moment(name string) int64 {
	if !m.has(name) {
		return 0
	}
	n := m.fields[name]
	t, err := time.Parse("2006-01-02T15:04:05Z", n.Value)
	if err != nil {
		t, err = time.Parse("2006-01-02", n.Value)
	}
	if n.Kind != yaml.ScalarNode || err != nil || t.Year() < 1970 {
		m.d.add(at(n), "%s must be a time in UTC: write 2026-03-29T01:00:00Z or 2026-03-29", name)
		return 0
	}
	return t.UnixMilli()
}
