package e2e

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// lie sets a variable to the address of a node that lies to participants. It
// stands before an honest one. One that swallows shows everything as it is, and
// says of what it is given that the ledger has it. One that freezes shows for
// ever where a ceremony stood when it was asked first, and takes nothing.
func lie(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 || args[1] != "swallows" && args[1] != "freezes" {
		ts.Fatalf("usage: lie NAME swallows|freezes URL")
	}
	honest, err := url.Parse(args[2])
	ts.Check(err)
	l := &liar{freezes: args[1] == "freezes", seen: map[string][]byte{}}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(honest) }, ModifyResponse: l.freeze}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet:
			proxy.ServeHTTP(w, r)
		case l.freezes:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			io.Copy(io.Discard, r.Body)                    //nolint:errcheck // a liar
			io.WriteString(w, `{"entry":4294967295}`+"\n") //nolint:errcheck // a liar
		}
	}))
	ts.Defer(server.Close)
	ts.Setenv(args[0], server.URL)
}

type liar struct {
	freezes bool
	mu      sync.Mutex
	seen    map[string][]byte // first answer, by path
}

func (l *liar) freeze(r *http.Response) error {
	path := r.Request.URL.Path
	if !l.freezes || r.StatusCode != http.StatusOK || !strings.HasSuffix(path, "/proof") {
		return nil
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen[path] == nil {
		l.seen[path] = raw
	}
	r.Body = io.NopCloser(bytes.NewReader(l.seen[path]))
	r.ContentLength = int64(len(l.seen[path]))
	r.Header.Del("Content-Length")
	return nil
}
