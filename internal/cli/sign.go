package cli

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/dkg/assembly"
	"github.com/quorate/quorate/internal/durable"
	"github.com/quorate/quorate/internal/participant"
	"github.com/quorate/quorate/internal/wire"
)

// statement is what participants sign: a message, or a federation.
type statement struct {
	message   string
	threshold int
	cohorts   []string
}

func (s *statement) on(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.message, "message", "", "file that is signed")
	f.StringSliceVar(&s.cohorts, "cohort", nil, "certificates of all cohorts of a federation, in its order: the federation is signed")
	f.IntVar(&s.threshold, "federation-threshold", 0, "how many cohorts have to sign (default: C - ⌊(C-1)/3⌋)")
	c.MarkFlagsOneRequired("message", "cohort")
	c.MarkFlagsMutuallyExclusive("message", "cohort")
}

// maxMessage bounds a message that is signed.
const maxMessage = 64 << 20

func (s *statement) read(cid [32]byte) (assembly.Statement, string, error) {
	if s.message != "" {
		raw, err := durable.ReadFile(durable.OS{}, s.message, maxMessage)
		if err != nil {
			return assembly.Statement{}, "", fail(exitNotFound, "", "read message: %w", err)
		}
		return assembly.StatementOf(cid, raw), fmt.Sprintf("the message %s, %d bytes", s.message, len(raw)), nil
	}
	f, err := s.federation()
	if err != nil {
		return assembly.Statement{}, "", err
	}
	return f.Statement(), fmt.Sprintf("the federation of %d cohorts", len(s.cohorts)), nil
}

func (s *statement) federation() (*assembly.Federation, error) {
	var certificates [][]byte
	for _, path := range s.cohorts {
		raw, err := durable.ReadFile(durable.OS{}, path, wire.MaxCertificate)
		if err != nil {
			return nil, fail(exitNotFound, "", "read certificate: %w", err)
		}
		certificates = append(certificates, raw)
	}
	t := s.threshold
	if t == 0 {
		t = len(certificates) - (len(certificates)-1)/3
	}
	return assembly.NewFederation(t, certificates)
}

func (a *app) ceremonySign() *cobra.Command {
	return noun("sign", "Sign with the shares of a ceremony's participants", a.signPart(), a.signCombine(), a.signVerify(), a.signFederate())
}

func (a *app) signPart() *cobra.Command {
	var st statement
	var home, out string
	c := &cobra.Command{Use: "part", Short: "Sign with one share", Args: cobra.NoArgs,
		Long: `Make one participant's part of a signature. t parts make a signature of the key.

It signs under a tag of Quorate's own: what comes out is no signature of Ethereum's,
nor of anything else that uses such keys. No slashing record stands behind a
participant's share, and so it never signs a validator's duty.`,
		Example: `  quorate ceremony sign part --home alice.seat --message statement.txt --out alice.part --identity alice.key`,
		RunE:    a.run(func(ctx context.Context, _ []string) error { return a.makePart(ctx, home, out, st) })}
	st.on(c)
	c.Flags().StringVar(&home, "home", "", "directory of the seat")
	c.Flags().StringVar(&out, "out", "", "file for the part")
	c.MarkFlagRequired("home") //nolint:errcheck // the flag is defined above
	c.MarkFlagRequired("out")  //nolint:errcheck // the flag is defined above
	return c
}

// madePart is what sign part prints.
type madePart struct {
	Ceremony  string `json:"ceremony"`
	Seat      int    `json:"seat"`
	Statement string `json:"statement"`
	Part      string `json:"part"` // file
}

func (a *app) makePart(ctx context.Context, home, out string, st statement) error {
	file, passphrase, err := a.keyFile(ctx)
	if err != nil {
		return err
	}
	defer passphrase.Destroy()
	share, err := participant.ReadShare(home, credential.NewBox(file, passphrase))
	if err != nil {
		return fail(exitNotFound, cmp.Or(seatHint(err), "--home is the directory of a seat that holds a share, as quorate ceremony join says it"), "%w", err)
	}
	defer share.Secret.Destroy()
	id := share.Params.ID()
	statement, words, err := st.read(id)
	if err != nil {
		return err
	}
	part, err := assembly.SignPart(share.Params, share.Seat, share.Secret, statement)
	if err != nil {
		return err
	}
	if err := durable.WriteOSFile(out, part.Encode(), 0o644); err != nil {
		return err
	}
	return a.print(madePart{hex.EncodeToString(id[:]), share.Seat, hex.EncodeToString(statement[:]), out}, func(t *table) {
		t.row("signed", words)
		t.row("as", fmt.Sprintf("seat %d of ceremony %x", share.Seat, id))
		t.row("statement", hex.EncodeToString(statement[:]))
		t.row("part", out, fmt.Sprintf("one of %d that it takes", share.Params.T))
	})
}

// certified reads and verifies a certificate.
func certified(path string) (*assembly.Certificate, error) {
	raw, err := durable.ReadFile(durable.OS{}, path, wire.MaxCertificate)
	if err != nil {
		return nil, fail(exitNotFound, "each participant's home has it", "read certificate: %w", err)
	}
	c, err := assembly.ParseCertificate(raw)
	if err == nil {
		err = c.Verify()
	}
	if err != nil {
		return nil, fail(exitFailed, "", "%s: %w", path, err)
	}
	return c, nil
}

// combined is what sign combine and verify print.
type combined struct {
	Ceremony   string `json:"ceremony"`
	Statement  string `json:"statement"`
	PublicKey  string `json:"pubkey"`
	Signature  string `json:"signature"` // file
	Federation string `json:"federation,omitempty"`
	Liars      []int  `json:"false_parts,omitempty"`
}

func (c combined) show(t *table, verb string) {
	t.row(verb, c.Signature)
	t.row("statement", c.Statement)
	t.row("key", c.PublicKey)
	for _, seat := range c.Liars {
		t.row("false part", fmt.Sprintf("of seat %d", seat))
	}
}

func (a *app) signCombine() *cobra.Command {
	var st statement
	var certificate, out string
	c := &cobra.Command{Use: "combine PART...", Short: "Make one signature of parts", Args: cobra.MinimumNArgs(1),
		Long: `Make one signature of the parts of t participants, verify it, and name who gave a
false part. Neither a key nor a network is needed.`,
		Example: `  quorate ceremony sign combine *.part --certificate alice.seat/certificate --message statement.txt --out statement.sig`,
		RunE: a.run(func(_ context.Context, parts []string) error {
			c, err := certified(certificate)
			if err != nil {
				return err
			}
			return a.combine(c, st, parts, out)
		})}
	st.on(c)
	c.Flags().StringVar(&certificate, "certificate", "", "certificate of the ceremony")
	c.Flags().StringVar(&out, "out", "", "file for the signature")
	c.MarkFlagRequired("certificate") //nolint:errcheck // the flag is defined above
	c.MarkFlagRequired("out")         //nolint:errcheck // the flag is defined above
	return c
}

func (a *app) combine(c *assembly.Certificate, st statement, paths []string, out string) error {
	p := c.Params()
	statement, _, err := st.read(p.ID())
	if err != nil {
		return err
	}
	var parts []assembly.Part
	for _, path := range paths {
		raw, err := durable.ReadFile(durable.OS{}, path, 1<<10)
		if err != nil {
			return fail(exitNotFound, "", "read part: %w", err)
		}
		part, err := assembly.ParsePart(raw)
		if err != nil {
			return fail(exitBadUse, "quorate ceremony sign part makes one", "%s: %w", path, err)
		}
		parts = append(parts, part)
	}
	s, liars, err := c.Combine(statement, parts)
	if err != nil {
		hint := fmt.Sprintf("it takes good parts of %d participants", p.T)
		if len(liars) > 0 {
			hint += fmt.Sprintf("; those of seats %v are false", liars)
		}
		return fail(exitFailed, hint, "%w", err)
	}
	if err := durable.WriteOSFile(out, s.Encode(), 0o644); err != nil {
		return err
	}
	made, err := combinedOf(c, s, out)
	if err != nil {
		return err
	}
	made.Liars = liars
	return a.print(made, func(t *table) { made.show(t, "signature") })
}

func combinedOf(c *assembly.Certificate, s assembly.Signature, path string) (combined, error) {
	key, err := c.PublicKey()
	return combined{Ceremony: hex.EncodeToString(s.Ceremony[:]), Statement: hex.EncodeToString(s.Statement[:]), PublicKey: key.String(), Signature: path}, err
}

func (a *app) signVerify() *cobra.Command {
	var st statement
	var certificate string
	c := &cobra.Command{Use: "verify SIGNATURE", Short: "Check a signature of participants", Args: cobra.ExactArgs(1),
		Example: `  quorate ceremony sign verify statement.sig --certificate alice.seat/certificate --message statement.txt`,
		RunE: a.run(func(_ context.Context, args []string) error {
			c, err := certified(certificate)
			if err != nil {
				return err
			}
			s, err := readSignature(args[0])
			if err != nil {
				return err
			}
			p := c.Params()
			statement, words, err := st.read(p.ID())
			if err != nil {
				return err
			}
			if s.Statement != statement {
				return fail(exitFailed, "", "check signature: it is not of %s", words)
			}
			if err := c.CheckSignature(s); err != nil {
				return fail(exitFailed, "", "%w", err)
			}
			made, err := combinedOf(c, s, args[0])
			if err != nil {
				return err
			}
			return a.print(made, func(t *table) { made.show(t, "verifies") })
		})}
	st.on(c)
	c.Flags().StringVar(&certificate, "certificate", "", "certificate of the ceremony")
	c.MarkFlagRequired("certificate") //nolint:errcheck // the flag is defined above
	return c
}

func (a *app) signFederate() *cobra.Command {
	var st statement
	var out string
	c := &cobra.Command{Use: "federate SIGNATURE...", Short: "Make a federation of cohorts that signed it", Args: cobra.MinimumNArgs(1),
		Long: `Put the cohorts' certificates and their signatures into one file, which "quorate
ceremony verify" checks. A cohort signs with "sign part" and "sign combine" under
the same --cohort flags, in the same order.`,
		Example: `  quorate ceremony sign federate a.sig b.sig --cohort a.certificate --cohort b.certificate --out federation`,
		RunE:    a.run(func(_ context.Context, args []string) error { return a.federateCohorts(st, args, out) })}
	f := c.Flags()
	f.StringSliceVar(&st.cohorts, "cohort", nil, "certificates of all cohorts, in the order that was signed")
	f.IntVar(&st.threshold, "federation-threshold", 0, "how many cohorts have to sign (default: C - ⌊(C-1)/3⌋)")
	f.StringVar(&out, "out", "", "file for the federation")
	c.MarkFlagRequired("cohort") //nolint:errcheck // the flag is defined above
	c.MarkFlagRequired("out")    //nolint:errcheck // the flag is defined above
	return c
}

func (a *app) federateCohorts(st statement, signatures []string, out string) error {
	f, err := st.federation()
	if err != nil {
		return err
	}
	for _, path := range signatures {
		s, err := readSignature(path)
		if err != nil {
			return err
		}
		if err := f.Accept(s); err != nil {
			return fail(exitFailed, "it is made with the same --cohort flags, in the same order", "%s: %w", path, err)
		}
	}
	raw := f.Encode()
	proven, err := assembly.Verify(raw)
	if err != nil {
		return fail(exitFailed, "have more cohorts sign", "%w", err)
	}
	if err := durable.WriteOSFile(out, raw, 0o644); err != nil {
		return err
	}
	return a.print(proven, func(t *table) {
		t.row("federation", out)
		t.row("cohorts", fmt.Sprintf("%d, signed by %d, %d have to", len(proven.Cohorts), proven.Confirmed, proven.Threshold))
		t.row("check it with:", "quorate ceremony verify "+out)
	})
}

func readSignature(path string) (assembly.Signature, error) {
	raw, err := durable.ReadFile(durable.OS{}, path, 1<<10)
	if err != nil {
		return assembly.Signature{}, fail(exitNotFound, "", "read signature: %w", err)
	}
	s, err := assembly.ParseSignature(raw)
	if err != nil {
		return s, fail(exitBadUse, "quorate ceremony sign combine makes one", "%s: %w", path, err)
	}
	return s, nil
}
