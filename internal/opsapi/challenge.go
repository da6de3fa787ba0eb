package opsapi

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/quorate/quorate/internal/secret"
	"github.com/quorate/quorate/internal/wire"
)

// challenges are asked for by anybody, so they cost the server no memory: a
// challenge is a nonce, its end, and a MAC over both and what it is for.
type challenges struct{ key secret.Bytes }

// uses of a challenge.
const (
	forLogin   = "login"
	forPasskey = "passkey"
)

const (
	challengeTime = 5 * time.Minute
	challengeSize = 16 + 8 + sha256.Size
)

var errChallenge = errors.New("the challenge is not one that this node gave for this, or its time is over")

func (c challenges) issue(use, member string, now time.Time) (challenge []byte, expires time.Time) {
	expires = now.Add(challengeTime).Truncate(time.Second)
	challenge = make([]byte, 16, challengeSize)
	rand.Read(challenge)
	challenge = binary.BigEndian.AppendUint64(challenge, uint64(expires.Unix()))
	return append(challenge, c.mac(use, member, challenge)...), expires
}

func (c challenges) check(use, member string, challenge []byte, now time.Time) error {
	if len(challenge) != challengeSize || !hmac.Equal(challenge[24:], c.mac(use, member, challenge[:24])) {
		return errChallenge
	}
	if uint64(now.Unix()) >= binary.BigEndian.Uint64(challenge[16:24]) {
		return errChallenge
	}
	return nil
}

func (c challenges) mac(use, member string, head []byte) (sum []byte) {
	var e wire.Encoder
	e.String(use)
	e.String(member)
	e.Fixed(head)
	c.key.Expose(func(key []byte) {
		mac := hmac.New(sha256.New, key)
		mac.Write(e.Out())
		sum = mac.Sum(nil)
	})
	return sum
}
