package sni

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
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// theirs is what crypto/tls reads in a hello.
type theirs struct {
	serverName string
	alpn       []string
	versions   []uint16
	extensions []uint16
}

// readWithCryptoTLS gives b to a crypto/tls server. It returns false when that refuses the hello or
// wants more.
func readWithCryptoTLS(b []byte) (theirs, bool) {
	var got theirs
	read := false
	config := &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		read = true
		got = theirs{info.ServerName, info.SupportedProtos, info.SupportedVersions, info.Extensions}
		return nil, errors.New("seen enough")
	}}
	tls.Server(&replay{Reader: bytes.NewReader(b)}, config).Handshake()
	return got, read
}

// replay is a connection that sends what its Reader has, and then ends.
type replay struct {
	io.Reader
	net.Conn
}

func (r *replay) Read(b []byte) (int, error)       { return r.Reader.Read(b) }
func (r *replay) Write(b []byte) (int, error)      { return len(b), nil }
func (r *replay) Close() error                     { return nil }
func (r *replay) SetWriteDeadline(time.Time) error { return nil }

// difference says how the two readings of one hello differ; it is empty when they are the same.
func difference(h Hello, t theirs) string {
	versions := slices.Collect(h.Versions.All())
	if !slices.Contains(t.extensions, extSupportedVersions) {
		versions = upTo(versions[0])
	}
	switch {
	case string(h.ServerName) != t.serverName:
		return "server name"
	case !slices.Equal(h.ALPN.Strings(), t.alpn):
		return "ALPN"
	case !slices.Equal(versions, t.versions):
		return "versions"
	case h.ECH != slices.Contains(t.extensions, extEncryptedClientHello):
		return "ECH"
	}
	return ""
}

// upTo returns the versions that crypto/tls takes a hello without supported_versions to offer.
func upTo(legacy uint16) []uint16 {
	return slices.DeleteFunc([]uint16{0x0304, 0x0303, 0x0302, 0x0301}, func(v uint16) bool { return v > legacy })
}

// stricter lists every error with which Parse may refuse what crypto/tls reads, and why we refuse
// it.
var stricter = map[error]string{
	badFirstRecord:   "crypto/tls passes over a warning alert in front of the hello; no client sends one",
	badRecordVersion: "a record major version other than 3 has never been TLS; crypto/tls takes any below 16",
	badSessionID:     "opaque legacy_session_id<0..32>; crypto/tls takes up to 255 bytes",
	badSuites:        "cipher_suites<2..2^16-2>; crypto/tls reads an empty list, and fails later",
	badCompression:   "legacy_compression_methods<1..2^8-1>; crypto/tls reads an empty list, and fails later",
	longHostName:     "no host has such a name; crypto/tls leaves it to the application",
	nulInHostName:    "no host has such a name; crypto/tls leaves it to the application",
	ErrTooLarge:      "the limit counts record headers; crypto/tls counts 64 KiB of message body",
}

// tolerated turns a hello that Parse reads into one that crypto/tls has to read too, by undoing
// what we accept and crypto/tls does not:
//
//   - A host name may end in a dot. Looking the name up drops it, since browsers send names as they
//     were typed. Here such dots become letters.
//   - Extensions that Hello does not report are not read, only counted: their contents are between
//     client and origin, and an edge that judges them breaks with every extension it knows an old
//     form of. Here they are left out. So is the content of encrypted_client_hello, and the rule
//     that pre_shared_key is the last.
//   - A hello may end before its record does, and the rest of the record need not be here, nor be
//     handshake messages. Here the message gets records of its own.
func tolerated(message []byte) []byte {
	body := cryptobyte.String(message[messageHeader:])
	var session, suites, compression, extensions cryptobyte.String
	fixed := body[:34]
	body.Skip(34)
	body.ReadUint8LengthPrefixed(&session)
	body.ReadUint16LengthPrefixed(&suites)
	body.ReadUint8LengthPrefixed(&compression)
	d := draft{session: session, suites: suites, compression: compression}
	if body.ReadUint16LengthPrefixed(&extensions) {
		d.extensions = toleratedExtensions(extensions)
	}
	rewritten := d.message()
	copy(rewritten[messageHeader:], fixed)
	return reframe(rewritten, every(maxRecord))
}

func toleratedExtensions(all cryptobyte.String) []byte {
	kept := []byte{}
	for !all.Empty() {
		var typ uint16
		var data cryptobyte.String
		all.ReadUint16(&typ)
		all.ReadUint16LengthPrefixed(&data)
		switch typ {
		case extServerName:
			kept = append(kept, extension(typ, undotted(data))...)
		case extALPN, extSupportedVersions:
			kept = append(kept, extension(typ, data)...)
		}
	}
	return kept
}

// undotted returns a server_name extension's data with an x for a dot at the end of a host_name.
func undotted(data []byte) []byte {
	data = slices.Clone(data)
	list := cryptobyte.String(data[2:])
	for !list.Empty() {
		var typ uint8
		var name cryptobyte.String
		list.ReadUint8(&typ)
		list.ReadUint16LengthPrefixed(&name)
		if end := len(name) - 1; typ == 0 && name[end] == '.' {
			name[end] = 'x'
		}
	}
	return data
}

// compare fails the test unless Parse and crypto/tls say the same of b, or differ in a way that is
// listed above.
func compare(t *testing.T, name string, b []byte) {
	t.Helper()
	h, err := parse(b)
	reading, read := readWithCryptoTLS(b)
	switch {
	case err == nil && read:
		if d := difference(h, reading); d != "" {
			t.Errorf("%s: %s differs: Parse = %+v, crypto/tls = %+v", name, d, h, reading)
		}
	case err == nil:
		compareTolerated(t, name, b)
	case read && stricter[err] == "":
		t.Errorf("%s: Parse = %v, but crypto/tls reads %+v", name, err, reading)
	}
}

// compareTolerated compares the readings of a hello that only Parse accepts, once what makes the
// difference is gone.
func compareTolerated(t *testing.T, name string, b []byte) {
	t.Helper()
	same := tolerated(deframe(b))
	h, err := parse(same)
	reading, read := readWithCryptoTLS(same)
	if err != nil || !read {
		t.Errorf("%s: Parse reads it and crypto/tls does not, for no listed reason (rewritten: %v, %t): %x", name, err, read, b)
		return
	}
	if d := difference(h, reading); d != "" {
		t.Errorf("%s, rewritten: %s differs: Parse = %+v, crypto/tls = %+v", name, d, h, reading)
	}
}

func TestAgainstCryptoTLS(t *testing.T) {
	for _, c := range loadCaptured(t) {
		if _, read := readWithCryptoTLS(c.bytes); !read {
			t.Errorf("%s: crypto/tls does not read it", c.File)
		}
		compare(t, c.File, c.bytes)
		compare(t, c.File+", one byte a record", reframe(deframe(c.bytes), every(1)))
		// Every byte made wrong in turn: lengths, types and names.
		for i := range c.bytes {
			spoilt := slices.Clone(c.bytes)
			spoilt[i] ^= 1 << (i % 8)
			compare(t, c.File, spoilt)
		}
	}
}

// Each listed difference is one: were crypto/tls to change its mind, its line would have to go.
func TestListedDifferences(t *testing.T) {
	message := draft{extensions: serverName("a.example")}.message()
	version := func(major, minor byte) []byte { b := record(message); b[1], b[2] = major, minor; return b }
	for want, b := range map[error][]byte{
		badFirstRecord:   append([]byte{21, 3, 1, 0, 2, 1, 90}, record(message)...),
		badRecordVersion: version(2, 0),
		badSessionID:     draft{session: make([]byte, 33)}.bytes(),
		badSuites:        draft{suites: []byte{}}.bytes(),
		badCompression:   draft{compression: []byte{}}.bytes(),
		longHostName:     draft{extensions: serverName(string(bytes.Repeat([]byte("a"), 256)))}.bytes(),
		nulInHostName:    draft{extensions: serverName("a\x00b")}.bytes(),
		ErrTooLarge:      reframe(draft{extensions: extension(21, make([]byte, 60000))}.message(), every(50)),
	} {
		if stricter[want] == "" {
			t.Errorf("%v is not listed", want)
		}
		if _, err := parse(b); err != want {
			t.Errorf("Parse = %v, want %v", err, want)
		}
		if _, read := readWithCryptoTLS(b); !read {
			t.Errorf("%v: crypto/tls refuses it too", want)
		}
	}
	for name, b := range map[string][]byte{
		"trailing dot":           draft{extensions: serverName("a.example.")}.bytes(),
		"unread extension":       draft{extensions: extension(10, []byte{1, 2, 3})}.bytes(),
		"unreadable ECH":         draft{extensions: extension(extEncryptedClientHello, []byte{9})}.bytes(),
		"pre_shared_key first":   draft{extensions: append(extension(41, nil), serverName("a.example")...)}.bytes(),
		"record longer than it":  record(append(slices.Clone(message), make([]byte, 9)...))[:5+len(message)],
		"all of these in pieces": reframe(draft{extensions: append(extension(41, nil), serverName("a.")...)}.message(), every(3)),
	} {
		if _, err := parse(b); err != nil {
			t.Errorf("%s: Parse = %v, want a hello", name, err)
		}
		if _, read := readWithCryptoTLS(b); read {
			t.Errorf("%s: crypto/tls reads it too", name)
		}
		compare(t, name, b)
	}
}

// selfSigned returns a certificate for nobody.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{certificate}, PrivateKey: key}
}
