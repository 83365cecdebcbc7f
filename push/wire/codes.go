package wire

// A Code names one way in which a request or a frame is refused. It is the
// `code` of an error frame and of the body of an HTTP error, the reason of the
// close that follows a fatal one, and the `reason` of the metric that counts
// it. A Code is an error: wrap it with what is known of the case.
type Code string

// Error returns the code itself.
func (c Code) Error() string { return string(c) }

// Of frames, in any phase.
const (
	BadFrame      Code = "bad_frame"       // not JSON, a field missing, unknown or of the wrong shape
	UnknownFrame  Code = "unknown_frame"   // a type that this version does not have
	FrameTooLarge Code = "frame_too_large" // more bytes than the limit
	NotVerified   Code = "not_verified"    // a message, state or key before the second confirmation
	OutOfOrder    Code = "out_of_order"    // a frame of the exchange at the wrong place in it
)

// Of the mutual verification.
const (
	VersionUnsupported  Code = "version_unsupported"   // none of the versions offered is spoken here
	Downgrade           Code = "downgrade"             // the versions confirmed are not those offered
	ClientTokenReused   Code = "client_token_reused"   // seen in another exchange
	ClientTokenMismatch Code = "client_token_mismatch" // found by the client: not the token it made
	ServerTokenMismatch Code = "server_token_mismatch" // not the token of this exchange
	ServerTokenUsed     Code = "server_token_used"     // confirmed already, here or on another connection
	ServerTokenExpired  Code = "server_token_expired"  // confirmed after the time given for it
	BindingRequired     Code = "binding_required"      // the app demands the TLS exporter, the client has none
	BindingMismatch     Code = "binding_mismatch"      // another TLS connection: something in between terminates it
	ProofInvalid        Code = "proof_invalid"         // the signature is not over this exchange by this key
	ServerProofInvalid  Code = "server_proof_invalid"  // found by the client: the server did not prove its key
	HandshakeTimeout    Code = "handshake_timeout"     // the exchange took too long
)

// Of sessions and accounts.
const (
	SessionInvalid  Code = "session_invalid"  // cannot be opened, or was not made by a server
	SessionExpired  Code = "session_expired"  // past its expiry
	SessionRevoked  Code = "session_revoked"  // by the operator, or by logging out
	SessionStale    Code = "session_stale"    // of an epoch before the last renewal
	AccountDisabled Code = "account_disabled" // by the operator
	LoginFailed     Code = "login_failed"     // unknown user or wrong password: the same for both
	RateLimited     Code = "rate_limited"     // too many attempts
)

// Of the renewal of a client key.
const (
	RenewalIncomplete       Code = "renewal_incomplete"        // some of its fields are empty and some are not
	RenewalUserMismatch     Code = "renewal_user_mismatch"     // the token in it is of another user, device or app
	OffsetOutOfRange        Code = "offset_out_of_range"       // further from the server's own than the threshold
	NonceInvalid            Code = "nonce_invalid"             // not from the last heartbeat reply, or used
	EpochInvalid            Code = "epoch_invalid"             // not the next one
	RenewalSignatureInvalid Code = "renewal_signature_invalid" // by the old key or by the new
	RenewalConflict         Code = "renewal_conflict"          // another renewal came first
)

// Of message tokens, states and acknowledgements.
const (
	TokenUnknown       Code = "token_unknown"
	TokenRevoked       Code = "token_revoked"
	TokenExpired       Code = "token_expired"       // unused for too long
	TokenNotYours      Code = "token_not_yours"     // of another account, device or app
	StateInvalid       Code = "state_invalid"       // a key or value outside the limits
	EncryptionRequired Code = "encryption_required" // the app demands sealed states
	AckUnknown         Code = "ack_unknown"         // of a message that was not sent on this channel
)

// Of publishing.
const (
	ConditionInvalid Code = "condition_invalid"
	PayloadTooLarge  Code = "payload_too_large"
	BacklogFull      Code = "backlog_full"   // as many undelivered messages as a token may have
	TTLInvalid       Code = "ttl_invalid"    // missing where it is demanded, negative or not a number
	VAPIDRequired    Code = "vapid_required" // the app demands VAPID (RFC 8292)
	VAPIDInvalid     Code = "vapid_invalid"
	IDConflict       Code = "id_conflict" // the id was used for another message
)

// Of requests in general.
const (
	BadRequest       Code = "bad_request"
	Unauthorized     Code = "unauthorized" // no credential, or none that is known
	Forbidden        Code = "forbidden"    // known, but not for this app
	NotFound         Code = "not_found"
	MethodNotAllowed Code = "method_not_allowed"
	DiskFull         Code = "disk_full"         // the store has no room for a write
	StoreUnavailable Code = "store_unavailable" // the store does not answer
	Internal         Code = "internal"
)

// Of a connection as a whole.
const (
	SubprotocolRequired Code = "subprotocol_required" // the upgrade does not offer Subprotocol
	TooManyConnections  Code = "too_many_connections" // of one account, or in all
	Replaced            Code = "replaced"             // the terminal has connected again
	Draining            Code = "draining"             // the server is stopping
	SlowTerminal        Code = "slow_terminal"        // a write took too long
	IdleTimeout         Code = "idle_timeout"         // no heartbeat for too long
)
