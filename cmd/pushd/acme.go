package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/caddyserver/certmagic"

	"keyhole/push/config"
)

// acmeProtocol is the ALPN name of the authority's proofs (RFC 8737 section 6.1).
const acmeProtocol = "acme-tls/1"

// An acmeManager gets and renews certificates (RFC 8555). It proves each name
// by tls-alpn-01 (RFC 8737) on pushd's own listener, which the authority
// reaches through the edge: the hello of the proof carries the name, and is
// passed on as any other.
type acmeManager struct {
	magic   *certmagic.Config
	cache   *certmagic.Cache
	domains []string
}

// newACME prepares the manager of c for a listener at addr. Its certificates
// and keys lie in DATA/certificates.
func newACME(c *config.Config, addr net.Addr, log *slog.Logger) (*acmeManager, error) {
	at, ok := addr.(*net.TCPAddr)
	if !ok {
		return nil, fmt.Errorf("ACME needs a TCP listener, got %s", addr)
	}
	roots, err := trusted(c.ACME.CA)
	if err != nil {
		return nil, err
	}
	zlog := zapLogger(log)
	m := &acmeManager{domains: c.ACME.Domains}
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return m.magic, nil },
		RenewCheckInterval: c.ACME.Check,
		Logger:             zlog,
	})
	m.magic = certmagic.New(m.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: filepath.Join(c.Data, "certificates")},
		Logger:  zlog,
	})
	issuer := certmagic.ACMEIssuer{
		CA:                   c.ACME.Directory,
		Email:                c.ACME.Email,
		Agreed:               true,
		DisableHTTPChallenge: true, // port 80 of the name is the edge's
		TrustedRoots:         roots,
		AltTLSALPNPort:       at.Port, // certmagic finds it taken, by us, and leaves the answer to GetCertificate
		Logger:               zlog,
	}
	if !at.IP.IsUnspecified() {
		issuer.ListenHost = at.IP.String()
	}
	m.magic.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(m.magic, issuer)}
	return m, nil
}

// manage gets what is missing in the background, renews what runs out, and
// ends with ctx.
func (m *acmeManager) manage(ctx context.Context) error {
	if err := m.magic.ManageAsync(ctx, m.domains); err != nil {
		return fmt.Errorf("ACME for %q: %w", m.domains, err)
	}
	return nil
}

func (m *acmeManager) close() { m.cache.Stop() }

// trusted reads authorities from a PEM file; nil, the system's, for none.
func trusted(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("authority: %s holds no certificate in PEM", file)
	}
	return pool, nil
}
