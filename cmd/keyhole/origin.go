package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"keyhole/cmd/internal/cli"
)

// startDemoOrigin starts an HTTPS server with its own key; Close ends it. Its
// Addr is the address that it listens on.
func startDemoOrigin(ca *cli.Authority, name string) (*http.Server, error) {
	cert, err := ca.Issue(name)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	answer := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "This is %s: %s over %s, with a key that the edge has never seen.\n",
			name, r.Proto, tls.VersionName(r.TLS.Version))
	}
	s := &http.Server{
		Addr:      l.Addr().String(),
		Handler:   http.HandlerFunc(answer),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
		// A client that does not trust the authority says so itself.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	go s.ServeTLS(l, "", "") // ends with Close
	return s, nil
}
