package e2e

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// lie sets a variable to the address of a node that lies to participants. It
// stands before an honest one. One that swallows shows everything as it is, and
// says of what it is given that the ledger has it. One that freezes shows for
// ever where a ceremony stood when it was asked first, and takes nothing. One that
// spoils changes the end of what it brings to a hand-over, where the nodes' keys
// stand, and takes nothing.
func lie(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 || !slices.Contains([]string{"swallows", "freezes", "spoils"}, args[1]) {
		ts.Fatalf("usage: lie NAME swallows|freezes|spoils URL")
	}
	honest, err := url.Parse(args[2])
	ts.Check(err)
	l := &liar{how: args[1], seen: map[string][]byte{}}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(honest) }, ModifyResponse: l.change}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet:
			proxy.ServeHTTP(w, r)
		case l.how != "swallows":
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
	how  string
	mu   sync.Mutex
	seen map[string][]byte // first answer, by path
}

func (l *liar) change(r *http.Response) error {
	path := r.Request.URL.Path
	freezes := l.how == "freezes" && strings.HasSuffix(path, "/proof")
	spoils := l.how == "spoils" && strings.HasSuffix(path, "/summons")
	if r.StatusCode != http.StatusOK || !freezes && !spoils {
		return nil
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if spoils {
		raw[len(raw)-1] ^= 1
	} else {
		raw = l.first(path, raw)
	}
	r.Body = io.NopCloser(bytes.NewReader(raw))
	r.ContentLength = int64(len(raw))
	r.Header.Del("Content-Length")
	return nil
}

func (l *liar) first(path string, raw []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen[path] == nil {
		l.seen[path] = raw
	}
	return l.seen[path]
}
