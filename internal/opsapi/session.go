package opsapi

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/quorate/quorate/internal/action"
	"github.com/quorate/quorate/internal/credential"
	"github.com/quorate/quorate/internal/ident"
	"github.com/quorate/quorate/internal/wire"
)

// A session lets a member read. It stands in for a token, never for a
// signature: no route that changes anything looks for one.
type session struct {
	member  string
	key     []byte // that signed the login; the session ends when the ledger drops it
	expires time.Time
}

const (
	sessionTime       = time.Hour
	sessionsPerMember = 8 // the oldest gives way
	sessionCookie     = "quorate_session"
)

// sessions live in memory only: a node that starts again knows nobody.
type sessions struct {
	mu      sync.Mutex
	byToken map[[32]byte]session   // by the token's hash
	used    map[[32]byte]time.Time // challenges that were answered, until they end
}

// begin takes a challenge once and returns the new session's token.
func (s *sessions) begin(one session, challenge []byte, now time.Time) (token string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c, end := range s.used {
		if !now.Before(end) {
			delete(s.used, c)
		}
	}
	answered := sha256.Sum256(challenge)
	if _, twice := s.used[answered]; twice {
		return "", false
	}
	s.used[answered] = now.Add(challengeTime)
	var oldest [32]byte
	n := 0
	for hash, other := range s.byToken {
		switch {
		case !now.Before(other.expires):
			delete(s.byToken, hash)
		case other.member == one.member:
			if n++; n == 1 || other.expires.Before(s.byToken[oldest].expires) {
				oldest = hash
			}
		}
	}
	if n >= sessionsPerMember {
		delete(s.byToken, oldest)
	}
	token = rand.Text() + rand.Text()
	s.byToken[sha256.Sum256([]byte(token))] = one
	return token, true
}

func (s *sessions) find(token string, now time.Time) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.byToken[sha256.Sum256([]byte(token))]
	return one, ok && now.Before(one.expires)
}

func (s *sessions) end(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byToken, sha256.Sum256([]byte(token)))
}

// sessionToken returns what a request brings as a session, from its header or
// its cookie.
func sessionToken(r *http.Request) string {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return token
	}
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		return cookie.Value
	}
	return ""
}

// session returns the session of a request, whose member and key the ledger
// still has to know.
func (s *Server) session(r *http.Request) (session, bool) {
	one, ok := s.sessions.find(sessionToken(r), s.config.Now())
	if !ok {
		return session{}, false
	}
	view, err := s.config.Ledger.View()
	if err != nil {
		return session{}, false
	}
	m, ok := view.Member(one.member)
	return one, ok && slices.ContainsFunc(m.Keys, func(k ident.PublicKey) bool { return bytes.Equal(k.Bytes(), one.key) })
}

func (s *Server) loginChallenge(r *http.Request) (any, error) {
	var req LoginRequest
	if err := decode(r, &req, `{"member":"alice"}`); err != nil {
		return nil, err
	}
	if err := action.CheckName("member", req.Member); err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Text: err.Error()}
	}
	// Whether there is such a member, the answer does not say.
	challenge, expires := s.challenges.issue(forLogin, req.Member, s.config.Now())
	out := LoginChallenge{Cluster: s.config.Cluster.String(), Node: s.config.Node, Challenge: challenge, Expires: expires.UTC()}
	message := wire.Hash(wire.TagLogin, LoginParts(s.config.Cluster, s.config.Node, req.Member, challenge)...)
	out.Message, out.PublicKey = message[:], s.requestOptions(message)
	return out, nil
}

// LoginParts is what a member signs under wire.TagLogin. It names the node,
// so that no other can use the answer.
func LoginParts(cluster action.ClusterID, node, member string, challenge []byte) [][]byte {
	return [][]byte{cluster[:], []byte(node), []byte(member), challenge}
}

func (s *Server) login(r *http.Request) (any, error) {
	var req Login
	if err := decode(r, &req, `{"member":"alice","challenge":"…","signature":"…"}`); err != nil {
		return nil, err
	}
	refused := &Error{http.StatusForbidden, "login refused: the signature does not verify under a key of the member", "sign a new challenge with a credential that is on the ledger"}
	now := s.config.Now()
	if err := s.challenges.check(forLogin, req.Member, req.Challenge, now); err != nil {
		return nil, &Error{http.StatusForbidden, "login refused: " + err.Error(), "ask POST /v1/login/challenge for another"}
	}
	signature, err := req.signature()
	if err != nil {
		return nil, err
	}
	view, err := s.config.Ledger.View()
	if err != nil {
		return nil, err
	}
	m, ok := view.Member(req.Member)
	if !ok {
		return nil, refused
	}
	parts := LoginParts(s.config.Cluster, s.config.Node, req.Member, req.Challenge)
	i := slices.IndexFunc(m.Keys, func(k ident.PublicKey) bool { return k.Verify(signature, wire.TagLogin, parts...) == nil })
	if i < 0 {
		return nil, refused
	}
	one := session{member: m.ID, key: m.Keys[i].Bytes(), expires: now.Add(sessionTime)}
	token, ok := s.sessions.begin(one, req.Challenge, now)
	if !ok {
		return nil, &Error{http.StatusForbidden, "login refused: the challenge was answered before", "ask POST /v1/login/challenge for another"}
	}
	return LoggedIn{Session{Member: one.member, Roles: m.Roles, Expires: one.expires.UTC()}, token, !s.public}, nil
}

func (s *Server) whoami(r *http.Request) (any, error) {
	one, ok := s.session(r)
	if !ok {
		return nil, &Error{http.StatusUnauthorized, "there is no session", "POST /v1/login/challenge begins one"}
	}
	return Session{Member: one.member, Expires: one.expires.UTC()}, nil
}

func (s *Server) logout(r *http.Request) (any, error) {
	s.sessions.end(sessionToken(r))
	return struct{}{}, nil
}

// LoginRequest asks for a challenge.
type LoginRequest struct {
	Member string `json:"member"`
}

// LoginChallenge is to be signed under wire.TagLogin over LoginParts. A
// browser hands PublicKey to navigator.credentials.get.
type LoginChallenge struct {
	Cluster   string               `json:"cluster"`
	Node      string               `json:"node"`
	Challenge credential.Base64URL `json:"challenge"`
	Message   credential.Base64URL `json:"message"` // hash of LoginParts
	Expires   time.Time            `json:"expires"`
	PublicKey *RequestOptions      `json:"publicKey,omitempty"`
}

// Login answers a LoginChallenge.
type Login struct {
	Member    string               `json:"member"`
	Challenge credential.Base64URL `json:"challenge"`
	Signature
}

// Session says who reads, and for how long.
type Session struct {
	Member  string    `json:"member"`
	Roles   []string  `json:"roles,omitempty"`
	Expires time.Time `json:"expires"`
}

// LoggedIn answers Login. The token serves as a bearer token of reading
// requests; a browser gets it as a cookie, too.
type LoggedIn struct {
	Session
	Token string `json:"token"`

	secure bool
}

func (l LoggedIn) cookie() *http.Cookie {
	return &http.Cookie{Name: sessionCookie, Value: l.Token, Path: "/", Expires: l.Expires,
		HttpOnly: true, Secure: l.secure, SameSite: http.SameSiteStrictMode}
}
