package sni

import (
	"errors"
	"fmt"
)

// What Parse returns when it has no Hello to give. Each is a value of its own, since each has its own counter and its
// own answer to the client. A malformed hello is a Malformed.
var (
	// ErrNeedMore says that every byte so far is right and the hello is not complete.
	ErrNeedMore = errors.New("ClientHello is not complete")

	// ErrTooLarge says that the hello, with its record headers, will not fit Parser.Limit.
	ErrTooLarge = errors.New("ClientHello is larger than the limit")

	// ErrNotTLS says that the first five bytes cannot begin a TLS connection.
	ErrNotTLS = errors.New("not TLS")

	// ErrHTTP is an ErrNotTLS: the client sent a plain HTTP request, often to the wrong port.
	ErrHTTP = fmt.Errorf("%w: plain HTTP request", ErrNotTLS)

	// ErrSSLv2 is an ErrNotTLS: the client sent an SSL 2.0 CLIENT-HELLO, which RFC 6176 forbids, also to offer a
	// later version.
	ErrSSLv2 = fmt.Errorf("%w: SSLv2 hello", ErrNotTLS)
)

// Malformed is the error for bytes that begin a TLS connection and break its rules. Its text is the rule; the values
// are constants, so returning one costs no allocation.
//
//	var m sni.Malformed
//	if errors.As(err, &m) { ... }
type Malformed string

func (m Malformed) Error() string { return "malformed ClientHello: " + string(m) }

// The record layer and the handshake header (RFC 8446 sections 4 and 5.1).
const (
	badFirstRecord   Malformed = "first record is not a handshake record"
	badNextRecord    Malformed = "record of another type inside the hello"
	badRecordVersion Malformed = "record version is not 3.0 to 3.4"
	emptyRecord      Malformed = "handshake record is empty"
	longRecord       Malformed = "record is longer than 16384 bytes"
	badMessageType   Malformed = "first handshake message is not a client_hello"
)

// The hello's own fields (RFC 8446 section 4.1.2).
const (
	shortHello     Malformed = "version and random are cut short"
	badSessionID   Malformed = "session_id is cut short or longer than 32 bytes"
	badSuites      Malformed = "cipher_suites are cut short, empty or of odd length"
	badCompression Malformed = "compression_methods are cut short or empty"
	badExtensions  Malformed = "extensions do not fill the rest of the hello exactly"
	badExtension   Malformed = "extension is cut short"
	duplicateType  Malformed = "extension type appears twice"
)

// The extensions that Hello reports.
const (
	badServerNames  Malformed = "server_name is cut short, empty or followed by other bytes"
	secondHostName  Malformed = "server_name has a second host_name"
	longHostName    Malformed = "host_name is longer than 255 bytes"
	nulInHostName   Malformed = "host_name contains a NUL byte"
	badProtocols    Malformed = "ALPN list is cut short, empty or followed by other bytes"
	emptyProtocol   Malformed = "ALPN protocol is empty"
	badVersionsList Malformed = "supported_versions are cut short, empty, of odd length or followed by other bytes"
)
