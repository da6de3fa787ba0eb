package credential

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

func TestBox(t *testing.T) {
	passphrase := func(s string) secret.Bytes { return secret.New([]byte(s)) }
	sealed := Box{passphrase("right"), true, 4}
	open := Box{}
	for name, box := range map[string]Box{"sealed": sealed, "unsealed": open} {
		for _, size := range []int{1, 32, wire.MaxSealedSecret} {
			content := strings.Repeat("s", size)
			file, err := box.Seal("a seed", secret.New([]byte(content)))
			if err != nil || len(file) > MaxSecretFile {
				t.Fatal(name, len(file), err)
			}
			got, err := box.Open("a seed", file)
			if err != nil || !got.Equal(secret.New([]byte(content))) {
				t.Errorf("%s, %d bytes: %v", name, size, err)
			}
			if _, err := (Box{passphrase("right"), !box.sealed, 4}).Open("a seed", file); !errors.Is(err, ErrOtherFile) {
				t.Errorf("%s: kept with another key file: %v", name, err)
			}
			if _, err := box.Open("a share", file); err == nil {
				t.Errorf("%s: a seed opens as a share", name)
			}
			if bytes.Contains(file, []byte("sssss")) {
				t.Errorf("%s: the file shows it", name)
			}
			if _, err := (Box{passphrase("wrong"), true, 4}).Open("a seed", file); box.sealed && !errors.Is(err, ErrPassphrase) {
				t.Errorf("another passphrase opens it: %v", err)
			}
			if _, err := box.Open("a seed", file[:len(file)/2]); err == nil {
				t.Errorf("%s: half of it opens", name)
			}
		}
		if _, err := box.Seal("a seed", secret.New(make([]byte, wire.MaxSealedSecret+1))); err == nil {
			t.Errorf("%s: too much is sealed", name)
		}
		if _, err := box.Seal("a seed", secret.Bytes{}); err == nil {
			t.Errorf("%s: nothing is sealed", name)
		}
	}
}
