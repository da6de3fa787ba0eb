// Command quorate-verify checks evidence of a Quorate cluster and transcripts
// of ceremonies, offline.
package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/quorate/quorate/verify"
	"github.com/quorate/quorate/verify/transcript"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// Exit codes.
const (
	exitVerified = 0
	exitRefused  = 1
	exitBadUse   = 2
)

const usage = `usage: quorate-verify [--genesis FILE] [--key HEX] [-o text|json] FILE...

Checks audit logs, receipts and checkpoints of a Quorate cluster against its
genesis file, which is genesis.json beside the first such FILE when none is
given; archives, certificates and federations of ceremonies, each by itself; and
rounds of a beacon under its public key, or against the genesis file when they
prove that the key is the cluster's.
Exit codes: 0 all verify, 1 one does not, 2 bad use.
`

// verdict is what became of one file.
type verdict struct {
	File           string              `json:"file"`
	OK             bool                `json:"ok"`
	*verify.Report                     // of evidence
	Transcript     *transcript.Outcome `json:"transcript,omitempty"`
	Round          *verify.Round       `json:"beacon,omitempty"`
	Error          string              `json:"error,omitempty"` // the reason, and where
}

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("quorate-verify", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	genesisFile, beaconKey := flags.String("genesis", "", ""), flags.String("key", "", "")
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
	c := checker{genesisFile: *genesisFile}
	if c.key, err = hex.DecodeString(strings.TrimPrefix(*beaconKey, "0x")); err != nil {
		fmt.Fprintf(stderr, "quorate-verify: key: %v\n%s", err, usage)
		return exitBadUse
	}
	verdicts, code := []verdict{}, exitVerified
	for _, file := range files {
		v, err := c.check(file)
		if err != nil {
			fmt.Fprintf(stderr, "quorate-verify: %v\n", err)
			return exitBadUse
		}
		if !v.OK {
			code = exitRefused
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

// checker judges files of all kinds. The genesis is read when the first file
// wants it: a transcript proves itself.
type checker struct {
	genesisFile string
	genesis     *verify.Genesis
	key         []byte // of a beacon, where it was given
}

// check judges a file. An error is one of use; what is wrong with the file is
// in the verdict.
func (c *checker) check(file string) (verdict, error) {
	v := verdict{File: file}
	f, err := os.Open(file)
	if err != nil {
		return v, err
	}
	defer f.Close() //nolint:errcheck // it is only read
	begins := make([]byte, transcript.Longest)
	n, err := io.ReadFull(f, begins)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return v, err
	}
	begins, all := begins[:n], io.MultiReader(bytes.NewReader(begins[:n]), f)
	switch {
	case transcript.Is(begins):
		raw, err2 := io.ReadAll(io.LimitReader(all, transcript.Most+1))
		if err2 != nil {
			return v, err2
		}
		v.Transcript, err = transcript.Verify(raw)
	case verify.IsRound(begins):
		raw, err2 := io.ReadAll(io.LimitReader(all, verify.MaxRound+1))
		if err2 != nil {
			return v, err2
		}
		if v.Round, err2, err = c.round(file, raw); err2 != nil {
			return v, err2
		}
	case verify.Is(begins):
		if err := c.readGenesis(file); err != nil {
			return v, err
		}
		v.Report, err = c.genesis.Check(all)
	default:
		err = verify.ErrUnknownKind
	}
	if v.OK = err == nil; !v.OK {
		v.Error = err.Error()
	}
	return v, nil
}

// round checks a beacon's. Use is an error of use, refused says what is wrong
// with the round.
func (c *checker) round(file string, raw []byte) (r *verify.Round, use, refused error) {
	if _, refused := verify.ParseRound(raw); refused != nil {
		return nil, nil, refused
	}
	if len(c.key) > 0 {
		r, refused = verify.CheckRound(raw, c.key)
		return r, nil, refused
	}
	if err := c.readGenesis(file); err != nil {
		return nil, fmt.Errorf("%w, or --key HEX, the beacon's public key", err), nil
	}
	r, refused = c.genesis.CheckRound(raw)
	return r, nil, refused
}

func (c *checker) readGenesis(beside string) error {
	if c.genesis != nil {
		return nil
	}
	if c.genesisFile == "" {
		c.genesisFile = filepath.Join(filepath.Dir(beside), "genesis.json")
	}
	doc, err := os.ReadFile(c.genesisFile)
	if err != nil {
		return fmt.Errorf("read genesis: %w\nhint: --genesis FILE, the file that all operators of the cluster compared", err)
	}
	c.genesis, err = verify.ParseGenesis(doc)
	return err
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
	if v.Transcript != nil {
		return v.File + ": verified: " + strings.Join(told(v.Transcript), ", ")
	}
	if v.Round != nil {
		return fmt.Sprintf("%s: verified: beacon round %d, randomness %s", v.File, v.Round.Round, v.Round.Randomness)
	}
	facts := []string{v.Kind}
	fact := func(n uint64, one, more string) {
		switch {
		case n == 1:
			facts = append(facts, "1 "+one)
		case n > 1:
			facts = append(facts, fmt.Sprintf("%d %s", n, more))
		}
	}
	fact(v.Events, "event", "events")
	fact(v.Erased, "of them erased or withheld", "of them erased or withheld")
	fact(v.Checkpoints, "checkpoint", "checkpoints")
	fact(v.Cosignatures, "cosignature", "cosignatures")
	if v.Height > 0 {
		facts = append(facts, fmt.Sprintf("proven at height %d, %s", v.Height, v.Time.Format("2006-01-02 15:04:05Z")))
	}
	fact(v.Transactions.Verified, "signature of a transaction verified", "signatures of transactions verified")
	fact(v.Transactions.Unverified, "not, for want of a credential", "not, for want of a credential")
	return v.File + ": verified: " + strings.Join(facts, ", ")
}

// told says what a transcript proves.
func told(o *transcript.Outcome) []string {
	facts := []string{o.Kind, "ceremony " + o.Ceremony}
	if o.Exercise {
		facts = append(facts, "an exercise whose keys do not count")
	}
	if o.Beacon {
		facts = append(facts, "of a randomness beacon")
	}
	if o.Cluster != "" {
		facts = append(facts, "of cluster "+o.Cluster, fmt.Sprintf("%s to epoch %d", o.Mode, o.Epoch))
	}
	if o.Assembly != "" {
		facts = append(facts, "handed over by the participants of ceremony "+o.Assembly)
	}
	if len(o.Cohorts) > 0 {
		facts = append(facts, fmt.Sprintf("%d of %d cohorts to sign, %d did", o.Threshold, len(o.Cohorts), o.Confirmed))
		for _, c := range o.Cohorts {
			facts = append(facts, "key "+strings.Join(c.PublicKeys, " "))
		}
		return facts
	}
	facts = append(facts, fmt.Sprintf("%d shares of %d", o.Threshold, o.Participants), "ended in phase "+o.Phase)
	for _, key := range o.PublicKeys {
		facts = append(facts, "key "+key)
	}
	facts = append(facts, fmt.Sprintf("confirmed by %d", o.Confirmed))
	if o.DepositSafe {
		facts = append(facts, "safe to deposit to")
	}
	for _, f := range o.Faults {
		if f.Blamed {
			facts = append(facts, fmt.Sprintf("participant %d to blame: %s", f.Seat, f.Fault))
		} else {
			facts = append(facts, fmt.Sprintf("participant %d %s", f.Seat, f.Fault))
		}
	}
	return facts
}
