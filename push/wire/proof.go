package wire

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"

	"keyhole/push/keys"
)

// The purposes of an exchange's signatures.
const (
	contextClient  = "keyhole-push.v1 client confirmation"
	contextServer  = "keyhole-push.v1 server confirmation"
	contextBinding = "keyhole-push.v1 binding"
)

// An Exchange is all that was said in one mutual verification (V1 to V4), as
// one side knows it. Both sides fill their own, and a proof holds only when
// the two are the same in every field.
type Exchange struct {
	Offered     []string    // Hello.Versions
	Supported   []string    // Challenge.Versions
	Version     string      // Challenge.Version
	ClientToken []byte      // 32 bytes
	ServerToken []byte      // 32 bytes
	User        string      // of the session's claims, as are Device and App
	Device      string      //
	App         string      //
	AppVersion  string      // Hello.AppVersion
	Session     string      // Hello.Session
	Client      keys.Public // the session's current client key
	Server      keys.Public // the server key that the session is sealed to
	Binding     string      // Hello.Binding: BindingExporter or BindingNone
	Exporter    []byte      // what Exporter returns; nil unless Binding is BindingExporter
}

// ClientProof is the first confirmation: the client's signature over the
// exchange. k must be the private half of e.Client.
func (e *Exchange) ClientProof(k *keys.Private) ([]byte, error) {
	if k.Public() != e.Client {
		return nil, errors.New("client proof: not the key of this exchange")
	}
	return k.Sign(contextClient, e.transcript()...)
}

// VerifyClient reports whether proof is the client's over this exchange.
func (e *Exchange) VerifyClient(proof []byte) bool {
	return e.Client.Verify(proof, contextClient, e.transcript()...)
}

// ServerProof is the second confirmation: the server's signature over the
// exchange and the first confirmation. k must be the private half of e.Server.
func (e *Exchange) ServerProof(k *keys.Private, clientProof []byte) ([]byte, error) {
	if k.Public() != e.Server {
		return nil, errors.New("server proof: not the key of this exchange")
	}
	return k.Sign(contextServer, append(e.transcript(), clientProof)...)
}

// VerifyServer reports whether proof is the server's over this exchange and
// over that first confirmation.
func (e *Exchange) VerifyServer(proof, clientProof []byte) bool {
	return e.Server.Verify(proof, contextServer, append(e.transcript(), clientProof)...)
}

// BindingTag says which TLS connection the client is on, 32 bytes. The proof
// holds the exporter too; the tag lets the server tell a connection that
// something terminates from a proof that is wrong.
func (e *Exchange) BindingTag() []byte {
	tag := keys.Digest(contextBinding, e.ClientToken, e.ServerToken, e.Exporter)
	return tag[:]
}

// transcript is the fields of e in their order, one part each, as keys.Digest
// takes them: text as UTF-8, a key as its 130 bytes, and a list as the length
// of each entry, in 4 bytes big endian, and the entry.
func (e *Exchange) transcript() [][]byte {
	return [][]byte{
		list(e.Offered),
		list(e.Supported),
		[]byte(e.Version),
		e.ClientToken,
		e.ServerToken,
		[]byte(e.User),
		[]byte(e.Device),
		[]byte(e.App),
		[]byte(e.AppVersion),
		[]byte(e.Session),
		e.Client.Bytes(),
		e.Server.Bytes(),
		[]byte(e.Binding),
		e.Exporter,
	}
}

func list(entries []string) (b []byte) {
	for _, entry := range entries {
		b = binary.BigEndian.AppendUint32(b, uint32(len(entry)))
		b = append(b, entry...)
	}
	return b
}

// Exporter returns the 32 bytes that only the two ends of a TLS connection
// know (RFC 9266 section 2). A connection that is not TLS 1.3 is refused with
// BindingRequired: before it, two connections could share the value.
func Exporter(cs *tls.ConnectionState) ([]byte, error) {
	if cs == nil || !cs.HandshakeComplete { // ExportKeyingMaterial panics then
		return nil, fmt.Errorf("%w: the connection has no TLS, or not yet", BindingRequired)
	}
	if cs.Version != tls.VersionTLS13 {
		return nil, fmt.Errorf("%w: the connection has %s, want TLS 1.3", BindingRequired, tls.VersionName(cs.Version))
	}
	exported, err := cs.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", BindingRequired, err)
	}
	return exported, nil
}
