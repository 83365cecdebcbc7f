package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	pires "github.com/pires/go-proxyproto"

	"keyhole/internal/testkit"
)

// Go's library for the protocol is before the edge and behind it: what it sends of a cloud's arrives, its server takes
// the edge's header, and the checksum is that of the header.
func TestGoProxyprotoBeforeAndBehind(t *testing.T) {
	t.Parallel()
	id, err := shared.ca.issue("pires", newECDSA, "*.pires.example")
	if err != nil {
		t.Fatal(err)
	}
	headers := make(chan *pires.Header, 1)
	address := piresServer(t, id, headers)
	e := edgeFor(t, setup{config: fmt.Sprintf(`
listen: [{address: "127.0.0.1:0", proxy_protocol_from: 127.0.0.1}]
log: {format: json}
backends: {pires: {servers: [%q], proxy_protocol: v2}}
routes: [{sni: "*.pires.example", backend: pires}]
`, address)})
	vpce := pires.TLV{Type: 0xea, Value: []byte("\x01vpce-08d2bf15fac5001c9")}
	source := &net.TCPAddr{IP: net.ParseIP("2001:db8::7"), Port: 1234}
	destination := &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 443}
	for _, version := range []byte{1, 2} {
		host := fmt.Sprintf("v%d.pires.example", version)
		h := pires.HeaderProxyFromAddrs(version, source, destination)
		if version == 2 {
			if err := h.SetTLVs([]pires.TLV{vpce, {Type: pires.PP2_TYPE_NOOP, Value: []byte("padding")}}); err != nil {
				t.Fatal(err)
			}
		}
		c := testkit.Dial(t, e.address)
		if _, err := h.WriteTo(c); err != nil {
			t.Fatal(err)
		}
		client := tls.Client(c, &tls.Config{ServerName: host, RootCAs: shared.ca.pool, NextProtos: []string{"http/1.1"}})
		fmt.Fprintf(client, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
		res, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		client.Close()
		if want := source.String(); string(body) != want {
			t.Errorf("the server's client is %q, want %q", body, want)
		}
		r := e.expect(t, host, 1)[0]
		if r.Client != source.String() || r.Peer == "" {
			t.Errorf("record %+v, want client %v and a peer", r, source)
		}
		got := <-headers
		if !got.SourceAddr.(*net.TCPAddr).IP.Equal(source.IP) || got.DestinationAddr.String() != destination.String() {
			t.Errorf("header of %v to %v, want %v to %v", got.SourceAddr, got.DestinationAddr, source, destination)
		}
		want := map[pires.PP2Type]string{
			pires.PP2_TYPE_AUTHORITY: host, pires.PP2_TYPE_ALPN: "http/1.1", pires.PP2_TYPE_UNIQUE_ID: r.ID,
			pires.PP2_TYPE_CRC32C: checksumOf(t, got),
		}
		if version == 2 {
			want[vpce.Type] = string(vpce.Value)
		}
		tlvs, err := got.TLVs()
		if err != nil || len(tlvs) != len(want) {
			t.Errorf("TLVs %v, %v, want %d", tlvs, err, len(want))
		}
		for _, v := range tlvs {
			if string(v.Value) != want[v.Type] {
				t.Errorf("TLV %#x is %q, want %q", v.Type, v.Value, want[v.Type])
			}
		}
	}
}

// piresServer answers with the address of the client, and hands over each header.
func piresServer(t *testing.T, id identity, headers chan<- *pires.Header) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{id.Certificate}},
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) }),
		ConnState: func(c net.Conn, state http.ConnState) {
			if state == http.StateActive {
				headers <- c.(*tls.Conn).NetConn().(*pires.Conn).ProxyHeader()
			}
		},
	}
	t.Cleanup(func() { s.Close() })
	required := func(pires.ConnPolicyOptions) (pires.Policy, error) { return pires.REQUIRE, nil }
	go s.ServeTLS(&pires.Listener{Listener: l, ConnPolicy: required, ReadHeaderTimeout: 50 * time.Second}, "", "")
	return l.Addr().String()
}

// checksumOf is the CRC32c that a header has to have (section 2.2.3 of the specification).
func checksumOf(t *testing.T, h *pires.Header) string {
	t.Helper()
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte{byte(pires.PP2_TYPE_CRC32C), 0, 4}) + 3
	clear(b[at : at+4])
	return string(binary.BigEndian.AppendUint32(nil, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))))
}
