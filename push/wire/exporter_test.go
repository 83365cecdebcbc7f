package wire

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// certify makes a certificate for 127.0.0.1, signed by itself.
func certify(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// serve accepts one TLS connection, and hands it over after its handshake.
func serve(t *testing.T, config *tls.Config) (addr string, accepted <-chan *tls.Conn) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan *tls.Conn, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(conns)
		c, err := l.Accept()
		if err != nil {
			return
		}
		if conn := c.(*tls.Conn); conn.Handshake() == nil {
			conns <- conn
			return
		}
		c.Close()
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String(), conns
}

// connect returns both ends of one TLS connection to addr.
func connect(t *testing.T, addr string, config *tls.Config, accepted <-chan *tls.Conn) (client, server *tls.Conn) {
	t.Helper()
	client, err := tls.Dial("tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, ok := <-accepted
	if !ok {
		t.Fatal("the server did not accept the connection")
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

func exporter(t *testing.T, c *tls.Conn) []byte {
	t.Helper()
	state := c.ConnectionState()
	b, err := Exporter(&state)
	if err != nil || len(b) != 32 {
		t.Fatalf("Exporter = %x, %v, want 32 bytes", b, err)
	}
	return b
}

func TestV5ExporterIsTheSameAtBothEnds(t *testing.T) {
	cert, pool := certify(t)
	var seen [][]byte
	for range 2 {
		addr, accepted := serve(t, &tls.Config{Certificates: []tls.Certificate{cert}})
		client, server := connect(t, addr, &tls.Config{RootCAs: pool}, accepted)
		at := exporter(t, client)
		if got := exporter(t, server); !bytes.Equal(got, at) {
			t.Errorf("Exporter at the server = %x, at the client %x, want the same", got, at)
		}
		seen = append(seen, at)
	}
	if bytes.Equal(seen[0], seen[1]) {
		t.Errorf("Exporter of two connections = %x, want two values", seen[0])
	}
}

// TestV5ExporterIsOfRFC9266 asks crypto/tls itself.
func TestV5ExporterIsOfRFC9266(t *testing.T) {
	cert, pool := certify(t)
	addr, accepted := serve(t, &tls.Config{Certificates: []tls.Certificate{cert}})
	client, _ := connect(t, addr, &tls.Config{RootCAs: pool}, accepted)
	state := client.ConnectionState()
	want, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
	if err != nil {
		t.Fatal(err)
	}
	if got := exporter(t, client); !bytes.Equal(got, want) {
		t.Errorf("Exporter = %x, want %x", got, want)
	}
}

// TestV5TerminatingProxyIsFound has a proxy with a certificate that the client
// trusts, and the same key as the server: it passes every byte of the exchange
// on, and the two ends still see two connections.
func TestV5TerminatingProxyIsFound(t *testing.T) {
	cert, pool := certify(t)
	originAddr, originAccepted := serve(t, &tls.Config{Certificates: []tls.Certificate{cert}})
	proxyAddr, proxyAccepted := serve(t, &tls.Config{Certificates: []tls.Certificate{cert}})
	client, front := connect(t, proxyAddr, &tls.Config{RootCAs: pool}, proxyAccepted)
	back, origin := connect(t, originAddr, &tls.Config{RootCAs: pool}, originAccepted)

	clientKey, serverKey := generate(t), generate(t)
	atClient, atOrigin := newExchange(clientKey, serverKey), newExchange(clientKey, serverKey)
	atClient.Exporter, atOrigin.Exporter = exporter(t, client), exporter(t, origin)
	proof, err := atClient.ClientProof(clientKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write(append(atClient.BindingTag(), proof...)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(back, front, int64(32+len(proof))); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 32+len(proof))
	if _, err := io.ReadFull(origin, got); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got[:32], atOrigin.BindingTag()) {
		t.Errorf("the binding tag is %x at both ends of a proxy, want two", got[:32])
	}
	if atOrigin.VerifyClient(got[32:]) {
		t.Error("the first confirmation holds through a proxy that terminates TLS, want a refusal")
	}
}

func TestV5ExporterNeedsTLS13(t *testing.T) {
	cert, pool := certify(t)
	addr, accepted := serve(t, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12})
	client, server := connect(t, addr, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, accepted)
	for name, c := range map[string]*tls.Conn{"client": client, "server": server} {
		state := c.ConnectionState()
		if b, err := Exporter(&state); !errors.Is(err, BindingRequired) || !strings.Contains(err.Error(), "TLS 1.2") || b != nil {
			t.Errorf("at the %s of TLS 1.2: Exporter = %x, %v, want %s", name, b, err, BindingRequired)
		}
	}
}

// TestV5ExporterNeedsTheHandshake has a client that does not trust the
// certificate: the version is agreed upon by then, the secrets are not.
func TestV5ExporterNeedsTheHandshake(t *testing.T) {
	cert, _ := certify(t)
	addr, _ := serve(t, &tls.Config{Certificates: []tls.Certificate{cert}})
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client := tls.Client(c, &tls.Config{ServerName: "127.0.0.1", RootCAs: x509.NewCertPool()})
	if err := client.Handshake(); err == nil {
		t.Fatal("Handshake with a certificate that nobody trusts: no error, want one")
	}
	state := client.ConnectionState()
	if state.Version != tls.VersionTLS13 {
		t.Fatalf("the connection has %s, want TLS 1.3", tls.VersionName(state.Version))
	}
	if got, err := Exporter(&state); !errors.Is(err, BindingRequired) {
		t.Errorf("after half a handshake: Exporter = %x, %v, want %s", got, err, BindingRequired)
	}
}
