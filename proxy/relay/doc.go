// Package relay moves bytes between clients and origins. An [Engine] runs one
// event loop per core; a loop accepts, reads a client's first bytes, asks the
// connection's [Session] what to do with them, connects, and then relays both
// ways until both sides have closed. With [Options].Apart each loop has another
// beside it, and moves the connections there that stay bulk:
//
//	e, err := relay.New(relay.Options{NewSession: newSession, Timeouts: t})
//	addr, err := e.Listen(":443")
//	e.Start()
//	...
//	err = e.Shutdown(ctx)
//
// It knows nothing of TLS, routes or backends: what the first bytes mean is
// the session's business. It is the only package that touches raw file
// descriptors, and it runs on Linux only.
//
// What a connection holds: two descriptors, one [Conn] and its Session. A
// block of at most 64 KiB or a pipe of at most 1 MiB is borrowed by each
// direction only while bytes are on their way; a peer that does not read
// stops the other from being read. No goroutine and no timer belongs to a
// connection.
package relay
