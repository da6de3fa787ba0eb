package credential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// PassphraseFrom reads a passphrase, one line, from an open file descriptor.
func PassphraseFrom(fd int) (secret.Bytes, error) {
	if fd < 0 {
		return secret.Bytes{}, fmt.Errorf("read passphrase: no descriptor %d", fd)
	}
	f := os.NewFile(uintptr(fd), "passphrase")
	if f == nil {
		return secret.Bytes{}, fmt.Errorf("read passphrase: no descriptor %d", fd)
	}
	defer f.Close()
	buf := make([]byte, wire.MaxPassword+2) // one piece: a buffer that grows leaves copies
	defer secret.Wipe(buf)
	n, err := io.ReadFull(f, buf)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return secret.Bytes{}, fmt.Errorf("read passphrase: %w", err)
	}
	line, _, _ := bytes.Cut(buf[:n], []byte("\n"))
	return check(bytes.TrimSuffix(line, []byte("\r")))
}

// ErrDiffer means that a new passphrase was not the same both times.
var ErrDiffer = errors.New("they differ")

// ErrShort means that a new passphrase could be guessed.
var ErrShort = fmt.Errorf("a new passphrase has at least %d characters", wire.MinPassphrase)

// AskPassphrase asks the process's terminal for a passphrase, and once more
// for a new one.
func AskPassphrase(ctx context.Context, prompt string, isNew bool) (secret.Bytes, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("ask for passphrase: no terminal: %w", err)
	}
	defer tty.Close()
	return ask(ctx, tty, prompt, isNew)
}

func ask(ctx context.Context, tty *os.File, prompt string, isNew bool) (secret.Bytes, error) {
	line := func(prompt string) (secret.Bytes, error) {
		fmt.Fprint(tty, prompt+": ")
		b, err := readHidden(ctx, int(tty.Fd()))
		fmt.Fprintln(tty)
		if err != nil {
			return secret.Bytes{}, fmt.Errorf("ask for passphrase: %w", err)
		}
		defer secret.Wipe(b)
		return check(b)
	}
	first, err := line(prompt)
	if err != nil || !isNew {
		return first, err
	}
	if first.Len() < wire.MinPassphrase { // before it is typed once more
		first.Destroy()
		return secret.Bytes{}, fmt.Errorf("ask for passphrase: %w", ErrShort)
	}
	again, err := line(prompt + " again")
	if err == nil && !first.Equal(again) {
		err = fmt.Errorf("ask for passphrase: %w", ErrDiffer)
	}
	again.Destroy()
	if err != nil {
		first.Destroy()
		return secret.Bytes{}, err
	}
	return first, nil
}

// readHidden reads a line that the terminal does not show. Nothing calls a read
// of a terminal off: when ctx ends it is left to a process that is about to end,
// and the terminal as it was.
func readHidden(ctx context.Context, fd int) ([]byte, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	type line struct {
		typed []byte
		err   error
	}
	read := make(chan line, 1)
	go func() {
		typed, err := term.ReadPassword(fd)
		read <- line{typed, err}
	}()
	select {
	case l := <-read:
		return l.typed, l.err
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), term.Restore(fd, before))
	}
}

func check(passphrase []byte) (secret.Bytes, error) {
	if len(passphrase) == 0 || len(passphrase) > wire.MaxPassword {
		return secret.Bytes{}, fmt.Errorf("read passphrase: want 1 to %d bytes", wire.MaxPassword)
	}
	return secret.New(passphrase), nil
}
