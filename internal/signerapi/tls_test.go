package signerapi

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/internal/eth"
)

// certificate makes a self-signed one, as a key pair and as PEM.
func certificate(t *testing.T, name string) (pair tls.Certificate, cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
	if pair, err = tls.X509KeyPair(cert, key); err != nil {
		t.Fatal(err)
	}
	return pair, cert, key
}

// fingerprint is in the form of openssl x509 -fingerprint.
func fingerprint(pair tls.Certificate) string {
	return strings.ReplaceAll(fmt.Sprintf("% X", sha256.Sum256(pair.Certificate[0])), " ", ":")
}

func write(t *testing.T, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKnownClients(t *testing.T) {
	dir := t.TempDir()
	_, serverCert, serverKey := certificate(t, "server")
	known, _, _ := certificate(t, "vc one")
	impostor, _, _ := certificate(t, "vc one")
	renamed, _, _ := certificate(t, "vc two")
	f := newFixture(t, func(c *Config) {
		c.TLS = &TLS{
			CertFile: write(t, dir, "cert.pem", serverCert),
			KeyFile:  write(t, dir, "key.pem", serverKey),
			KnownClientsFile: write(t, dir, "known.txt",
				[]byte("# name fingerprint\n\nvc one "+fingerprint(known)+"\r\nother "+fingerprint(renamed)+"\n")),
		}
	})
	var caller string
	f.signer.before = func(_ context.Context, client string, _ eth.Duty) error {
		caller = client
		return nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Serve(ctx, listener) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(serverCert)
	url := "https://" + listener.Addr().String() + f.sign
	for _, test := range []struct {
		name  string
		certs []tls.Certificate
		ok    bool
	}{
		{"known", []tls.Certificate{known}, true},
		{"none", nil, false},
		{"impostor", []tls.Certificate{impostor}, false},
		{"under another name", []tls.Certificate{renamed}, false},
	} {
		caller = ""
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: test.certs}}
		status, err := post(&http.Client{Transport: transport, Timeout: time.Minute}, url, randao)
		transport.CloseIdleConnections()
		if ok := status == 200 && err == nil; ok != test.ok {
			t.Errorf("%s: status %d, %v", test.name, status, err)
		}
		if test.ok && caller != "vc one" {
			t.Errorf("%s: the signer was told %q", test.name, caller)
		}
	}
	if status, _ := post(client(t), "http://"+listener.Addr().String()+f.sign, randao); status == 200 {
		t.Error("plain HTTP was served")
	}
}

func TestKnownClientsFile(t *testing.T) {
	dir := t.TempDir()
	digits := strings.Repeat("ab", 32)
	for content, ok := range map[string]bool{
		"":                                      true,
		"# nothing\n":                           true,
		"vc " + digits:                          true,
		"vc 0x" + digits:                        true,
		"a b c " + strings.ToUpper(digits):      true,
		"vc":                                    false,
		digits:                                  false,
		"vc " + digits[2:]:                      false,
		"vc " + digits + "00":                   false,
		"vc " + strings.Repeat("zz", 32):        false,
		"vc " + digits + "\nbroken line here\n": false,
	} {
		_, err := readKnownClients(write(t, dir, "known", []byte(content)))
		if (err == nil) != ok {
			t.Errorf("%q: %v", content, err)
		}
	}
	if _, err := readKnownClients(filepath.Join(dir, "absent")); err == nil {
		t.Error("an absent file was taken as empty")
	}
}
