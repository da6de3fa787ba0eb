package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// print writes v as JSON, or else what text writes for people.
func (a *app) print(v any, text func(*table)) error {
	if a.output == "json" {
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	t := newTable(a.stdout)
	text(t)
	return t.w.Flush()
}

// table aligns columns.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer) *table { return &table{tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)} }

func (t *table) row(cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = printable(fmt.Sprint(c))
	}
	fmt.Fprintln(t.w, strings.Join(texts, "\t"))
}

// printable shows what others wrote without letting it write to the terminal:
// whoever approves must see what there is, and not what an escape sequence
// paints over it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// clock shows a time in few characters.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
