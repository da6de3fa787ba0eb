package signerapi

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/secret"
)

// gate bounds how many do something at once and how long others wait for it.
type gate struct {
	places chan struct{}
	wait   time.Duration
}

func newGate(places int, wait time.Duration) gate {
	return gate{make(chan struct{}, places), wait}
}

// enter takes a place, which leave gives back, or refuses with 503.
func (g gate) enter(ctx context.Context) error {
	select {
	case g.places <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(g.wait)
	defer timer.Stop()
	select {
	case g.places <- struct{}{}:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return refuse(http.StatusServiceUnavailable, "too many requests at once")
}

func (g gate) leave() { <-g.places }

// buffers holds bodies of sign requests between requests. It is the server's
// own, so that no state is shared by two servers.
type buffers struct{ pool sync.Pool }

func (b *buffers) get() *[]byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return buf
	}
	buf := make([]byte, 0, 8<<10)
	return &buf
}

// put keeps what is of common size.
func (b *buffers) put(buf *[]byte) {
	if cap(*buf) <= smallBody {
		*buf = (*buf)[:0]
		b.pool.Put(buf)
	}
}

// checkType refuses bodies that cannot be JSON. A body without a type, or of
// the type that curl writes when told nothing, is taken as Web3Signer does.
func checkType(r *http.Request) error {
	if enc := r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return refuse(http.StatusUnsupportedMediaType, "content encoding is not supported")
	}
	header := r.Header.Get("Content-Type")
	if header == "" {
		return nil
	}
	kind, _, err := mime.ParseMediaType(header)
	if err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json") || kind == "application/x-www-form-urlencoded") {
		return nil
	}
	return refuse(http.StatusUnsupportedMediaType, "content type must be application/json")
}

// readBody appends the request's body to buf, at most limit bytes. Memory
// grows as bytes arrive, not as they are announced, and what growing leaves
// behind is wiped. grow, if any, is called once before the body takes more
// than smallBody.
func readBody(r *http.Request, buf []byte, limit int, grow func() error) ([]byte, error) {
	tooLarge := refuse(http.StatusRequestEntityTooLarge, "body over the limit of %d bytes", limit)
	if r.ContentLength > int64(limit) {
		return buf, tooLarge
	}
	for {
		if len(buf) == cap(buf) {
			if cap(buf) >= smallBody && grow != nil {
				if err := grow(); err != nil {
					return buf, err
				}
				grow = nil
			}
			larger := make([]byte, len(buf), min(max(2*cap(buf), 8<<10), limit+1))
			copy(larger, buf)
			secret.Wipe(buf)
			buf = larger
		}
		n, err := r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > limit:
			return buf, tooLarge
		case err == io.EOF:
			return buf, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return buf, refuse(http.StatusRequestTimeout, "body did not arrive in time")
		case err != nil:
			return buf, refuse(http.StatusBadRequest, "body is incomplete")
		}
	}
}
