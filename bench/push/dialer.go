package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
)

// A dialer connects to one address, whatever name it is asked for, and trusts
// the certificate of the site.
type dialer struct {
	addr  string
	roots *x509.CertPool
}

func newDialer(dir string, addr netip.AddrPort) (*dialer, error) {
	roots, err := readRoots(dir)
	return &dialer{addr.String(), roots}, err
}

func (d *dialer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var n net.Dialer
	return n.DialContext(ctx, "tcp4", d.addr)
}

// http2 makes a client whose requests share one connection.
func (d *dialer) http2() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:       d.dial,
		TLSClientConfig:   &tls.Config{RootCAs: d.roots, MinVersion: tls.VersionTLS13},
		ForceAttemptHTTP2: true,
	}}
}
