package bench

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/quorate/quorate/internal/bls"
)

// conn is a client's connection to a signer, kept alive. It is smaller than
// net/http's client, which would take a tenth of the cores it measures.
type conn struct {
	net.Conn
	in   *bufio.Reader
	head []byte
}

// answerTime bounds one request: beyond the signer's own deadline.
const answerTime = 10 * time.Second

func dial(address string) (*conn, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect to signer: %w", err)
	}
	return &conn{Conn: c, in: bufio.NewReader(c)}, nil
}

// post sends a request and returns the status and, where that is 200, the
// signature in hex.
func (c *conn) post(path string, body []byte) (status int, answer []byte, err error) {
	c.head = append(c.head[:0], "POST "...)
	c.head = append(c.head, path...)
	c.head = append(c.head, " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "...)
	c.head = strconv.AppendInt(c.head, int64(len(body)), 10)
	c.head = append(c.head, "\r\n\r\n"...)
	if err := c.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return 0, nil, fmt.Errorf("ask signer: %w", err)
	}
	if _, err := c.Write(append(c.head, body...)); err != nil {
		return 0, nil, fmt.Errorf("ask signer: %w", err)
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("read signer's answer: %w", err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return 0, nil, fmt.Errorf("read signer's answer: %w", err)
	}
	return resp.StatusCode, answer, nil
}

func parseSignature(answer []byte) (bls.Signature, error) {
	text := bytes.TrimPrefix(bytes.TrimSpace(answer), []byte("0x"))
	raw := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(raw, text); err != nil {
		return bls.Signature{}, fmt.Errorf("read signature: %w", err)
	}
	return bls.ParseSignature(raw)
}
