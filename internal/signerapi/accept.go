package signerapi

import (
	"net/http"
	"strings"
)

// wantsJSON decides as Web3Signer does whether a signature is answered as
// JSON: some element of Accept is application/json or */*, whatever its
// parameters, q=0 included. A request without Accept gets text, and its
// sender (Teku, Prysm) goes by the Content-Type of the answer.
func wantsJSON(h http.Header) bool {
	for _, line := range h["Accept"] {
		for element := range strings.SplitSeq(line, ",") {
			kind, _, _ := strings.Cut(element, ";")
			kind = strings.TrimSpace(kind)
			if kind == "*/*" || strings.EqualFold(kind, "application/json") {
				return true
			}
		}
	}
	return false
}
