package policy

import (
	"strings"
	"unicode/utf8"
)

// A token of a Cedar text. Cedar's syntax tree has no positions below a
// statement, so errors find their place among the tokens.
type token struct {
	text   string // as written, strings with their quotes
	at     pos
	offset int
}

func isWord(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// lexCedar splits a text whose first character stands at a position of its
// own; place translates into the document's.
func lexCedar(text string, place func(pos) pos) []token {
	var out []token
	at := pos{1, 1}
	for i := 0; i < len(text); {
		start := i
		switch c := text[i]; {
		case c == '\n':
			i++
			at = pos{at.line + 1, 1}
			continue
		case c == ' ' || c == '\t':
			i++
			at.column++
			continue
		case strings.HasPrefix(text[i:], "//"):
			if n := strings.IndexByte(text[i:], '\n'); n >= 0 {
				i += n
				continue
			}
			return out
		case c == '"':
			for i++; i < len(text) && text[i] != '"' && text[i] != '\n'; i++ {
				if text[i] == '\\' && i+1 < len(text) && text[i+1] != '\n' {
					i++
				}
			}
			i = min(i+1, len(text))
		case isWord(c):
			for i < len(text) && isWord(text[i]) {
				i++
			}
		default:
			_, n := utf8.DecodeRuneInString(text[i:])
			i += n
			for _, two := range [...]string{"::", "==", "!=", "<=", ">=", "&&", "||"} {
				if strings.HasPrefix(text[start:], two) {
					i = start + 2
				}
			}
		}
		out = append(out, token{text[start:i], place(at), start})
		at.column += utf8.RuneCountInString(text[start:i])
	}
	return out
}

// find returns where a run of tokens begins, or otherwise.
func find(tokens []token, otherwise pos, run ...string) pos {
search:
	for i := 0; i+len(run) <= len(tokens); i++ {
		for j, want := range run {
			if tokens[i+j].text != want {
				continue search
			}
		}
		return tokens[i].at
	}
	return otherwise
}

const (
	maxNesting = 32 // brackets within brackets
	maxNots    = 4  // exclamation marks in a row
)

// unused are parts of Cedar that policies do without: then no statement can
// fail when it is evaluated, and a forbid cannot be lost in an error.
var unused = map[string]string{
	"if":  "if-then-else has no place here: write two statements, or use && and ||",
	"has": "has is not needed: every attribute is always there, empty if nobody set it",
	"+":   "arithmetic has no place in permissions: put conditions on parameters under a tier's when",
	"-":   "arithmetic has no place in permissions: put conditions on parameters under a tier's when",
	"*":   "arithmetic has no place in permissions: put conditions on parameters under a tier's when",
	"?":   "templates have no place here: write the statement out",
	"ip":  "addresses have no place here: the ledger does not see them",
}

// checkTokens refuses what would make parsing deep or evaluation partial.
func checkTokens(p *problems, tokens []token) bool {
	depth, nots := 0, 0
	for _, t := range tokens {
		switch t.text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		}
		if t.text == "!" {
			nots++
		} else {
			nots = 0
		}
		if depth > maxNesting || nots > maxNots {
			p.add(t.at, "nested deeper than %d brackets or %d negations: split the statement", maxNesting, maxNots)
			return false
		}
		if why := unused[t.text]; why != "" {
			p.add(t.at, "%s", why)
			return false
		}
	}
	return true
}
