// Package proxy is the edge: it admits a connection, reads its ClientHello,
// decides which backend serves it, and writes its record when it ends. The
// bytes themselves are moved by package relay.
//
//	s, err := proxy.New(&proxy.Config{Table: table, Pools: pools}, accessLog)
//	addr, err := s.Listen(":443")
//	s.Start()
//	...
//	err = s.Shutdown(ctx)
//
// It never completes a handshake, holds no key, and changes no byte. A hello
// that cannot be read never reaches a default route: the edge fails closed.
// Clients that do not speak TLS go where the rules of their listener send them.
package proxy
