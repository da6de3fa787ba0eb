package credential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/big"
	"net"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/wire"
)

// FromAgent signs with the key of a fingerprint (SHA256:…, as ssh-add -l
// shows it) that the SSH agent at the socket holds. On a token's key verified
// asks for its user's verification, as ident.NewSSH does.
//
// Whoever can reach the socket can ask the agent, so do not forward one that
// holds such a key without -c or a token's touch.
func FromAgent(ctx context.Context, socket, fingerprint string, verified bool) (Signer, error) {
	s := &agentSigner{socket: socket}
	err := s.ask(ctx, func(a agent.Agent) error {
		keys, err := a.List()
		if err != nil {
			return err
		}
		for _, k := range keys {
			if ssh.FingerprintSHA256(k) == fingerprint {
				s.public, err = ident.NewSSH(k.Marshal(), verified)
				return err
			}
		}
		return fmt.Errorf("it holds no key %s (of %d)", fingerprint, len(keys))
	})
	if err != nil {
		return nil, fmt.Errorf("find key in SSH agent: %w", err)
	}
	return s, nil
}

type agentSigner struct {
	socket string
	public ident.PublicKey
}

func (s *agentSigner) Public() ident.PublicKey { return s.public }

func (s *agentSigner) Sign(ctx context.Context, tag wire.Tag, parts ...[]byte) ([]byte, error) {
	blob := s.public.SSHBlob()
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return nil, fmt.Errorf("sign with SSH agent: %w", err)
	}
	var out []byte
	err = s.ask(ctx, func(a agent.Agent) error {
		sig, err := a.Sign(key, ident.SSHMessage(tag, parts...))
		if err != nil {
			return err
		}
		if sig.Format != key.Type() {
			return fmt.Errorf("it signed by %.40q with a key for %s", sig.Format, key.Type())
		}
		out, err = encodeSSH(sig)
		return err
	})
	if err == nil {
		// A token that was not touched, say, is better found here than by the ledger.
		err = s.public.Verify(out, tag, parts...)
	}
	if err != nil {
		return nil, fmt.Errorf("sign with SSH agent: %w", err)
	}
	return out, nil
}

// ask talks to the agent until ctx ends, on a connection of its own.
func (s *agentSigner) ask(ctx context.Context, what func(agent.Agent) error) error {
	if s.socket == "" {
		return errors.New("SSH_AUTH_SOCK names no agent")
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", s.socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := what(agent.NewClient(conn)); err != nil {
		return errors.Join(ctx.Err(), err)
	}
	return nil
}

// encodeSSH turns an SSH signature into ident's: of ECDSA r and s in 32 bytes
// each, and whatever a token adds.
func encodeSSH(sig *ssh.Signature) ([]byte, error) {
	raw := sig.Blob
	if sig.Format == ssh.KeyAlgoECDSA256 || sig.Format == ssh.KeyAlgoSKECDSA256 {
		d := wire.NewDecoder(sig.Blob)
		r, rerr := mpint(d)
		s, serr := mpint(d)
		if err := errors.Join(d.Finish(), rerr, serr); err != nil {
			return nil, fmt.Errorf("read signature: %w", err)
		}
		var err error
		if raw, err = ident.EncodeP256(r, s); err != nil {
			return nil, err
		}
	}
	return bytes.Join([][]byte{{byte(ident.SSH)}, raw, sig.Rest}, nil), nil
}

// mpint reads a number that is not negative (RFC 4251 §5).
func mpint(d *wire.Decoder) (*big.Int, error) {
	b := d.Bytes(33)
	if len(b) > 0 && b[0] >= 0x80 {
		return nil, errors.New("number is negative")
	}
	return new(big.Int).SetBytes(b), nil
}
