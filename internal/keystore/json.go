package keystore

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// object is a JSON object whose names are unique and matched exactly. The
// standard decoder lets the last of two equal names win and matches "PubKey"
// as "pubkey": two readers of one file could see two keys.
type object map[string]json.RawMessage

func parseObject(raw []byte) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if open, err := dec.Token(); err != nil {
		return nil, err
	} else if open != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	o := make(object)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name := token.(string) // the decoder admits no other token here
		if _, twice := o[name]; twice {
			return nil, fmt.Errorf("name %q stands twice", name)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("field %q: %w", name, err)
		}
		o[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("more after the object")
	}
	return o, nil
}

// only refuses names other than these.
func (o object) only(names ...string) error {
	for name := range o {
		if !slices.Contains(names, name) {
			return fmt.Errorf("unknown field %q", name)
		}
	}
	return nil
}

func (o object) object(name string, names ...string) (object, error) {
	raw, ok := o[name]
	if !ok {
		return nil, fmt.Errorf("no field %q", name)
	}
	inner, err := parseObject(raw)
	if err == nil {
		err = inner.only(names...)
	}
	if err != nil {
		return nil, fmt.Errorf("field %q: %w", name, err)
	}
	return inner, nil
}

func (o object) text(name string) (string, error) {
	raw, ok := o[name]
	if !ok {
		return "", fmt.Errorf("no field %q", name)
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", fmt.Errorf("field %q is not a string", name)
	}
	return *s, nil
}

// optional is text, empty where the field is absent.
func (o object) optional(name string) (string, error) {
	if _, ok := o[name]; !ok {
		return "", nil
	}
	return o.text(name)
}

func (o object) is(name, want string) error {
	got, err := o.text(name)
	if err == nil && got != want {
		err = fmt.Errorf("field %q is %q, want %q", name, got, want)
	}
	return err
}

func (o object) number(name string) (uint64, error) {
	raw, ok := o[name]
	if !ok {
		return 0, fmt.Errorf("no field %q", name)
	}
	var n *uint64
	if err := json.Unmarshal(raw, &n); err != nil || n == nil {
		return 0, fmt.Errorf("field %q is not a whole number", name)
	}
	return *n, nil
}

func (o object) bytes(name string) ([]byte, error) {
	s, err := o.text(name)
	if err != nil {
		return nil, err
	}
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil {
		return nil, fmt.Errorf("field %q is not hexadecimal", name)
	}
	return b, nil
}

// fixed reads exactly len(dst) bytes.
func (o object) fixed(name string, dst []byte) error {
	b, err := o.bytes(name)
	if err != nil {
		return err
	}
	if len(b) != len(dst) {
		return fmt.Errorf("field %q has %d bytes, want %d", name, len(b), len(dst))
	}
	copy(dst, b)
	return nil
}
