// Package keys has the keys of terminals and of the push server, and what is
// made with them: signatures, sealed payloads, session tokens, the renewal of
// a client's key, and proofs for HTTP requests.
//
//	client, err := keys.Generate()
//	ring, err := keys.NewRing(time.Now(), 24*time.Hour)
//	session, err := ring.Seal(keys.Claims{User: "ada", Thumbprint: client.Public().Thumbprint()})
//	claims, by, err := ring.Open(session) // "ada", ring.Current()
//
// All of it is on P-256, the one curve whose private keys Secure Enclave,
// StrongBox and the WebCrypto of every browser can keep for themselves: ECDSA
// with SHA-256, and HPKE (RFC 9180) with HKDF-SHA256 and AES-128-GCM. A Private
// is two keys, and never uses one for both.
//
// The package keeps nothing between calls, and has no clock. It knows neither
// accounts nor connections: whether a session is expired, revoked or of the
// current epoch, and whether a nonce or a proof was used before, is for its
// callers to say.
package keys
