package signerapi

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"

	"github.com/quorate/quorate/internal/action"
)

// proposerSetting is one of the three settings that a key's blocks and
// registrations must follow; they differ only in field and form.
type proposerSetting struct {
	path string // last part of the path
	name string // for messages
	// get returns the body of an answer, nil where the setting is open.
	get func(key pubkey, from action.ProposerSettings) any
	// parse reads the body of a request into the field.
	parse func(body []byte, into *action.ProposerSettings) error
	clear func(*action.ProposerSettings)
}

func proposerSettings() []proposerSetting {
	return []proposerSetting{{
		path: "feerecipient", name: "fee recipient",
		get: func(key pubkey, from action.ProposerSettings) any {
			if from.FeeRecipient == nil {
				return nil
			}
			return feeRecipient{&key, address(*from.FeeRecipient)}
		},
		parse: func(body []byte, into *action.ProposerSettings) error {
			var request feeRecipient
			if err := decode(body, &request); err != nil {
				return err
			}
			if request.Address == (address{}) { // absent, too
				return refuse(http.StatusBadRequest, "ethaddress must be an address other than zero")
			}
			into.FeeRecipient = new(action.Address(request.Address))
			return nil
		},
		clear: func(s *action.ProposerSettings) { s.FeeRecipient = nil },
	}, {
		path: "gas_limit", name: "gas limit",
		get: func(key pubkey, from action.ProposerSettings) any {
			if from.GasLimit == nil {
				return nil
			}
			return gasLimit{&key, strconv.FormatUint(*from.GasLimit, 10)}
		},
		parse: func(body []byte, into *action.ProposerSettings) error {
			var request gasLimit
			if err := decode(body, &request); err != nil {
				return err
			}
			limit, err := parseUint("gas_limit", request.GasLimit)
			if err != nil {
				return err
			}
			into.GasLimit = &limit
			return nil
		},
		clear: func(s *action.ProposerSettings) { s.GasLimit = nil },
	}, {
		path: "graffiti", name: "graffiti",
		get: func(key pubkey, from action.ProposerSettings) any {
			if from.Graffiti == nil {
				return nil
			}
			return graffiti{&key, from.Graffiti}
		},
		parse: func(body []byte, into *action.ProposerSettings) error {
			var request graffiti
			if err := decode(body, &request); err != nil {
				return err
			}
			if request.Graffiti == nil || len(*request.Graffiti) > action.MaxGraffiti {
				return refuse(http.StatusBadRequest, "graffiti must be a string of at most %d bytes", action.MaxGraffiti)
			}
			into.Graffiti = request.Graffiti
			return nil
		},
		clear: func(s *action.ProposerSettings) { s.Graffiti = nil },
	}}
}

type feeRecipient struct {
	Pubkey  *pubkey `json:"pubkey,omitempty"`
	Address address `json:"ethaddress"`
}

type gasLimit struct {
	Pubkey   *pubkey `json:"pubkey,omitempty"`
	GasLimit string  `json:"gas_limit"`
}

type graffiti struct {
	Pubkey   *pubkey `json:"pubkey,omitempty"`
	Graffiti *string `json:"graffiti"`
}

// address is an execution address in JSON; checksums by case are not checked,
// as the specification's pattern does not ask for them.
type address action.Address

func (a address) MarshalText() ([]byte, error) { return action.Address(a).MarshalText() }

func (a *address) UnmarshalText(b []byte) error { return (*action.Address)(a).UnmarshalText(b) }

// parseUint reads the specification's Uint64: decimal, without leading zeros.
func parseUint(name, text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || text != strconv.FormatUint(n, 10) {
		return 0, refuse(http.StatusBadRequest, "%s must be a decimal number of 64 bits, as a string", name)
	}
	return n, nil
}

// heldKey reads the key in a path: 400 if it is none, 404 if it is not here.
func (s *Server) heldKey(text string) (key pubkey, err error) {
	if err := key.UnmarshalText([]byte(text)); err != nil {
		return key, refuse(http.StatusBadRequest, "%s", err)
	}
	if !s.config.Signer.Holds(key) {
		return key, refuse(http.StatusNotFound, "unknown key")
	}
	return key, nil
}

func (s *Server) getSetting(p proposerSetting) handler {
	return func(w http.ResponseWriter, r *http.Request, arg string) error {
		key, err := s.heldKey(arg)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(r.Context(), s.config.Deadline)
		defer cancel()
		own, cluster, err := s.config.Keymanager.Settings(ctx, key)
		if err != nil {
			return fmt.Errorf("read settings: %w", err)
		}
		setting := p.get(key, own.Or(cluster))
		if setting == nil {
			return refuse(http.StatusNotFound, "no %s is set, neither for the key nor for the cluster", p.name)
		}
		writeJSON(w, http.StatusOK, data[any]{setting})
		return nil
	}
}

func (s *Server) setSetting(p proposerSetting) handler {
	return func(w http.ResponseWriter, r *http.Request, arg string) error {
		key, err := s.heldKey(arg)
		if err != nil {
			return err
		}
		if err := checkType(r); err != nil {
			return err
		}
		body, err := readBody(r, nil, smallBody, nil)
		if err != nil {
			return err
		}
		set := func(own *action.ProposerSettings) error { return p.parse(body, own) }
		if err := s.changeSettings(w, r, key, set); err != nil {
			return err
		}
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
}

func (s *Server) deleteSetting(p proposerSetting) handler {
	return func(w http.ResponseWriter, r *http.Request, arg string) error {
		key, err := s.heldKey(arg)
		if err != nil {
			return err
		}
		unset := func(own *action.ProposerSettings) error { p.clear(own); return nil }
		if err := s.changeSettings(w, r, key, unset); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

// changeSettings changes a key's own settings: what the request names, and
// nothing else.
func (s *Server) changeSettings(w http.ResponseWriter, r *http.Request, key pubkey, change func(*action.ProposerSettings) error) error {
	ctx, leave, err := s.administer(w, r, 0, ledgerTime)
	if err != nil {
		return err
	}
	defer leave()
	own, _, err := s.config.Keymanager.Settings(ctx, key)
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	want := own
	if err := change(&want); err != nil {
		return err
	}
	if err := s.config.Keymanager.SetSettings(ctx, key, own.Change(want)); err != nil {
		return fmt.Errorf("set settings: %w", err)
	}
	return nil
}

type signedExit struct {
	Message struct {
		Epoch          uint64 `json:"epoch,string"`
		ValidatorIndex uint64 `json:"validator_index,string"`
	} `json:"message"`
	Signature string `json:"signature"`
}

// signExit takes the epoch of the specification and, as the signer follows no
// chain that would tell it, the validator's index as one more parameter.
func (s *Server) signExit(w http.ResponseWriter, r *http.Request, arg string) error {
	key, err := s.heldKey(arg)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	var epoch, index *uint64
	for name, value := range map[string]**uint64{"epoch": &epoch, "validator_index": &index} {
		if text := query.Get(name); query.Has(name) {
			n, err := parseUint(name, text)
			if err != nil {
				return err
			}
			*value = &n
		}
	}
	extend(w, 0, ledgerTime)
	ctx, cancel := context.WithTimeout(r.Context(), ledgerTime)
	defer cancel()
	exit, err := s.config.Keymanager.Exit(ctx, key, index, epoch)
	if err != nil {
		return fmt.Errorf("sign voluntary exit: %w", err)
	}
	var answer signedExit
	answer.Message.Epoch, answer.Message.ValidatorIndex = exit.Epoch, exit.ValidatorIndex
	answer.Signature = "0x" + hex.EncodeToString(exit.Signature[:])
	writeJSON(w, http.StatusOK, data[signedExit]{answer})
	return nil
}
