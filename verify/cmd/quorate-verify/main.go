// Command quorate-verify checks evidence of a Quorate cluster offline.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/quorate/quorate/verify"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// Exit codes.
const (
	exitVerified = 0
	exitRefused  = 1
	exitBadUse   = 2
)

const usage = `usage: quorate-verify [--genesis FILE] [-o text|json] FILE...

Checks audit logs, receipts and checkpoints of a Quorate cluster against its
genesis file, which is genesis.json beside the first FILE when none is given.
Exit codes: 0 all verify, 1 one does not, 2 bad use.
`

// verdict is what became of one file.
type verdict struct {
	File string `json:"file"`
	OK   bool   `json:"ok"`
	*verify.Report
	Error string `json:"error,omitempty"` // the reason, and where
}

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("quorate-verify", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	genesisFile := flags.String("genesis", "", "")
	output := flags.String("o", "text", "")
	flags.StringVar(output, "output", "text", "")
	files, err := parse(flags, args)
	if errors.Is(err, flag.ErrHelp) {
		io.WriteString(stdout, usage) //nolint:errcheck // nobody reads it
		return exitVerified
	}
	if err == nil && len(files) == 0 {
		err = errors.New("no file to check")
	}
	if err == nil && *output != "text" && *output != "json" {
		err = fmt.Errorf("output %q is unknown", *output)
	}
	if err != nil {
		fmt.Fprintf(stderr, "quorate-verify: %v\n%s", err, usage)
		return exitBadUse
	}
	if *genesisFile == "" {
		*genesisFile = filepath.Join(filepath.Dir(files[0]), "genesis.json")
	}
	doc, err := os.ReadFile(*genesisFile)
	if err != nil {
		fmt.Fprintf(stderr, "quorate-verify: read genesis: %v\nhint: --genesis FILE, the file that all operators of the cluster compared\n", err)
		return exitBadUse
	}
	genesis, err := verify.ParseGenesis(doc)
	if err != nil {
		fmt.Fprintf(stderr, "quorate-verify: %v\n", err)
		return exitBadUse
	}
	verdicts, code := []verdict{}, exitVerified
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			fmt.Fprintf(stderr, "quorate-verify: %v\n", err)
			return exitBadUse
		}
		v := verdict{File: file}
		v.Report, err = genesis.Check(f)
		f.Close() //nolint:errcheck // it was only read
		if v.OK = err == nil; !v.OK {
			v.Error, code = err.Error(), exitRefused
		}
		verdicts = append(verdicts, v)
	}
	if *output == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		enc.Encode(verdicts) //nolint:errcheck // the exit code says it, too
		return code
	}
	for _, v := range verdicts {
		fmt.Fprintln(stdout, v)
	}
	return code
}

// parse accepts flags before, between and after files.
func parse(flags *flag.FlagSet, args []string) (files []string, err error) {
	for len(args) > 0 {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if args = flags.Args(); len(args) > 0 {
			files, args = append(files, args[0]), args[1:]
		}
	}
	return files, nil
}

func (v verdict) String() string {
	if !v.OK {
		return v.File + ": REFUSED: " + v.Error
	}
	facts := []string{v.Kind}
	fact := func(n uint64, what string) {
		if n > 0 {
			facts = append(facts, fmt.Sprintf("%d %s", n, what))
		}
	}
	fact(v.Events, "events")
	fact(v.Erased, "of them erased or withheld")
	fact(v.Checkpoints, "checkpoints")
	fact(v.Cosignatures, "cosignatures")
	if v.Height > 0 {
		facts = append(facts, fmt.Sprintf("proven at height %d, %s", v.Height, v.Time.Format("2006-01-02 15:04:05Z")))
	}
	fact(v.Transactions.Verified, "signatures of transactions verified")
	fact(v.Transactions.Unverified, "not, for want of a credential that this program can check")
	return v.File + ": verified: " + strings.Join(facts, ", ")
}
