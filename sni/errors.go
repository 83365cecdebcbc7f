package sni

import "errors"

// The errors of Parse and of Second.Read. Each is a value of its own, since each has its own
// counter and its own answer to the client. A malformed hello is a Malformed.
var (
	// ErrNeedMore says that every byte so far is right and the hello is not complete.
	ErrNeedMore = errors.New("ClientHello is not complete")

	// ErrTooLarge says that the hello, with its record headers, will not fit Parser.Limit.
	ErrTooLarge = errors.New("ClientHello is larger than the limit")

	// ErrNotTLS says that the first byte is not the type of a TLS record.
	ErrNotTLS = errors.New("not TLS")

	// ErrHTTP is an ErrNotTLS: the client sent a plain HTTP request, often to the wrong port.
	ErrHTTP = notTLS("plain HTTP request")

	// ErrProxyHeader is an ErrNotTLS: the client, most likely a load balancer, sent a PROXY
	// protocol header.
	ErrProxyHeader = notTLS("PROXY protocol header, none is expected here")

	// ErrSSH is an ErrNotTLS: the client sent the version line of SSH.
	ErrSSH = notTLS("SSH")

	// ErrSSLv2 is an ErrNotTLS: the client sent an SSL 2.0 CLIENT-HELLO, which RFC 6176 forbids,
	// also to offer a later version.
	ErrSSLv2 = notTLS("SSLv2 hello")

	// ErrNoSecond says that no second ClientHello can follow. Only Second.Read returns it.
	ErrNoSecond = errors.New("no second ClientHello follows")
)

// Malformed is the error for bytes that begin a TLS connection and break its rules. Its text is the
// rule; the values are constants, so returning one costs no allocation.
//
//	var m sni.Malformed
//	if errors.As(err, &m) { ... }
type Malformed string

func (m Malformed) Error() string { return "malformed ClientHello: " + string(m) }

// The record layer and the handshake header (RFC 8446 sections 4 and 5.1).
const (
	badFirstRecord   Malformed = "first record is not a handshake record"
	badNextRecord    Malformed = "record of another type inside the hello"
	badRecordVersion Malformed = "record version is not 3.x"
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

// The alerts of RFC 8446 section 6 that answer a hello.
const (
	alertUnexpectedMessage = 10
	alertRecordOverflow    = 22
	alertDecodeError       = 50
)

// Alert returns the TLS alert that answers a hello refused with err, as Parse returned it:
//
//   - unexpected_message (10) for a record or a message of another type than is due (RFC 8446
//     sections 5 and 6.2);
//   - record_overflow (22) for a record that is too long (RFC 8446 section 5.1);
//   - decode_error (50) for every other Malformed and for ErrTooLarge (RFC 8446 section 6.2).
//
// It is 0, which is no answer to anything (close_notify), for all other errors: a client that does
// not speak TLS cannot read its alerts.
func Alert(err error) uint8 {
	switch err {
	case badFirstRecord, badNextRecord, badMessageType:
		return alertUnexpectedMessage
	case longRecord:
		return alertRecordOverflow
	case ErrTooLarge:
		return alertDecodeError
	}
	if _, ok := err.(Malformed); ok {
		return alertDecodeError
	}
	return 0
}
