package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// An Error is one thing wrong with a document, where it stands.
type Error struct {
	Line, Column int // from 1, in characters
	Message      string
}

func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Message) }

// Errors are what is wrong with a document, in its order.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return "compile policy: " + strings.Join(lines, "\n")
}

func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i, one := range e {
		out[i] = one
	}
	return out
}

// maxErrors keeps what a hopeless document has to say within a screen.
const maxErrors = 20

type pos struct{ line, column int }

// problems collects errors; the zero value is ready.
type problems struct{ list Errors }

func (p *problems) add(at pos, format string, args ...any) {
	if p.full() {
		return
	}
	e := &Error{at.line, at.column, fmt.Sprintf(format, args...)}
	for _, old := range p.list {
		if *old == *e {
			return
		}
	}
	p.list = append(p.list, e)
}

// full says that enough was collected; to look for more hints costs time.
func (p *problems) full() bool { return len(p.list) >= 8*maxErrors }

// err returns what was collected, in the document's order.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return p.list[:min(len(p.list), maxErrors)]
}

// didYouMean returns a hint if a known word is near, and the words otherwise.
func didYouMean(word string, known []string) string {
	best, at := min(3, len(word)/3+1), ""
	for _, k := range known {
		if d := distance(word, k, best); d < best {
			best, at = d, k
		}
	}
	if at != "" {
		return fmt.Sprintf("did you mean %q?", at)
	}
	return "use one of " + strings.Join(known, ", ")
}

// distance is Levenshtein's, given up beyond limit.
func distance(a, b string, limit int) int {
	if len(a) > len(b)+limit || len(b) > len(a)+limit || len(a) > 64 {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
