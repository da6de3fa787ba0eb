package verify

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
)

// sshKey is a key in SSH's wire format, perhaps on a token.
type sshKey struct {
	curveKey
	token       bool
	needed      byte // flags
	application []byte
}

// parseSSH reads what follows the suite. A string of SSH is one of ours.
func parseSSH(raw []byte) (*sshKey, error) {
	d := &decoder{in: raw}
	k := &sshKey{needed: d.u8()}
	kind := string(d.bytes(maxName))
	curve := false
	switch kind {
	case "ssh-ed25519":
	case "sk-ssh-ed25519@openssh.com":
		k.token = true
	case "ecdsa-sha2-nistp256":
		curve = true
	case "sk-ecdsa-sha2-nistp256@openssh.com":
		curve, k.token = true, true
	default:
		d.fail("SSH key of kind %q", kind)
	}
	read := edKey
	if curve {
		read = ecKey
		if name := string(d.bytes(maxName)); name != "nistp256" {
			d.fail("curve %q", name)
		}
	}
	key := d.bytes(curvePoint)
	if k.token {
		k.application = d.bytes(maxName)
		if !bytes.HasPrefix(k.application, []byte("ssh:")) {
			d.fail("application %q", k.application)
		}
	}
	switch {
	case !k.token && k.needed == 0:
	case k.token && (k.needed == flagPresent || k.needed == flagPresent|flagVerified):
	default:
		d.fail("flags %#x of a key of kind %q", k.needed, kind)
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	var err error
	if k.curveKey, err = read(key); err != nil {
		return nil, fmt.Errorf("SSH key: %w", err)
	}
	return k, nil
}

// signed rebuilds what the agent signed, and of a token what that made of it.
func (k *sshKey) signed(m [32]byte, sig []byte) bool {
	hash := sha512.Sum512(m[:])
	said := []byte("SSHSIG")
	for _, field := range [][]byte{[]byte("quorate"), nil, []byte("sha512"), hash[:]} { // namespace, reserved, algorithm
		said = append(binary.BigEndian.AppendUint32(said, uint32(len(field))), field...)
	}
	if !k.token {
		return k.holds(said, sig)
	}
	if len(sig) != curveSignature+1+4 || !flagsHold(sig[curveSignature], k.needed) {
		return false
	}
	application, sum := sha256.Sum256(k.application), sha256.Sum256(said)
	return k.holds(bytes.Join([][]byte{application[:], sig[curveSignature:], sum[:]}, nil), sig[:curveSignature])
}
