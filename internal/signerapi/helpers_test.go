package signerapi

import (
	"net/url"

	"github.com/quorate/quorate/internal/secret"
)

// setEscapedPath gives u the path of a request line, as net/http parses it.
func setEscapedPath(u *url.URL, escaped string) error {
	parsed, err := url.ParseRequestURI("http://localhost" + escaped)
	if err != nil {
		return err
	}
	u.Path, u.RawPath, u.Opaque = parsed.Path, parsed.RawPath, ""
	return nil
}

func configWithToken(f *fixture, token string) Config {
	config := f.config
	config.Metrics = nil
	config.Token = secret.New([]byte(token))
	return config
}
