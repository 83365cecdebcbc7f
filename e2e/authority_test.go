package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// An authority issues the certificates of all origins, and of clients.
type authority struct {
	dir    string
	cert   *x509.Certificate
	key    crypto.Signer
	file   string // its certificate in PEM
	pool   *x509.CertPool
	serial atomic.Int64
}

func newAuthority(dir string) (*authority, error) {
	key, err := newECDSA()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "Keyhole test authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	a := &authority{dir: dir, key: key, file: filepath.Join(dir, "authority.pem"), pool: x509.NewCertPool()}
	a.serial.Store(template.SerialNumber.Int64())
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	a.pool.AddCert(a.cert)
	return a, writePEM(a.file, "CERTIFICATE", der)
}

// An identity is a certificate with its key, in memory and in files.
type identity struct {
	tls.Certificate
	certFile, keyFile string
}

// A newKey makes the key of an identity.
type newKey func() (crypto.Signer, error)

func newECDSA() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func newRSA() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) }

// issue makes a certificate with the common name cn for the DNS names, and writes it and its key to a folder.
func (a *authority) issue(cn string, kind newKey, names ...string) (identity, error) {
	key, err := kind()
	if err != nil {
		return identity{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial.Add(1)),
		Subject:      pkix.Name{CommonName: cn},
		DNSNames:     names,
		NotBefore:    a.cert.NotBefore,
		NotAfter:     a.cert.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return identity{}, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return identity{}, err
	}
	dir, err := os.MkdirTemp(a.dir, cn+"-")
	if err != nil {
		return identity{}, err
	}
	id := identity{certFile: filepath.Join(dir, "cert.pem"), keyFile: filepath.Join(dir, "key.pem")}
	id.Certificate = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	if id.Leaf, err = x509.ParseCertificate(der); err != nil {
		return identity{}, err
	}
	if err := writePEM(id.keyFile, "PRIVATE KEY", pkcs8); err != nil {
		return identity{}, err
	}
	return id, writePEM(id.certFile, "CERTIFICATE", der)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// fingerprint is the SHA-256 of the certificate in hexadecimal.
func (id identity) fingerprint() string { return hexSum(id.Leaf.Raw) }

// keyPin is the base64 of the SHA-256 of the public key's SubjectPublicKeyInfo, as curl and Chromium take it.
func (id identity) keyPin() string {
	sum := sha256.Sum256(id.Leaf.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// hexSum is the SHA-256 of b in hexadecimal.
func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// fingerprintPEM is the fingerprint of the first certificate in text, or "" when there is none.
func fingerprintPEM(text []byte) string {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return ""
		}
		if block.Type == "CERTIFICATE" {
			return hexSum(block.Bytes)
		}
		text = rest
	}
}
