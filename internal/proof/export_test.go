package proof

import "github.com/quorate/quorate/internal/wire"

// EncodeClaim lets a test measure one claim.
func EncodeClaim(c *Claim) []byte {
	var e wire.Encoder
	c.encode(&e)
	return e.Out()
}
