package main

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// routeCount is the size of every proxy's table.
const routeCount = 100

// serverNames are the names in the table. They are equally long, so that their hellos are.
func serverNames() []string {
	names := make([]string, routeCount)
	for i := range names {
		names[i] = fmt.Sprintf("site%03d.bench.example", i)
	}
	return names
}

// captureHellos returns a ClientHello for each name. They have one length, by which the origin
// knows where a hello ends; it is an error if they do not.
func captureHellos(names []string) ([][]byte, error) {
	hellos := make([][]byte, len(names))
	for i, name := range names {
		h, err := captureHello(name)
		if err != nil {
			return nil, fmt.Errorf("capture the hello for %s: %w", name, err)
		}
		if len(h) != len(hellos[0]) && i > 0 {
			return nil, fmt.Errorf("capture the hello for %s: %d bytes, want %d as for the others", name, len(h), len(hellos[0]))
		}
		hellos[i] = h
	}
	return hellos, nil
}

// captureHello has crypto/tls begin a handshake on a pipe and returns its first record, header
// included: a hello as clients send it today, about 1.5 KB with its post-quantum key share.
func captureHello(name string) ([]byte, error) {
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		defer client.Close()
		// The handshake fails when server is closed; only its first record is wanted.
		tls.Client(client, &tls.Config{ServerName: name, NextProtos: []string{"h2", "http/1.1"}}).Handshake()
	}()
	record := make([]byte, 5)
	if _, err := io.ReadFull(server, record); err != nil {
		return nil, err
	}
	if record[0] != 22 {
		return nil, errors.New("the first record is no handshake record")
	}
	body := make([]byte, binary.BigEndian.Uint16(record[3:]))
	if _, err := io.ReadFull(server, body); err != nil {
		return nil, err
	}
	return append(record, body...), nil
}
