// Package client is a terminal of the push server, to be embedded in an app,
// and a publisher.
//
//	t, err := client.New(client.Config{
//		URL: "https://push.example.com", User: "ada", Password: password,
//		Device: "phone-1", App: "notes", AppVersion: "2.1",
//		Profile:   client.FileProfile("/var/lib/notes/push.json"),
//		OnMessage: func(ctx context.Context, m client.Message) error { return inbox.Keep(m) },
//	})
//	err = t.Run(ctx) // until ctx ends, or the server refuses for good
//
// Run logs in once and keeps the session token in place of the password. Over
// each connection both sides prove themselves (V1 to V4) before anything else
// passes, tied to the TLS connection by its exporter (RFC 9266), so that
// nothing in between can have terminated it. Then Run reports the state, hands
// messages to OnMessage one at a time and in order, acknowledges each once
// OnMessage returned nil, renews its keys as the session grows old, and
// connects again with jitter whenever the connection is lost.
//
// A message whose acknowledgement was lost is sent again; the ids of the last
// 1,024 are remembered over restarts, and such a message is acknowledged
// without being handed over twice. After a crash between OnMessage and the next
// save of the profile, which is at most a second away, it can be: what must
// not happen twice, the app keys by Message.ID.
//
// The package does not keep messages, encrypts no profile, and does not retry
// what the server refuses for good: a wrong password, a disabled account, a
// revoked message token, an app that demands what this terminal has not.
package client
