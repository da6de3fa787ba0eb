// Package opsapi is what operators and consoles ask a node, as JSON over HTTP.
//
// Owns: the routes under /v1 and /tlog, their types, the server and its Go [Client].
//
// Never: duties (signerapi), decisions (the ledger), or a secret in an answer.
// Reading needs no credentials where the server listens on loopback; changing
// anything, reading over a network, and asking all holders for their slashing
// history needs the bearer token that lies in the node's home. The Host header
// must name the server, so that a web page cannot reach it by having its own
// name point here.
//
//	GET  /v1/status                  the node, its peers and its custody processes
//	GET  /v1/keys                    the inventory
//	GET  /v1/keys/{pubkey}           one key
//	POST /v1/keys/import             deal the key of a keystore to the holders
//	POST /v1/keys/{pubkey}/exit      sign a voluntary exit
//	GET  /v1/slashing?pubkey=&node=  EIP-3076 interchange of the keys given, else of all
//	POST /v1/slashing                raise watermarks from an EIP-3076 interchange
//	GET  /v1/ceremonies              all ceremonies
//	GET  /v1/ceremonies/{id}         one ceremony
//	GET  /v1/ceremonies/{id}/transcripts what proves it to others
//	GET  /v1/ceremonies/{id}/summons what a participant is shown that hands its
//	                                 key over there
//	POST /v1/ceremonies/{id}/messages
//	                                 what it says to that
//	POST /v1/ceremonies              open a ceremony that makes new keys, or new
//	                                 shares of keys
//	GET  /v1/assemblies              ceremonies among participants that are not nodes,
//	                                 newest first, and GET /v1/assemblies/{id}?seats= one
//	POST /v1/assemblies              ask for one as the node
//	GET  /v1/assemblies/{id}/log?from=
//	                                 its log, whole entries; Quorate-Next says where to go on
//	GET  /v1/assemblies/{id}/proof   certificate of its record, for whoever has the genesis
//	POST /v1/assemblies/{id}/messages and /seals
//	                                 what a participant signed; answers once a block has it
//	PUT  /v1/assemblies/{id}/letters/{dealer}
//	                                 ciphertexts of a hybrid dealing; GET …/{dealer}/{seat} one
//	GET  /v1/assemblies/{id}/archive and /certificate
//	                                 what proves it to others
//	GET  /v1/beacon?proof=           the beacon's newest output, /v1/beacon/{height} that of
//	                                 a height, /v1/beacon/key whose they are: for anybody
//	GET  /v1/events?from=&limit=     the audit log
//	GET  /v1/events/export?format=&key=&member=&region=&kind=&from=&to=
//	                                 all of it as an audit log file, jsonl or csv
//	GET  /v1/receipts/{tx}           the receipt file of a transaction
//	GET  /tlog/checkpoint            the log's newest checkpoint, and its tiles
//	GET  /tlog/tile/{path}           as C2SP tlog-tiles has them
//	GET  /v1/requests?state=&rule=&by=&object=&after=&limit=
//	                                 what waits for approval; with state=all what ever did
//	GET  /v1/requests/{id}           one request, by its id or 4 digits of it at least:
//	                                 canonical bytes, words, approvals, who is missing
//	POST /v1/requests/{id}/exit      sign the very exit that was granted
//	POST /v1/exits                   sign the exit of an action for which a grant holds
//	GET  /v1/members                 who takes part, and GET /v1/members/{id} one of them,
//	                                 with the number of the next transaction
//	GET  /v1/policy                  the policy in force, and what it means
//	GET  /v1/timers                  what asks by itself
//	GET  /v1/keys/{pubkey}/exit      the canonical action of an exit, to be asked for
//	POST /v1/ceremonies/proposal     those of the ceremonies that new keys, or new shares
//	                                 of keys, take
//
// Of these only asking for one needs the token, wherever the server listens:
// the log is public, and what is brought is signed.
//
// What others have to agree to, or has to wait, answers 202 with its request's id.
//
// A member needs no token. What decides is a transaction that the member's
// own credential signed; a session, which any credential opens for an hour,
// stands in for the token where one only reads. Beyond loopback these want TLS
// in front: without it browsers neither make passkeys nor send the cookie.
//
//	POST /v1/login/challenge         what to sign to begin a session
//	POST /v1/login                   begin it; GET shows it, DELETE ends it
//	POST /v1/passkeys/options        what a browser makes a passkey from
//	POST /v1/passkeys                its answer becomes a credential for the ledger
//	POST /v1/transactions/prepare    a member's transaction, to be signed
//	POST /v1/transactions            the signature or assertion; answers once a block has it
//
// Start reading at Server and, for the shapes, types.go and govern_types.go.
package opsapi
