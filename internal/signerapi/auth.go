package signerapi

import (
	"net/http"
	"strings"

	"github.com/quorate/quorate/internal/secret"
)

// authenticate checks the bearer token: 401 without one, 403 with a wrong one.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request) error {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		w.Header().Set("WWW-Authenticate", `Bearer realm="keymanager"`)
		return refuse(http.StatusUnauthorized, "no bearer token")
	}
	given := secret.New([]byte(token))
	defer given.Destroy()
	if !s.config.Token.Equal(given) {
		return refuse(http.StatusForbidden, "bearer token is invalid")
	}
	return nil
}
