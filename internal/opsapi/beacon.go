package opsapi

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/audit"
)

// Beacon makes what the cluster's beacon gives away. A refusal carries an
// rpc.Code.
type Beacon interface {
	// Round returns a beacon's signature of a height that is there.
	Round(ctx context.Context, key [48]byte, height uint64) ([96]byte, error)
	// ProveRecord returns a certificate of the key's record.
	ProveRecord(ctx context.Context, key [48]byte) ([]byte, error)
}

// BeaconKey is the cluster's beacon.
type BeaconKey struct {
	Scheme    string `json:"scheme"`
	Cluster   string `json:"cluster"`
	PublicKey string `json:"public_key"`
	State     string `json:"state"`
	Threshold int    `json:"threshold"`
	Holders   int    `json:"holders"`
	Epoch     uint32 `json:"epoch"`
	Ceremony  string `json:"ceremony"`
	Created   uint64 `json:"created"` // height; of rounds up to it the outputs were never secret
	Height    uint64 `json:"height"`  // the newest round
}

// theBeacon returns the record of the cluster's beacon.
func (s *Server) theBeacon() (*action.KeyRecord, error) {
	view, err := s.config.Ledger.View()
	if err != nil {
		return nil, err
	}
	key := view.Beacon()
	if key == nil {
		return nil, &Error{http.StatusNotFound, "the cluster has no beacon", "quorate beacon init"}
	}
	return key, nil
}

func (s *Server) beaconKey(*http.Request) (any, error) {
	key, err := s.theBeacon()
	if err != nil {
		return nil, err
	}
	height, _ := s.config.Ledger.Height()
	return BeaconKey{Scheme: audit.SchemeBeacon, Cluster: s.config.Cluster.String(), PublicKey: "0x" + hex.EncodeToString(key.PublicKey),
		State: key.State.String(), Threshold: int(key.T), Holders: key.Holders(), Epoch: key.Epoch, Ceremony: hex.EncodeToString(key.Ceremony[:]),
		Created: key.Created, Height: height}, nil
}

// beaconRound answers with one round, the newest where the path names none.
func (s *Server) beaconRound(r *http.Request) (any, error) {
	newest, _ := s.config.Ledger.Height()
	height := newest
	if text := r.PathValue("height"); text != "" {
		var err error
		if height, err = strconv.ParseUint(text, 10, 64); err != nil || height == 0 {
			return nil, &Error{Status: http.StatusBadRequest, Text: "the round is the number of a height, from 1"}
		}
	}
	if height > newest {
		return nil, &Error{http.StatusNotFound, fmt.Sprintf("the ledger is at height %d: round %d does not exist yet", newest, height), "ask again when it is there"}
	}
	key, err := s.theBeacon()
	if err != nil {
		return nil, err
	}
	pk := [48]byte(key.PublicKey)
	signature, err := s.config.Beacon.Round(r.Context(), pk, height)
	if err != nil {
		return nil, err
	}
	round := audit.NewRound(s.config.Cluster, pk[:], height, signature[:])
	switch wanted := r.URL.Query().Get("proof"); wanted {
	case "", "false":
	case "true":
		round.Proof, err = s.config.Beacon.ProveRecord(r.Context(), pk)
	default:
		err = &Error{Status: http.StatusBadRequest, Text: "proof is neither true nor false"}
	}
	return round, err
}

// BeaconKey returns the cluster's beacon.
func (c *Client) BeaconKey(ctx context.Context) (v BeaconKey, err error) {
	return v, c.get(ctx, "/v1/beacon/key", &v)
}

// BeaconRound returns the beacon's output of a height, 0 for the newest, with
// the proof that the key is the cluster's if that is asked for.
func (c *Client) BeaconRound(ctx context.Context, height uint64, prove bool) (v audit.Round, err error) {
	path := "/v1/beacon"
	if height != 0 {
		path += "/" + strconv.FormatUint(height, 10)
	}
	return v, c.get(ctx, path+"?"+url.Values{"proof": {strconv.FormatBool(prove)}}.Encode(), &v)
}
