package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/quorate/quorate/internal/opsapi"
)

// exitCode is what a command ends with. The numbers are part of the product.
type exitCode int

const (
	exitDone        exitCode = 0
	exitFailed      exitCode = 1
	exitBadUse      exitCode = 2
	exitDenied      exitCode = 3
	exitWaiting     exitCode = 4 // for approval
	exitNotFound    exitCode = 5
	exitUnavailable exitCode = 6
	exitInterrupted exitCode = 130 // as shells say of SIGINT
)

// failure is an error that knows its exit code and what to do next.
type failure struct {
	code exitCode
	err  error
	hint string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// fail builds a failure; hint may be empty.
func fail(code exitCode, hint, format string, args ...any) error {
	return &failure{code, fmt.Errorf(format, args...), hint}
}

// hinted adds what to do next to an error that lacks it.
func hinted(err error, hint string) error {
	if err == nil {
		return nil
	}
	code, known := explain(err)
	if known != "" {
		hint = known
	}
	return &failure{code, err, hint}
}

// interrupted is the error of a command that was stopped from outside: what it
// was just doing is then no fault of it, and it says so unless it knows better.
func interrupted(ctx context.Context, err error) error {
	var known *failure
	stopped := errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx))
	if ctx.Err() == nil || errors.As(err, &known) && (known.code == exitInterrupted || !stopped) {
		return err
	}
	return fail(exitInterrupted, "", "interrupted")
}

// cutHint takes the hint out of a text that ends with one, as those of rooms
// below this one do.
func cutHint(text string) (rest, hint string) {
	const begin, end = " (hint: ", ")"
	at := strings.LastIndex(text, begin)
	if at < 0 || !strings.HasSuffix(text, end) {
		return text, ""
	}
	return text[:at], strings.TrimSuffix(text[at+len(begin):], end)
}

// explain is the one map from errors to exit codes and hints.
func explain(err error) (exitCode, string) {
	var f *failure
	if errors.As(err, &f) {
		return f.code, f.hint
	}
	var waits *opsapi.Pending
	if errors.As(err, &waits) {
		return exitWaiting, waits.Hint
	}
	var answer *opsapi.Error
	if errors.As(err, &answer) {
		switch answer.Status {
		case http.StatusBadRequest:
			return exitBadUse, answer.Hint
		case http.StatusUnauthorized:
			return exitDenied, "give --identity the file ops.token in the home of the node that --address names; to read only, one of: quorate member login"
		case http.StatusForbidden:
			return exitDenied, cmp.Or(answer.Hint, "quorate policy show says who may do what")
		case http.StatusNotFound:
			return exitNotFound, answer.Hint
		case http.StatusServiceUnavailable:
			return exitUnavailable, answer.Hint
		}
		return exitFailed, answer.Hint
	}
	var unreachable *url.Error
	if errors.As(err, &unreachable) {
		return exitUnavailable, "give --address the operator API of a node that runs, or start a cluster with: quorate dev"
	}
	return exitFailed, ""
}
