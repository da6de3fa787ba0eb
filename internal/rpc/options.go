package rpc

import "github.com/quorate/quorate/internal/wire"

// Options bound what one connection can cost. Both ends need the same Limit.
type Options struct {
	// Concurrent is how many requests the server handles at once; one more
	// is refused with CodeUnavailable. 0 means 256.
	Concurrent int
	// Limit is the largest body, in bytes, of a method's request and of its
	// reply. Nil means wire.MaxFrame for every method. A peer that exceeds
	// it loses the connection.
	Limit func(method uint16) int
}

func (o Options) withDefaults() Options {
	if o.Concurrent <= 0 {
		o.Concurrent = 256
	}
	if o.Limit == nil {
		o.Limit = func(uint16) int { return wire.MaxFrame }
	}
	return o
}

// limit is Limit held to what any frame may have.
func (o Options) limit(method uint16) int {
	if method == MethodPing {
		return 0
	}
	return min(o.Limit(method), wire.MaxFrame)
}
