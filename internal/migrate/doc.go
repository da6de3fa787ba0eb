// Package migrate reads what other signers leave behind.
//
// Owns: the way from Web3Signer's slashing database (PostgreSQL, schema 12)
// to an EIP-3076 interchange.
//
// Never: a write to the database; keys; a history that allows what the other
// signer would have refused.
//
// Spec: EIP-3076; the migrations of Web3Signer's slashing-protection module.
//
// Start reading at ReadWeb3Signer.
package migrate
