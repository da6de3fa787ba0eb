package proof

import (
	"encoding/hex"
	"strconv"
	"strings"
)

// Path is a key of the ledger's state: a namespace, a kind, and that kind's
// components, joined by '/'. Bytes that a component may not hold as they are
// (anything but letters, digits, '.', '_' and '-') stand as %xx, so every list
// of components has its own path, and a prefix that ends in '/' selects one
// subtree. Binary identifiers stand in lower-case hexadecimal.
//
//	root/node/node0
//	root/key/validator/8f2c…
//	root/fresh/node0/secret
type Path string

// Namespace is the first component of every path.
type Namespace string

// Root is the namespace of a cluster that does not use any.
const Root Namespace = "root"

// Path builds the path of any kind. The methods below name the kinds that
// more than the state machine reads.
func (ns Namespace) Path(kind string, components ...string) Path {
	var b strings.Builder
	escape(&b, string(ns))
	b.WriteByte('/')
	escape(&b, kind)
	for _, c := range components {
		b.WriteByte('/')
		escape(&b, c)
	}
	return Path(b.String())
}

// Prefix selects every path of the kind below the components.
func (ns Namespace) Prefix(kind string, components ...string) Path {
	return ns.Path(kind, components...) + "/"
}

// Node is a node's record: operator, region, identity keys, status.
func (ns Namespace) Node(name string) Path { return ns.Path("node", name) }

// Member is an enrolled human or service.
func (ns Namespace) Member(id []byte) Path { return ns.Path("member", Hex(id)) }

// Ceremony is a ceremony's record.
func (ns Namespace) Ceremony(id []byte) Path { return ns.Path("ceremony", Hex(id)) }

// Assembly is the record of a ceremony among participants that are not nodes.
func (ns Namespace) Assembly(id []byte) Path { return ns.Path("assembly", Hex(id)) }

// Handover is what the commit of a reshare says to its new holders.
func (ns Namespace) Handover(ceremony []byte) Path { return ns.Path("handover", Hex(ceremony)) }

// Stop is the word of a seat that it signs no more with the shares that a
// reshare replaced.
func (ns Namespace) Stop(ceremony []byte, seat int) Path {
	return ns.Path("stop", Hex(ceremony), strconv.Itoa(seat))
}

// Key is the record of a key of a domain ("validator", "secret", "user").
func (ns Namespace) Key(domain string, publicKey []byte) Path {
	return ns.Path("key", domain, Hex(publicKey))
}

// Beacon is the public key of the newest beacon, 48 bytes.
func (ns Namespace) Beacon() Path { return ns.Path("beacon") }

// Fresh is where the ledger keeps the last freshness nonce of one node's
// custody process: the nonce itself, 32 bytes.
func (ns Namespace) Fresh(node, domain string) Path { return ns.Path("fresh", node, domain) }

// Incarnation is the accepted incarnation of one node's custody process, with
// its signing ceiling.
func (ns Namespace) Incarnation(node, domain string) Path {
	return ns.Path("incarnation", node, domain)
}

// Grant is what an approved action allows, by the action's hash.
func (ns Namespace) Grant(id []byte) Path { return ns.Path("grant", Hex(id)) }

// Request is an action that waited, or waits, for others to agree.
func (ns Namespace) Request(id []byte) Path { return ns.Path("request", Hex(id)) }

// Policy is the version of the policy in force: the hash of its document.
func (ns Namespace) Policy() Path { return ns.Path("policy") }

// Usage is the last usage digest accepted from one node's domain.
func (ns Namespace) Usage(node, domain string) Path { return ns.Path("usage", node, domain) }

// Nonce is the last transaction number of a signer.
func (ns Namespace) Nonce(signer []byte) Path { return ns.Path("nonce", Hex(signer)) }

// Params is the ledger's parameters.
func (ns Namespace) Params() Path { return ns.Path("params") }

// Hex writes a binary identifier as a component.
func Hex(b []byte) string { return hex.EncodeToString(b) }

func escape(b *strings.Builder, s string) {
	const digits = "0123456789abcdef"
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
}
