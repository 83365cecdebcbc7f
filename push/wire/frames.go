package wire

// Subprotocol is the WebSocket subprotocol (RFC 6455 section 1.9) of this
// protocol, and the one version there is.
const Subprotocol = "keyhole-push.v1"

// Bindings of an exchange to its TLS connection.
const (
	BindingExporter = "tls-exporter" // RFC 9266, what an app demands unless its policy says otherwise
	BindingNone     = "none"         // offered by a client that cannot read the exporter
	BindingWaived   = "waived"       // said by the server, where its policy lets such a client in
)

// A Frame is one JSON object in one text message. Its concrete types are the
// structs of this file, as pointers.
type Frame interface {
	// Kind is the value of the field "type".
	Kind() string
}

// Hello (V1) opens the exchange; sent by the client.
type Hello struct {
	Versions    []string `json:"versions"`     // every version the client speaks, best first
	ClientToken Bytes    `json:"client_token"` // 32 random bytes, made for this exchange
	Session     string   `json:"session"`      // the session token of the login
	AppVersion  string   `json:"app_version"`  // of the app on this device
	Binding     string   `json:"binding"`      // BindingExporter or BindingNone
}

// Challenge (V2) is the server's answer.
type Challenge struct {
	Version     string   `json:"version"`      // the one that both will speak
	Versions    []string `json:"versions"`     // every version the server speaks, best first
	ClientToken Bytes    `json:"client_token"` // as it came
	ServerToken Bytes    `json:"server_token"` // 32 random bytes, unique to this exchange
}

// Confirm (V3) is the first confirmation; sent by the client.
type Confirm struct {
	ServerToken    Bytes    `json:"server_token"`
	Versions       []string `json:"versions"`                  // as offered: a difference is a downgrade
	ChannelBinding Bytes    `json:"channel_binding,omitempty"` // BindingTag; empty with BindingNone
	Proof          Bytes    `json:"proof"`                     // the client's signature over the exchange
}

// Confirmed (V4) is the second confirmation; the channel is safe from here on.
type Confirmed struct {
	Proof       Bytes  `json:"proof"`             // the server's signature over the exchange and the client's proof
	Binding     string `json:"binding"`           // BindingExporter or BindingWaived
	Session     string `json:"session,omitempty"` // replaces the client's, when present
	Epoch       uint64 `json:"epoch"`             // of the session
	STime       int64  `json:"s_time"`            // of the session: milliseconds of Unix time
	Time        int64  `json:"time"`              // the server's now, in milliseconds
	Nonce       Bytes  `json:"nonce"`             // for one renewal
	HeartbeatMS int64  `json:"heartbeat_ms"`      // how often the client sends a heartbeat
	RenewMS     int64  `json:"renew_ms"`          // the growth of the offset after which it renews its key
	ServerKey   *Key   `json:"server_key,omitempty"`
	Encryption  bool   `json:"encryption,omitempty"` // payloads and states are sealed, both ways
	Limits      Limits `json:"limits"`
}

// Limits are what the server refuses more of.
type Limits struct {
	FrameBytes   int `json:"frame_bytes"`   // of one frame from the client
	PayloadBytes int `json:"payload_bytes"` // of one message
	StateKeys    int `json:"state_keys"`
	Window       int `json:"window"` // messages on their way, not yet acknowledged
}

// A Key is a public key of the server that follows another, signed by the one
// before it.
type Key struct {
	Public    string `json:"public"`    // keys.Public in text
	Previous  string `json:"previous"`  // the key id of the signer, in hexadecimal
	Signature Bytes  `json:"signature"` // by the previous key, over the public one
}

// Listen asks for what is sent to a message token; sent by the client, once a
// connection, with the whole state that conditions are measured against.
type Listen struct {
	Ref    string            `json:"ref,omitempty"`
	Token  string            `json:"token"`
	State  map[string]string `json:"state,omitempty"`
	Sealed Bytes             `json:"sealed,omitempty"` // the state as JSON, sealed to the server's key, instead of State
}

// State reports a change of the terminal's state; sent by the client.
type State struct {
	Ref    string            `json:"ref,omitempty"`
	Set    map[string]string `json:"set,omitempty"`
	Unset  []string          `json:"unset,omitempty"`
	Sealed Bytes             `json:"sealed,omitempty"` // {"set":{},"unset":[]} sealed to the server's key, instead of both
}

// Ack says that messages are in the app's hands for good; sent by the client.
// The server answers only what it refuses.
type Ack struct {
	Seq []uint64 `json:"seq"`
}

// Heartbeat is sent by the client at the interval that Confirmed names. NewKey
// and Offset are reserved for the renewal of the client's key, and empty
// otherwise.
type Heartbeat struct {
	Sent    int64    `json:"sent"`              // the client's now, in milliseconds
	NewKey  string   `json:"new_key,omitempty"` // keys.Public in text
	Offset  *int64   `json:"offset,omitempty"`  // sent minus the s_time of the last reply, in milliseconds
	Renewal *Renewal `json:"renewal,omitempty"` // present with both
}

// Renewal proves that the holder of the old key wants the new one.
type Renewal struct {
	Session      string `json:"session"` // the current session token
	Epoch        uint64 `json:"epoch"`   // the current one plus 1
	Nonce        Bytes  `json:"nonce"`   // of the last reply
	OldSignature Bytes  `json:"old_signature"`
	NewSignature Bytes  `json:"new_signature"`
}

// HeartbeatReply is the server's answer to a Heartbeat.
type HeartbeatReply struct {
	Time      int64  `json:"time"`   // the server's now
	STime     int64  `json:"s_time"` // of the session, what the next offset is measured from
	Nonce     Bytes  `json:"nonce"`
	Epoch     uint64 `json:"epoch"`
	Session   string `json:"session,omitempty"`    // the new session token, after a renewal
	ServerKey *Key   `json:"server_key,omitempty"` // after the server renewed its own
}

// Listening answers Listen, before the first message.
type Listening struct {
	Ref string `json:"ref,omitempty"`
}

// Message is one message; sent by the server, again until it is acknowledged.
type Message struct {
	ID              string `json:"id"`  // the same each time it is sent
	Seq             uint64 `json:"seq"` // what Ack names
	To              string `json:"to"`  // "token" or "app"
	Time            int64  `json:"time"`
	Expires         int64  `json:"expires"`
	Data            []byte `json:"data"` // base64 with padding (RFC 4648 section 4)
	ContentType     string `json:"content_type,omitempty"`
	ContentEncoding string `json:"content_encoding,omitempty"` // "aes128gcm" for Web Push (RFC 8291)
	Encryption      string `json:"encryption,omitempty"`       // "hpke" when Data is sealed to the client's key
	Topic           string `json:"topic,omitempty"`
	Urgency         string `json:"urgency,omitempty"`
	Redelivered     bool   `json:"redelivered,omitempty"` // it was, or may have been, sent before
}

// OK answers a State.
type OK struct {
	Ref string `json:"ref,omitempty"`
}

// Drain asks the client to connect elsewhere after a delay.
type Drain struct {
	DelayMS int64 `json:"delay_ms"`
}

// Error refuses a frame. A fatal one is the last frame before the close.
type Error struct {
	Code         Code   `json:"code"`
	Message      string `json:"message"`
	Ref          string `json:"ref,omitempty"`
	Fatal        bool   `json:"fatal,omitempty"`
	RetryAfterMS int64  `json:"retry_after_ms,omitempty"`
}

func (*Hello) Kind() string          { return "hello" }
func (*Challenge) Kind() string      { return "challenge" }
func (*Confirm) Kind() string        { return "confirm" }
func (*Confirmed) Kind() string      { return "confirmed" }
func (*Listen) Kind() string         { return "listen" }
func (*Listening) Kind() string      { return "listening" }
func (*State) Kind() string          { return "state" }
func (*Ack) Kind() string            { return "ack" }
func (*Heartbeat) Kind() string      { return "heartbeat" }
func (*HeartbeatReply) Kind() string { return "heartbeat_reply" }
func (*Message) Kind() string        { return "message" }
func (*OK) Kind() string             { return "ok" }
func (*Drain) Kind() string          { return "drain" }
func (*Error) Kind() string          { return "error" }
