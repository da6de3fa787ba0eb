package signerapi

import (
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
)

// handler answers a request or returns why it does not: an error becomes a
// status and a JSON body in one place, fail. arg is the variable part of the
// path, if any.
type handler func(w http.ResponseWriter, r *http.Request, arg string) error

// route is one path. Paths are compared byte for byte in their escaped form:
// nothing is cleaned, unescaped or redirected, so no second spelling of a
// path reaches a handler.
type route struct {
	name       string // label of its metrics
	keymanager bool   // needs the token; errors have that API's form
	methods    map[string]handler
}

const (
	signPrefix      = "/api/v1/eth2/sign/"
	validatorPrefix = "/eth/v1/validator/"
)

// routes is every path that the server knows: fixed ones by path, those with
// a key inside by their prefix or last part.
type routes struct {
	fixed      map[string]*route
	sign       *route
	validators map[string]*route // by what follows the key
	unknown    *route
}

func (s *Server) table() routes {
	get := func(name string, h handler) *route { return &route{name: name, methods: map[string]handler{"GET": h}} }
	t := routes{
		sign: &route{name: "sign", methods: map[string]handler{"POST": s.sign}},
		fixed: map[string]*route{
			"/api/v1/eth2/publicKeys":    get("publicKeys", s.publicKeys),
			"/api/v1/eth2/highWatermark": get("highWatermark", s.highWatermark),
			"/upcheck":                   get("upcheck", s.upcheck),
			"/healthcheck":               get("healthcheck", s.healthcheck),
			"/reload":                    {name: "reload", methods: map[string]handler{"GET": s.reloadStatus, "POST": s.reload}},
		},
		unknown: &route{name: "unknown"},
	}
	if s.config.Keymanager == nil {
		return t
	}
	km := func(name string, get, post, del handler) *route {
		r := &route{name: name, keymanager: true, methods: map[string]handler{}}
		for method, h := range map[string]handler{"GET": get, "POST": post, "DELETE": del} {
			if h != nil {
				r.methods[method] = h
			}
		}
		return r
	}
	t.fixed["/eth/v1/keystores"] = km("keystores", s.listKeystores, s.importKeystores, s.deleteKeystores)
	t.fixed["/eth/v1/remotekeys"] = km("remotekeys", s.listRemoteKeys, s.importRemoteKeys, s.deleteRemoteKeys)
	t.validators = map[string]*route{"voluntary_exit": km("voluntary_exit", nil, s.signExit, nil)}
	for _, p := range proposerSettings() {
		t.validators[p.path] = km(p.path, s.getSetting(p), s.setSetting(p), s.deleteSetting(p))
	}
	return t
}

// find returns the route of an escaped path and its variable part.
func (t *routes) find(path string) (*route, string) {
	if r, ok := t.fixed[path]; ok {
		return r, ""
	}
	if id, ok := strings.CutPrefix(path, signPrefix); ok && !strings.Contains(id, "/") {
		return t.sign, id
	}
	if rest, ok := strings.CutPrefix(path, validatorPrefix); ok {
		key, part, _ := strings.Cut(rest, "/")
		if r, ok := t.validators[part]; ok {
			return r, key
		}
	}
	return t.unknown, ""
}

// ServeHTTP checks who asks and how, then hands over to the route.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rt, arg := s.routes.find(r.URL.EscapedPath())
	out := &response{ResponseWriter: w}
	defer func() {
		if cause := recover(); cause != nil {
			if cause == http.ErrAbortHandler {
				panic(cause)
			}
			s.log.Error("request panicked", "route", rt.name, "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
			s.fail(out, rt, refuse(http.StatusInternalServerError, "internal error"))
		}
		s.config.Metrics.answered(rt.name, out.status)
	}()
	if err := s.serve(out, r, rt, arg); err != nil {
		s.fail(out, rt, err)
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, rt *route, arg string) error {
	if !s.hostAllowed(r.Host) {
		return refuse(http.StatusForbidden, "Host not authorized.")
	}
	// A page of any site can make its visitor's browser send requests to
	// loopback. It cannot read the answer, but a signed duty already counts.
	if err := s.origin.Check(r); err != nil {
		return refuse(http.StatusForbidden, "cross-origin request")
	}
	if rt == s.routes.unknown {
		return refuse(http.StatusNotFound, "no such path; the operator API has a port of its own")
	}
	if rt.keymanager {
		w.Header().Set("Cache-Control", "no-store")
		if err := s.authenticate(w, r); err != nil {
			return err
		}
	}
	method := r.Method
	if method == http.MethodHead { // net/http drops the body
		method = http.MethodGet
	}
	h, ok := rt.methods[method]
	if !ok {
		w.Header().Set("Allow", rt.allow())
		return refuse(http.StatusMethodNotAllowed, "method not allowed")
	}
	return h(w, r, arg)
}

func (rt *route) allow() string {
	var methods []string
	for m := range rt.methods {
		methods = append(methods, m)
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

// hostAllowed defends against DNS rebinding: a name that an attacker points
// at this server is not among those that the operator listed.
func (s *Server) hostAllowed(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	for _, allowed := range s.config.Hosts {
		if allowed == "*" || strings.EqualFold(allowed, name) {
			return true
		}
	}
	return false
}

// response remembers the status.
type response struct {
	http.ResponseWriter
	status int // 0 until the header is written
}

func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }
