package signerapi

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
)

// TLS says which certificate the server shows and which it wants to see.
type TLS struct {
	CertFile, KeyFile string // PEM

	// KnownClientsFile lists the clients that may connect, in the form of
	// Web3Signer's --tls-known-clients-file: per line the common name of a
	// certificate and its SHA-256 fingerprint in hex, with or without colons;
	// # begins a comment line. "" asks for no client certificate.
	KnownClientsFile string
}

// knownClients are the fingerprints by common name.
type knownClients map[string][][sha256.Size]byte

func readKnownClients(path string) (knownClients, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read known clients: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	known := knownClients{}
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		// A common name may contain spaces, a fingerprint none.
		cut := strings.LastIndexAny(line, " \t")
		if cut < 0 {
			return nil, fmt.Errorf("read known clients: line %d: want a name and a fingerprint", n)
		}
		name, print := strings.TrimSpace(line[:cut]), line[cut+1:]
		raw, err := hex.DecodeString(strings.TrimPrefix(strings.ReplaceAll(print, ":", ""), "0x"))
		if err != nil || len(raw) != sha256.Size {
			return nil, fmt.Errorf("read known clients: line %d: want a SHA-256 fingerprint in hex", n)
		}
		known[name] = append(known[name], [sha256.Size]byte(raw))
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read known clients: %w", err)
	}
	return known, nil
}

var errUnknownClient = errors.New("client certificate is not among the known clients")

// verify runs in every handshake, resumed ones included. Holding the private
// key was proved by the handshake itself.
func (k knownClients) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errUnknownClient
	}
	leaf := state.PeerCertificates[0]
	if !slices.Contains(k[leaf.Subject.CommonName], sha256.Sum256(leaf.Raw)) {
		return errUnknownClient
	}
	return nil
}

// secure wraps the listener in TLS when that is configured.
func (s *Server) secure(listener net.Listener) (net.Listener, error) {
	if s.config.TLS == nil {
		return listener, nil
	}
	cert, err := tls.LoadX509KeyPair(s.config.TLS.CertFile, s.config.TLS.KeyFile)
	if err != nil {
		listener.Close() //nolint:errcheck // not served
		return nil, fmt.Errorf("load server certificate: %w", err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if s.known != nil {
		config.ClientAuth = tls.RequireAnyClientCert
		config.VerifyConnection = s.known.verify
	}
	return tls.NewListener(listener, config), nil
}

// client names who asks: the common name of an allowed certificate, else "".
func (s *Server) client(r *http.Request) string {
	if s.known == nil || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	return r.TLS.PeerCertificates[0].Subject.CommonName
}
