package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"strings"

	"keyhole/push/wire"
)

// origin is "https://host" or "https://host:port" of a request: what a proof
// and a VAPID token are for, and where endpoints are. The host is the
// client's word, so it must be one that the server's certificate is for:
// otherwise what was signed for another server would be good here, sent by
// that server with its own name.
func (s *Server) origin(r *http.Request) (string, error) {
	name := r.Host
	if host, _, err := net.SplitHostPort(r.Host); err == nil {
		name = host
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if err := certified(s.config.TLS, name); err != nil {
		return "", fmt.Errorf("%w: Host is %.80q, and that is not in the server's certificate; use its own name", wire.BadRequest, r.Host)
	}
	return "https://" + strings.ToLower(r.Host), nil
}

// certified says whether c has a certificate for name. It is asked with each
// request, since certificates are renewed while the server runs.
func certified(c *tls.Config, name string) error {
	if c.GetCertificate != nil {
		hello := &tls.ClientHelloInfo{
			ServerName: name, Conn: nobody{}, SupportedVersions: []uint16{tls.VersionTLS13},
			CipherSuites:     []uint16{tls.TLS_AES_128_GCM_SHA256},
			SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256},
			SupportedCurves:  []tls.CurveID{tls.X25519, tls.CurveP256},
		}
		if cert, err := c.GetCertificate(hello); err == nil && cert != nil {
			return verifyName(cert, name)
		}
	}
	var err error = x509.HostnameError{Certificate: &x509.Certificate{}, Host: name}
	for i := range c.Certificates {
		if err = verifyName(&c.Certificates[i], name); err == nil {
			return nil
		}
	}
	return err
}

func verifyName(cert *tls.Certificate, name string) (err error) {
	leaf := cert.Leaf // crypto/tls and certmagic have parsed it already
	if leaf == nil {
		if leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return err
		}
	}
	return leaf.VerifyHostname(name)
}

// nobody stands where a certificate's source looks for the address of the
// connection that asks.
type nobody struct{ net.Conn }

func (nobody) LocalAddr() net.Addr  { return &net.TCPAddr{} }
func (nobody) RemoteAddr() net.Addr { return &net.TCPAddr{} }
