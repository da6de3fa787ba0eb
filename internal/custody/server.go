package custody

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"

	"github.com/quorate/quorate/internal/rpc"
	"github.com/quorate/quorate/internal/wire"
)

// serve listens on a unix socket and answers the one user that may ask.
func (p *Process) serve(ctx context.Context, path string, uid int) error {
	ctx, cancel := context.WithCancel(ctx)
	var conns sync.WaitGroup
	defer conns.Wait()
	defer cancel()
	if err := removeSocket(path); err != nil {
		return fmt.Errorf("listen on %s: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen on %s: %w (hint: a socket's path may have about 100 characters)", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("listen on %s: %w", path, err)
	}
	if uid != os.Getuid() {
		if err := giveSocket(path, uid); err != nil {
			return fmt.Errorf("hand the socket to user %d: %w", uid, err)
		}
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept on %s: %w", path, err)
		}
		who, err := peerUID(conn)
		if err != nil || who != uid {
			p.log.Warn("refuse connection", "uid", who, "want", uid, "err", err)
			conn.Close()
			continue
		}
		conns.Go(func() {
			if err := rpc.Serve(ctx, conn, p.handle, Options()); err != nil && ctx.Err() == nil {
				p.log.Debug("connection ended", "err", err)
			}
		})
	}
}

// removeSocket removes what the last run left, and nothing but a socket. The
// directory lock says that no other process uses it.
func removeSocket(path string) error {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("something else than a socket stands there")
	}
	return os.Remove(path)
}

// giveSocket gives it to the user that may ask. Without the privilege it
// lets everybody knock: who comes in, the credentials decide.
func giveSocket(path string, uid int) error {
	err := os.Chown(path, uid, -1)
	if errors.Is(err, fs.ErrPermission) {
		err = os.Chmod(path, 0o666)
	}
	return err
}

// handle answers one request. Whatever reaches it comes from the node, which
// may be in an intruder's hands: each method checks what it is given.
func (p *Process) handle(ctx context.Context, method uint16, body []byte) ([]byte, error) {
	switch method {
	case MethodSign:
		return p.sign(ctx, body)
	case MethodRound:
		return p.round(body)
	case MethodStatus:
		return p.status().encode(), nil
	case MethodChallenge:
		nonce := p.chain.challenge()
		return nonce[:], nil
	case MethodAnchor:
		return nil, p.chain.anchor(body)
	case MethodClose:
		return p.closeBook()
	case MethodWitness:
		return nil, p.witness(body)
	case MethodTestify:
		return p.testify(body)
	case MethodProve:
		return nil, p.prove(body)
	case MethodRecordAnchor:
		return p.signAnchor()
	case MethodLease:
		return nil, p.lease(body)
	case MethodCeremony:
		return p.ceremony(body)
	case MethodBlob:
		return nil, p.blob(body)
	case MethodKeystore:
		return p.keystore(ctx, body)
	case MethodExportSlashing:
		return p.exportSlashing(body)
	case MethodImportSlashing:
		return nil, p.importSlashing(body)
	case MethodForget:
		return nil, p.forget(body)
	case MethodStop:
		return nil, p.stop(body)
	case MethodUsage:
		d := wire.NewDecoder(body)
		after := d.U64()
		if err := d.Finish(); err != nil {
			return nil, malformed(err)
		}
		u, err := p.usage(after)
		if err != nil {
			return nil, err
		}
		return u.encode(), nil
	}
	return nil, rpc.Errorf(rpc.CodeMalformed, "custody has no method %d", method)
}

func malformed(err error) error { return rpc.Errorf(rpc.CodeMalformed, "%v", err) }
