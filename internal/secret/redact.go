package secret

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// ErrRedacted is returned by every attempt to marshal a secret.
var ErrRedacted = errors.New("a secret does not marshal")

const redacted = "[secret]"

// Redacted is embedded in types that hold secrets: they then print and log as
// "[secret]" and refuse to marshal. It protects against accidents of the
// direct kind only; fields must still be of types that fmt cannot look into,
// which is why [Bytes] hides behind a function. Test both with secrettest.
type Redacted struct{}

// Format prints the same word for every verb.
func (Redacted) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue logs the same word.
func (Redacted) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON fails.
func (Redacted) MarshalJSON() ([]byte, error) { return nil, ErrRedacted }

// MarshalText fails.
func (Redacted) MarshalText() ([]byte, error) { return nil, ErrRedacted }

// MarshalBinary fails, and with it encoding/gob.
func (Redacted) MarshalBinary() ([]byte, error) { return nil, ErrRedacted }
