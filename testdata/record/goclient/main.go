// Command goclient sends the ClientHello of Go's crypto/tls to a port on loopback, to be recorded:
//
//	goclient PORT SERVER_NAME [PUBLIC_NAME]
//
// With a public name it encrypts the hello (ECH, RFC 9849) for a key made on the spot, so that the outer hello carries
// the public name and nobody can read the inner one.
package main

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"os"

	"golang.org/x/crypto/cryptobyte"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "goclient:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 && len(args) != 3 {
		return errors.New("usage: goclient PORT SERVER_NAME [PUBLIC_NAME]")
	}
	config := &tls.Config{ServerName: args[1], NextProtos: []string{"h2", "http/1.1"}}
	if len(args) == 3 {
		var err error
		if config.EncryptedClientHelloConfigList, err = echConfigList(args[2]); err != nil {
			return err
		}
	}
	c, err := tls.Dial("tcp", "127.0.0.1:"+args[0], config)
	var refused *tls.CertificateVerificationError
	var rejected *tls.ECHRejectionError
	if errors.As(err, &refused) || errors.As(err, &rejected) {
		return nil // the recorder's certificate is nobody's, and it has no ECH key
	}
	if err != nil {
		return err
	}
	return c.Close()
}

// echConfigList returns an ECHConfigList (RFC 9849 section 4) of one configuration.
func echConfigList(publicName string) ([]byte, error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddUint16LengthPrefixed(func(list *cryptobyte.Builder) {
		list.AddUint16(0xfe0d) // version
		list.AddUint16LengthPrefixed(func(c *cryptobyte.Builder) {
			c.AddUint8(1)       // config_id
			c.AddUint16(0x0020) // DHKEM(X25519, HKDF-SHA256)
			c.AddUint16LengthPrefixed(func(k *cryptobyte.Builder) { k.AddBytes(key.PublicKey().Bytes()) })
			c.AddUint16LengthPrefixed(func(suites *cryptobyte.Builder) {
				suites.AddUint16(0x0001) // HKDF-SHA256
				suites.AddUint16(0x0001) // AES-128-GCM
			})
			c.AddUint8(64) // maximum_name_length
			c.AddUint8LengthPrefixed(func(name *cryptobyte.Builder) { name.AddBytes([]byte(publicName)) })
			c.AddUint16(0) // extensions
		})
	})
	return b.Bytes()
}
