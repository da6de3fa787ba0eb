package quorum

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/quorate/quorate/internal/rpc"
)

var (
	// ErrBelowQuorum matches every BelowQuorumError.
	ErrBelowQuorum = errors.New("below quorum")
	// ErrEpoch matches one that asking again may mend: holders have shares of
	// another epoch than was asked for, or have yet to see that it began.
	ErrEpoch = errors.New("another epoch")
	// ErrSlashable matches one where so many holders refused because of
	// what they had signed before that no t can be found: slashable, fenced
	// or out of range. Asking again does not help.
	ErrSlashable = errors.New("refused by slashing protection")
)

// BelowQuorumError says why fewer than t holders gave a good partial.
// rpc.CodeOf gives its Code.
type BelowQuorumError struct {
	T, N     int
	Got      int
	Failures []Failure // refused or down
	Blamed   []string  // answered falsely
	Silent   []string  // had not answered when time ran out
	Cause    error     // context's, when time ran out
}

func (r *round) belowQuorum(cause error) error {
	e := &BelowQuorumError{
		T: r.key.T, N: r.key.holders(), Got: len(r.good),
		Failures: r.report.Failures, Blamed: r.report.Blamed, Cause: cause,
	}
	for _, m := range r.asked {
		e.Silent = append(e.Silent, m.Name())
	}
	return e
}

func (e *BelowQuorumError) Error() string {
	return fmt.Sprintf("%s, %d of %d partials (n = %d): %s", ErrBelowQuorum, e.Got, e.T, e.N, e.reasons())
}

// reasons says, holder by holder, why there are too few.
func (e *BelowQuorumError) reasons() string {
	var why []string
	for _, f := range e.Failures {
		why = append(why, f.String())
	}
	for _, name := range e.Blamed {
		why = append(why, name+": bad partial")
	}
	for _, name := range e.Silent {
		why = append(why, name+": no answer")
	}
	if e.Cause != nil {
		why = append(why, e.Cause.Error())
	}
	return strings.Join(why, "; ")
}

// refusals are the codes with which a holder decides, in the order in which
// they explain a failure best. The others tell only of the holder's state.
var refusals = [...]rpc.Code{
	rpc.CodeSlashable, rpc.CodeOutOfRange, rpc.CodeFenced, rpc.CodeUnknownKey,
	rpc.CodeWaiting, rpc.CodeNotGranted, rpc.CodeMalformed, rpc.CodeWrongCluster,
}

// protection is how many of refusals are slashing protection.
const protection = 3

// Code is what the caller may be told: a refusal only when n-t+1 holders, so
// many that without them no quorum exists, refused. Fewer may lie, or others
// may come back, so that the answer is unavailable.
func (e *BelowQuorumError) Code() rpc.Code {
	if code := e.verdict(refusals[:protection]); code != rpc.CodeUnavailable {
		return code
	}
	return e.verdict(refusals[:])
}

// verdict is the commonest of codes if they together bar a quorum.
func (e *BelowQuorumError) verdict(codes []rpc.Code) rpc.Code {
	verdict, most, sum := rpc.CodeUnavailable, 0, 0
	for _, code := range codes {
		n := 0
		for _, f := range e.Failures {
			if f.Code == code {
				n++
			}
		}
		if sum += n; n > most {
			verdict, most = code, n
		}
	}
	if sum < e.N-e.T+1 {
		return rpc.CodeUnavailable
	}
	return verdict
}

// Is matches the sentinels.
func (e *BelowQuorumError) Is(target error) bool {
	return target == ErrBelowQuorum || target == ErrEpoch && e.apart() ||
		target == ErrSlashable && e.verdict(refusals[:protection]) != rpc.CodeUnavailable
}

// apart reports whether those that failed for their epoch, with those that had
// no time to answer, could have made up the quorum.
func (e *BelowQuorumError) apart() bool {
	n := 0
	for _, f := range e.Failures {
		if f.Code == rpc.CodeEpoch {
			n++
		}
	}
	return n > 0 && e.Got+n+len(e.Silent) >= e.T
}

// Unwrap lets rpc.CodeOf find the code, and errors.Is the context's error.
func (e *BelowQuorumError) Unwrap() []error {
	text := fmt.Sprintf("%d of %d holders that are needed signed: %s", e.Got, e.T, e.reasons())
	all := []error{&rpc.Error{Code: e.Code(), Text: text}}
	if errors.Is(e.Cause, context.Canceled) || errors.Is(e.Cause, context.DeadlineExceeded) {
		all = append(all, e.Cause)
	}
	return all
}
