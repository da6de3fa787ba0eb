package opsapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/quorate/quorate/internal/secret"
)

// Client asks a node. Its errors are an *Error where the node answered with
// one, anything else where it did not answer.
type Client struct {
	base  string
	token secret.Bytes
	http  http.Client
}

// NewClient takes the address as host:port or http URL, and the token for
// changes; without one its zero value.
func NewClient(address string, token secret.Bytes) *Client {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	return &Client{base: strings.TrimRight(address, "/"), token: token, http: http.Client{Timeout: requestTime + 5*time.Second}}
}

// maxAnswer bounds an answer: ten thousand keys of about 600 bytes.
const maxAnswer = 16 << 20

// Status returns what the node says of itself.
func (c *Client) Status(ctx context.Context) (v Status, err error) {
	return v, c.get(ctx, "/v1/status", &v)
}

// Keys returns the inventory.
func (c *Client) Keys(ctx context.Context) (v []Key, err error) {
	return v, c.get(ctx, "/v1/keys", &v)
}

// Key returns one key of the inventory.
func (c *Client) Key(ctx context.Context, pubkey string) (v Key, err error) {
	return v, c.get(ctx, "/v1/keys/"+url.PathEscape(pubkey), &v)
}

// Ceremonies returns all ceremonies.
func (c *Client) Ceremonies(ctx context.Context) (v []Ceremony, err error) {
	return v, c.get(ctx, "/v1/ceremonies", &v)
}

// Ceremony returns one ceremony.
func (c *Client) Ceremony(ctx context.Context, id string) (v Ceremony, err error) {
	return v, c.get(ctx, "/v1/ceremonies/"+url.PathEscape(id), &v)
}

// Open opens a ceremony.
func (c *Client) Open(ctx context.Context, req OpenCeremony) (v Opened, err error) {
	body, err := json.Marshal(req)
	if err != nil {
		return v, err
	}
	return v, c.do(ctx, http.MethodPost, "/v1/ceremonies", body, &v)
}

// Events returns entries of the audit log from an index on.
func (c *Client) Events(ctx context.Context, from uint64, limit int) (v Events, err error) {
	q := url.Values{"from": {strconv.FormatUint(from, 10)}, "limit": {strconv.Itoa(limit)}}
	return v, c.get(ctx, "/v1/events?"+q.Encode(), &v)
}

func (c *Client) get(ctx context.Context, path string, v any) error {
	return c.do(ctx, http.MethodGet, path, nil, v)
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, v any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask %s: %w", c.base, err)
	}
	c.token.Expose(func(token []byte) { req.Header.Set("Authorization", "Bearer "+string(token)) })
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask node: %w", err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("ask node: read answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		e := Error{Status: resp.StatusCode}
		if json.Unmarshal(raw, &e) != nil || e.Text == "" {
			e.Text = resp.Status
		}
		return &e
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("ask node: read answer: %w", err)
	}
	return nil
}
