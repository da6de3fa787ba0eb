// Package actiontest forges approvals.
//
// Owns: [Case], a request that two humans of two operators have to approve,
// and everything wrong that somebody could present in their place. Whoever
// counts approvals, the ledger and custody, is tested against the same list.
//
// Never: a forgery that differs from the honest approvals in more than its
// name says.
package actiontest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/ident/identtest"
	"github.com/quorate/quorate/internal/wire"
)

// Person is a member and what he signs with.
type Person struct {
	Record action.MemberRecord
	Keys   []ident.PrivateKey // of the first two suites
	SSH    ed25519.PrivateKey // in an agent
	Token  *identtest.Authenticator
}

// suites name the credentials of a person, in their order in his record.
var suites = []string{"Ed25519", "hybrid", "SSH", "passkey"}

const (
	withSSH     = 2
	withPasskey = 3
)

// NewPerson makes a person with a credential of each suite.
func NewPerson(id, operator, region, role string) *Person {
	p := &Person{Record: action.MemberRecord{ID: id, Name: id, Operator: operator, Region: region, Roles: []string{role}}}
	for _, suite := range []ident.Suite{ident.Ed25519, ident.Ed25519MLDSA65} {
		k, _, err := ident.Generate(suite, rand.Reader)
		p.Keys = append(p.Keys, k)
		p.add(k.Public(), err)
	}
	var blob wire.Encoder
	blob.String("ssh-ed25519")
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	blob.Bytes(public)
	p.SSH = private
	p.add(ident.NewSSH(blob.Out(), false))
	p.Token = identtest.New("example.org", "https://quorate.example.org")
	p.add(ident.NewPasskey(p.Token.Key.Public(), p.Token.RPID, []string{p.Token.Origin}))
	return p
}

func (p *Person) add(k ident.PublicKey, err error) {
	if err != nil {
		panic(err)
	}
	p.Record.Keys = append(p.Record.Keys, k)
}

// sign signs with credential k.
func (p *Person) sign(tx *action.Tx, k int) []byte {
	switch k {
	case withSSH:
		return p.signSSH(ident.SSHMessage(wire.TagTx, tx.Unsigned()))
	case withPasskey:
		challenge := wire.Hash(wire.TagTx, tx.Unsigned())
		return assertion(p.Token, "webauthn.get", challenge[:])
	}
	return p.Keys[k].Sign(wire.TagTx, tx.Unsigned())
}

func (p *Person) signSSH(message []byte) []byte {
	return append([]byte{byte(ident.SSH)}, ed25519.Sign(p.SSH, message)...)
}

// assertion is what an authenticator says, as a signature of its suite.
func assertion(a *identtest.Authenticator, kind string, challenge []byte) []byte {
	data, client := a.Data(), a.ClientData(kind, challenge)
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(a.Sign(data, client), &sig); err != nil {
		panic(err)
	}
	raw, err := ident.EncodeP256(sig.R, sig.S)
	if err != nil {
		panic(err)
	}
	return ident.EncodeAssertion(data, client, raw)
}

// Case is a request and the people who could approve it.
type Case struct {
	Cluster action.ClusterID
	Request action.Request
	Other   action.Request      // another request that waits, of the same asker
	Nonce   func(string) uint64 // a number that the member has not used

	Ana, Bo *Person // of two operators: their approvals are enough
	Abe     *Person // of Ana's operator
	Bot     *Person // a workload of Bo's operator
	Eve     *Person // not enrolled
}

// Need is what the case's request needs.
var Need = action.Need{Approvals: 2, Operators: 2}

// Enrolled returns who is on the ledger.
func (c *Case) Enrolled() []*Person { return []*Person{c.Ana, c.Bo, c.Abe, c.Bot} }

// People fills a case with people.
func People() *Case {
	c := &Case{
		Ana: NewPerson("ana", "op0", "lisbon", action.RoleCustodian), Bo: NewPerson("bo", "op1", "bengaluru", action.RoleCustodian),
		Abe: NewPerson("abe", "op0", "lisbon", action.RoleCustodian), Bot: NewPerson("bot", "op1", "bengaluru", action.RoleCustodian),
		Eve: NewPerson("eve", "op2", "denver", action.RoleCustodian),
	}
	c.Bot.Record.Workload = true
	return c
}

// Member returns a member's record as the ledger holds it.
func (c *Case) Member(id string) *action.MemberRecord {
	for _, p := range c.Enrolled() {
		if p.Record.ID == id {
			return &p.Record
		}
	}
	return nil
}

// Approve is an honest approval, after what edit does to it before it is
// signed with credential k of the person.
func (c *Case) Approve(p *Person, k int, edit func(*action.Tx, *action.Decision)) []byte {
	d := action.Decision{Request: c.Request.ID(c.Cluster), Action: action.HashAction(c.Cluster, c.Request.Action), Policy: c.Request.Policy, Verdict: action.Approve}
	tx := action.Tx{Cluster: c.Cluster, Kind: action.KindDecision, Signer: action.Signer{Class: action.SignerMember, Name: p.Record.ID}, Nonce: c.Nonce(p.Record.ID)}
	rand.Read(tx.Salt[:])
	if edit != nil {
		edit(&tx, &d)
	}
	if tx.Body == nil {
		tx.Body = d.Encode()
	}
	return tx.Signed(p.sign(&tx, k))
}

// Forgery is something wrong in place of two approvals.
type Forgery struct {
	Name string
	Txs  [][]byte
	// Members replaces records as the ledger holds them; nil removes one.
	Members map[string]*action.MemberRecord
}

// Forgeries returns all of them, for either approval and each kind of credential.
func (c *Case) Forgeries() (all []Forgery) {
	for k, suite := range suites {
		for second := range 2 {
			// one builds a forgery of one approval beside an honest other.
			one := func(name string, forged func(p *Person) []byte, members ...*action.MemberRecord) {
				p, other := c.Ana, c.Bo
				if second == 1 {
					p, other = c.Bo, c.Ana
				}
				f := Forgery{Name: fmt.Sprintf("%s, %s, %s's", name, suite, p.Record.ID), Txs: [][]byte{forged(p), c.Approve(other, k, nil)}}
				if second == 1 {
					slices.Reverse(f.Txs)
				}
				for _, m := range members {
					if f.Members == nil {
						f.Members = map[string]*action.MemberRecord{}
					}
					f.Members[m.ID] = m
				}
				all = append(all, f)
			}
			c.wrongWords(k, one)
			c.wrongSignatures(k, one)
			c.wrongPeople(k, one)
			switch k {
			case withSSH:
				c.wrongAgents(one)
			case withPasskey:
				c.wrongTokens(one)
			}
		}
	}
	all = append(all, Forgery{Name: "nobody"}, Forgery{Name: "one alone", Txs: [][]byte{c.Approve(c.Ana, 0, nil)}},
		Forgery{Name: "two of one operator", Txs: [][]byte{c.Approve(c.Ana, 0, nil), c.Approve(c.Abe, 0, nil)}})
	return all
}

type forge func(name string, forged func(p *Person) []byte, members ...*action.MemberRecord)

// wrongWords are well signed, and say something else.
func (c *Case) wrongWords(k int, one forge) {
	for name, edit := range map[string]func(*action.Tx, *action.Decision){
		"for another cluster": func(tx *action.Tx, _ *action.Decision) { tx.Cluster[5] ^= 1 },
		"of another request":  func(_ *action.Tx, d *action.Decision) { d.Request = c.Other.ID(c.Cluster) },
		"of another request altogether": func(_ *action.Tx, d *action.Decision) {
			d.Request, d.Action, d.Policy = c.Other.ID(c.Cluster), action.HashAction(c.Cluster, c.Other.Action), c.Other.Policy
		},
		"of another action": func(_ *action.Tx, d *action.Decision) { d.Action = action.HashAction(c.Cluster, c.Other.Action) },
		"of this action in another cluster": func(_ *action.Tx, d *action.Decision) {
			d.Action = action.HashAction(action.ClusterID{9}, c.Request.Action)
		},
		"of this request in another cluster": func(_ *action.Tx, d *action.Decision) { d.Request = c.Request.ID(action.ClusterID{9}) },
		"asked for before":                   func(_ *action.Tx, d *action.Decision) { r := c.Request; r.Nonce[0] ^= 1; d.Request = r.ID(c.Cluster) },
		"asked for by another": func(_ *action.Tx, d *action.Decision) {
			r := c.Request
			r.By = "member/eve"
			d.Request = r.ID(c.Cluster)
		},
		"under another policy": func(_ *action.Tx, d *action.Decision) { d.Policy[0] ^= 1 },
		"a request under another policy": func(_ *action.Tx, d *action.Decision) {
			r := c.Request
			r.Policy[0] ^= 1
			d.Request, d.Policy = r.ID(c.Cluster), r.Policy
		},
		"a veto":                 func(_ *action.Tx, d *action.Decision) { d.Verdict = action.Veto },
		"a cancel":               func(_ *action.Tx, d *action.Decision) { d.Verdict = action.Cancel },
		"no verdict":             func(_ *action.Tx, d *action.Decision) { d.Verdict = 0 },
		"the words of a tick":    func(tx *action.Tx, _ *action.Decision) { tx.Kind = action.KindTick },
		"the words of a request": func(tx *action.Tx, _ *action.Decision) { tx.Kind = action.KindRequest },
		"a longer word":          func(tx *action.Tx, d *action.Decision) { tx.Body = append(d.Encode(), 0) },
		"a shorter word":         func(tx *action.Tx, d *action.Decision) { b := d.Encode(); tx.Body = b[:len(b)-1] },
		"as a node":              func(tx *action.Tx, _ *action.Decision) { tx.Signer.Class = action.SignerNode },
	} {
		one(name, func(p *Person) []byte { return c.Approve(p, k, edit) })
	}
}

// wrongSignatures say the right thing, and nobody who counts signed it.
func (c *Case) wrongSignatures(k int, one forge) {
	impostor := func(p *Person, by *Person) []byte {
		return c.Approve(by, k, func(tx *action.Tx, _ *action.Decision) { tx.Signer.Name = p.Record.ID })
	}
	one("signed by a stranger", func(p *Person) []byte { return impostor(p, c.Eve) })
	one("signed by a colleague", func(p *Person) []byte { return impostor(p, c.Abe) })
	one("with nothing for a signature", func(p *Person) []byte { return resign(c.Approve(p, k, nil), func([]byte) []byte { return nil }) })
	one("with zeros for a signature", func(p *Person) []byte {
		return resign(c.Approve(p, k, nil), func(s []byte) []byte { return append(s[:1:1], make([]byte, len(s)-1)...) })
	})
	one("with a longer signature", func(p *Person) []byte {
		return resign(c.Approve(p, k, nil), func(s []byte) []byte { return append(s, 0) })
	})
	one("with a shorter signature", func(p *Person) []byte {
		return resign(c.Approve(p, k, nil), func(s []byte) []byte { return s[:len(s)-1] })
	})
	one("with a signature of another suite", func(p *Person) []byte {
		return resign(c.Approve(p, k, nil), func(s []byte) []byte { s = bytes.Clone(s); s[0] ^= 3; return s })
	})
	for _, part := range []int{1, 3, 5, 7} { // eighths
		one(fmt.Sprintf("with byte %d/8 of the signature changed", part), func(p *Person) []byte {
			return resign(c.Approve(p, k, nil), func(s []byte) []byte { s = bytes.Clone(s); s[1+(len(s)-1)*part/8] ^= 1; return s })
		})
	}
	one("with another number than was signed", func(p *Person) []byte {
		return c.transplant(p, k, func(tx *action.Tx) { tx.Nonce++ })
	})
	one("with another salt than was signed", func(p *Person) []byte {
		return c.transplant(p, k, func(tx *action.Tx) { tx.Salt[0] ^= 1 })
	})
}

// wrongAgents signed what an agent signs for somebody else than us.
func (c *Case) wrongAgents(one forge) {
	for name, message := range map[string]func(tx *action.Tx) []byte{
		"as it signs for git":        func(tx *action.Tx) []byte { return sshsig("git", tx) },
		"as it signs for nobody":     func(tx *action.Tx) []byte { return sshsig("", tx) },
		"as it signs for us in part": func(tx *action.Tx) []byte { return sshsig("quorat", tx) },
		"without SSH's frame":        func(tx *action.Tx) []byte { m := wire.Hash(wire.TagTx, tx.Unsigned()); return m[:] },
		"under another tag":          func(tx *action.Tx) []byte { return ident.SSHMessage(wire.TagGrant, tx.Unsigned()) },
	} {
		one("signed by an agent "+name, func(p *Person) []byte {
			return c.with(p, func(tx *action.Tx) []byte { return p.signSSH(message(tx)) })
		})
	}
	one("of the agent's key, as one of the first suite", func(p *Person) []byte {
		return resign(c.Approve(p, withSSH, nil), func(s []byte) []byte { s = bytes.Clone(s); s[0] = byte(ident.Ed25519); return s })
	})
}

// sshsig is the signed data of PROTOCOL.sshsig in another namespace.
func sshsig(namespace string, tx *action.Tx) []byte {
	message := wire.Hash(wire.TagTx, tx.Unsigned())
	sum := sha512.Sum512(message[:])
	e := wire.NewEncoder([]byte("SSHSIG"))
	e.String(namespace)
	e.String("")
	e.String("sha512")
	e.Bytes(sum[:])
	return e.Out()
}

// wrongTokens are assertions for another page, or without the person.
func (c *Case) wrongTokens(one forge) {
	for name, edit := range map[string]func(a *identtest.Authenticator){
		"for another page":            func(a *identtest.Authenticator) { a.Origin = "https://quorate.example.net" },
		"for a page over http":        func(a *identtest.Authenticator) { a.Origin = "http://quorate.example.org" },
		"for a page below ours":       func(a *identtest.Authenticator) { a.Origin += ".evil.org" },
		"for another relying party":   func(a *identtest.Authenticator) { a.RPID = "example.net" },
		"for a subdomain":             func(a *identtest.Authenticator) { a.RPID = "quorate.example.org" },
		"in a frame":                  func(a *identtest.Authenticator) { a.Tail = `,"crossOrigin":true}` },
		"with nobody verified":        func(a *identtest.Authenticator) { a.Flags = identtest.Present },
		"with nobody present":         func(a *identtest.Authenticator) { a.Flags = identtest.Verified },
		"by another of the same page": func(a *identtest.Authenticator) { a.Key = identtest.New(a.RPID, a.Origin).Key },
	} {
		one("by a token "+name, func(p *Person) []byte {
			token := *p.Token
			edit(&token)
			return c.with(p, func(tx *action.Tx) []byte {
				m := wire.Hash(wire.TagTx, tx.Unsigned())
				return assertion(&token, "webauthn.get", m[:])
			})
		})
	}
	one("by a token that was being registered", func(p *Person) []byte {
		return c.with(p, func(tx *action.Tx) []byte {
			m := wire.Hash(wire.TagTx, tx.Unsigned())
			return assertion(p.Token, "webauthn.create", m[:])
		})
	})
	one("by a token that logged in", func(p *Person) []byte {
		return c.with(p, func(*action.Tx) []byte { return assertion(p.Token, "webauthn.get", make([]byte, 32)) })
	})
}

// with is an honest approval under a signature made otherwise.
func (c *Case) with(p *Person, sign func(*action.Tx) []byte) []byte {
	tx, err := action.ParseTx(c.Approve(p, 0, nil))
	if err != nil {
		panic(err)
	}
	tx.Signature = nil
	return tx.Signed(sign(tx))
}

// wrongPeople signed the right thing themselves, and do not count.
func (c *Case) wrongPeople(k int, one forge) {
	one("of somebody who is not enrolled", func(*Person) []byte { return c.Approve(c.Eve, k, nil) })
	one("of a workload", func(*Person) []byte { return c.Approve(c.Bot, k, nil) })
	for who, other := range map[*Person]*Person{c.Ana: c.Bo, c.Bo: c.Ana} {
		// The same human again, with the other credential, in the place of another.
		one("of "+who.Record.ID+" with his other key", func(p *Person) []byte {
			if p == other {
				return c.Approve(who, (k+1)%len(suites), nil)
			}
			return c.Approve(other, (k+1)%len(suites), nil)
		})
	}
	gone := func(edit func(*action.MemberRecord)) (out [2]*action.MemberRecord) {
		for i, p := range []*Person{c.Ana, c.Bo} {
			m := p.Record
			m.Keys = slices.Clone(m.Keys)
			edit(&m)
			out[i] = &m
		}
		return out
	}
	honest := func(p *Person) []byte { return c.Approve(p, k, nil) }
	for name, edit := range map[string]func(*action.MemberRecord){
		"of one who is suspended":             func(m *action.MemberRecord) { m.Suspended = 1 << 50 },
		"of one whose credential was revoked": func(m *action.MemberRecord) { m.Keys = slices.Delete(m.Keys, k, k+1) },
		"of one who became a workload":        func(m *action.MemberRecord) { m.Workload = true },
	} {
		both := gone(edit)
		one(name, honest, both[0])
		one(name+" as well", honest, both[1])
	}
}

// transplant puts the signature of an honest approval under another envelope.
func (c *Case) transplant(p *Person, k int, edit func(*action.Tx)) []byte {
	tx, err := action.ParseTx(c.Approve(p, k, nil))
	if err != nil {
		panic(err)
	}
	edit(tx)
	return tx.Raw()
}

func resign(raw []byte, change func([]byte) []byte) []byte {
	tx, err := action.ParseTx(raw)
	if err != nil {
		panic(err)
	}
	tx.Signature = change(tx.Signature)
	return tx.Raw()
}

// Grant is what a ledger that was deceived, or that deceives, would leave for
// the forged approvals.
func (c *Case) Grant(txs [][]byte) *action.Grant {
	g := &action.Grant{Request: c.Request, Height: 1, Expires: 1 << 50, Need: Need}
	for _, raw := range txs {
		g.Approvals = append(g.Approvals, action.HashTx(raw))
	}
	return g
}
