package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

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
