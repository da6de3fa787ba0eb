package ledgertest

import (
	"maps"
	"slices"
	"strings"
)

// Memory is a ledger's disk: what is committed, without a disk.
type Memory map[string][]byte

func (m Memory) Get(key []byte) []byte { return m[string(key)] }

func (m Memory) Iterate(prefix, from []byte, visit func(key, value []byte) bool) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if strings.HasPrefix(k, string(prefix)) && k >= string(from) && !visit([]byte(k), m[k]) {
			return
		}
	}
}
