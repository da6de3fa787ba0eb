package signerapi

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
)

// pubkey is a validator's public key as both APIs write it.
type pubkey [48]byte

func (k pubkey) String() string { return "0x" + hex.EncodeToString(k[:]) }

// LogValue is short: enough to find a key by, and a log line stays readable.
func (k pubkey) LogValue() slog.Value { return slog.StringValue("0x" + hex.EncodeToString(k[:6])) }

func (k pubkey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText takes digits of either case, as the Keymanager API asks for.
func (k *pubkey) UnmarshalText(text []byte) error {
	if len(text) != 2+2*len(k) || text[0] != '0' || text[1] != 'x' {
		return fmt.Errorf("public key must be 0x and %d hex digits", 2*len(k))
	}
	if _, err := hex.Decode(k[:], text[2:]); err != nil {
		return fmt.Errorf("public key must be 0x and %d hex digits", 2*len(k))
	}
	return nil
}

// parseIdentifier reads the key of a sign request. Only lower case is taken,
// so that a key has one spelling in every log, policy and rate limit.
func parseIdentifier(id string) (key pubkey, err error) {
	err = key.UnmarshalText([]byte(id))
	for i := range len(id) {
		if 'A' <= id[i] && id[i] <= 'F' {
			err = fmt.Errorf("identifier must be in lower case")
		}
	}
	if err != nil {
		return pubkey{}, refuse(http.StatusBadRequest, "%s", err)
	}
	return key, nil
}
