package proxy

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"testing"
)

// hello returns the first record of a handshake by crypto/tls: a ClientHello
// for name, with ALPN if there is any. Without a name it carries no SNI.
func hello(t testing.TB, name string, alpn ...string) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		defer client.Close()
		// Fails when server is closed, which is all that is asked of it.
		tls.Client(client, &tls.Config{ServerName: name, NextProtos: alpn, InsecureSkipVerify: true}).Handshake()
	}()
	header := make([]byte, 5)
	if _, err := io.ReadFull(server, header); err != nil {
		t.Fatal(err)
	}
	record := make([]byte, 5+int(binary.BigEndian.Uint16(header[3:])))
	copy(record, header)
	if _, err := io.ReadFull(server, record[5:]); err != nil {
		t.Fatal(err)
	}
	return record
}

// records cuts the payload of a record into records of n bytes each.
func records(record []byte, n int) []byte {
	var all []byte
	for rest := record[5:]; len(rest) > 0; rest = rest[min(n, len(rest)):] {
		part := rest[:min(n, len(rest))]
		all = append(all, record[0], record[1], record[2], byte(len(part)>>8), byte(len(part)))
		all = append(all, part...)
	}
	return all
}

// named is a minimal ClientHello whose host_name is exactly name, whatever it
// holds; crypto/tls would not send most of them.
func named(name string) []byte {
	list := append([]byte{0, byte(len(name) >> 8), byte(len(name))}, name...)
	data := append([]byte{byte(len(list) >> 8), byte(len(list))}, list...)
	extensions := append([]byte{0, 0, byte(len(data) >> 8), byte(len(data))}, data...)
	body := append([]byte{3, 3}, make([]byte, 32)...) // version, random
	body = append(body, 0, 0, 2, 0x13, 0x01, 1, 0)    // session, one suite, no compression
	body = append(body, byte(len(extensions)>>8), byte(len(extensions)))
	body = append(body, extensions...)
	message := append([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	return append([]byte{22, 3, 1, byte(len(message) >> 8), byte(len(message))}, message...)
}
