package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// progress tells people what they are waiting for: in place on a terminal,
// line by line elsewhere.
type progress struct {
	out      io.Writer
	terminal bool
	step     string
	began    time.Time
	last     string
}

func newProgress(out io.Writer) *progress {
	f, ok := out.(*os.File)
	return &progress{out: out, terminal: ok && isTerminal(f)}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// begin names what is done next.
func (p *progress) begin(step string) {
	p.step, p.began, p.last = step, time.Now(), ""
	if p.terminal {
		fmt.Fprintf(p.out, "… %s", step)
	}
}

// at says how far the step has come, out of all.
func (p *progress) at(done, all int, detail string) {
	if !p.terminal {
		if detail != p.last {
			fmt.Fprintf(p.out, "  %s: %s\n", p.step, detail)
			p.last = detail
		}
		return
	}
	fmt.Fprintf(p.out, "\r\033[K… %s %s %s", p.step, bar(done, all), detail)
}

// rows says how many rows of the terminal lines take, which a narrow one wraps.
func (p *progress) rows(lines []string) (n int) {
	width := 0
	if f, ok := p.out.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
			width = int(size.Col)
		}
	}
	return wrapped(lines, width)
}

// wrapped counts the rows of lines on a terminal of a width; 0 is none known.
func wrapped(lines []string, width int) (n int) {
	for _, line := range lines {
		n++
		if width > 0 {
			n += (max(utf8.RuneCountInString(line), 1) - 1) / width
		}
	}
	return n
}

// bar shows how much of something is done.
func bar(done, all int) string {
	const width = 20
	filled := 0
	if all > 0 {
		filled = width * min(done, all) / all
	}
	return strings.Repeat("█", filled) + strings.Repeat("░", width-filled)
}

// end closes the step.
func (p *progress) end(result string) {
	if p.step == "" {
		return
	}
	if result != "" {
		result = ": " + result
	}
	start := ""
	if p.terminal {
		start = "\r\033[K"
	}
	fmt.Fprintf(p.out, "%s✓ %s%s (%.1f s)\n", start, p.step, result, time.Since(p.began).Seconds())
	p.step = ""
}

// abandon leaves the step as it is, so that an error begins a line of its own.
func (p *progress) abandon() {
	if p.step != "" && p.terminal {
		fmt.Fprintln(p.out)
	}
	p.step = ""
}

// say writes a line.
func (p *progress) say(format string, args ...any) { fmt.Fprintf(p.out, format+"\n", args...) }
