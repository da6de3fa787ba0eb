package peer

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

const alpn = "quorate/1"

// errUntrusted is wrapped where the other side is not who it must be.
var errUntrusted = errors.New("untrusted")

// publicKey is a pinned key in a form that compares and indexes.
type publicKey [ed25519.PublicKeySize]byte

func (k publicKey) String() string { return fmt.Sprintf("%x", k[:]) }

// certificate wraps key in what TLS wants around it. Nothing but the key
// counts: no name, no date.
func certificate(key crypto.Signer) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "quorate node"},
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280: no expiry
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certify node key: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// tlsConfig is what both directions share: admit decides by the key alone,
// whose possession the handshake proves.
func tlsConfig(own tls.Certificate, admit func(publicKey) error) *tls.Config {
	return &tls.Config{
		Certificates:                []tls.Certificate{own},
		MinVersion:                  tls.VersionTLS13,
		MaxVersion:                  tls.VersionTLS13,
		CurvePreferences:            []tls.CurveID{tls.X25519MLKEM768},
		NextProtos:                  []string{alpn},
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true, // one record for one write
		ClientAuth:                  tls.RequireAnyClientCert,
		// There are no authorities: VerifyConnection pins the key instead.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if err := checkChannel(state); err != nil {
				return err
			}
			key, err := keyOf(state)
			if err != nil {
				return err
			}
			return admit(key)
		},
	}
}

// checkChannel states again what the configuration already forces, because a
// later change there must not go unnoticed.
func checkChannel(state tls.ConnectionState) error {
	switch {
	case state.Version != tls.VersionTLS13:
		return fmt.Errorf("%w: %s", errUntrusted, tls.VersionName(state.Version))
	case state.CurveID != tls.X25519MLKEM768:
		return fmt.Errorf("%w: key exchange %s", errUntrusted, state.CurveID)
	case state.DidResume:
		return fmt.Errorf("%w: resumed session", errUntrusted)
	case state.NegotiatedProtocol != alpn:
		return fmt.Errorf("%w: protocol %q, want %q", errUntrusted, state.NegotiatedProtocol, alpn)
	}
	return nil
}

// keyOf is the key that the other side proved to hold.
func keyOf(state tls.ConnectionState) (publicKey, error) {
	if len(state.PeerCertificates) != 1 {
		return publicKey{}, fmt.Errorf("%w: %d certificates, want 1", errUntrusted, len(state.PeerCertificates))
	}
	key, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok || len(key) != ed25519.PublicKeySize {
		return publicKey{}, fmt.Errorf("%w: certificate without an Ed25519 key", errUntrusted)
	}
	return publicKey(key), nil
}

// channel is a TLS connection that closes at once. The frames say where a
// message ends, so that a close_notify, which may block for seconds on a peer
// that is gone, would tell nothing new.
type channel struct{ *tls.Conn }

func (c channel) Close() error { return c.NetConn().Close() }

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 3}
