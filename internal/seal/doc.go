// Package seal keeps secrets on disk.
//
// Owns: sealing ([Sealer]), the root it starts from ([Root]), the format of a
// sealed record ([Header]), and the store of a custody process's shares
// ([Safe]).
//
// Never: a root that appears by itself. Only [InitRoot] and [Create] make
// something; a root or a safe that is gone is an error. Never a share without
// its header: cluster, domain, namespace, key, epoch and (n, t, x_i) are
// authenticated with it, so that no record opens in another's place.
//
// Domains have nothing in common: each custody process has a root of its own,
// and cluster and domain enter the derivation as well, so that even a root
// copied by mistake opens nothing elsewhere.
//
// Other seals. A TPM and a PKCS#11 token each become one more function that
// returns a [Root], beside [ReadRoot]: the TPM unseals the 32 bytes under its
// PCR policy, the token unwraps them with a key that never leaves it, once at
// start. Nothing else changes, above all no format. A device that must see
// every single record implements [Sealer] itself, and pays a round trip for
// each of ten thousand shares. A device that fails is an error, never a
// reason to seal otherwise.
//
// Spec: HKDF RFC 5869, XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03);
// formats in header.go and safe.go.
//
// Start reading at Header.
package seal
