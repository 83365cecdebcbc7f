package wire

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/big"
	"reflect"
	"testing"

	"keyhole/push/keys"
)

func generate(t testing.TB) *keys.Private {
	t.Helper()
	k, err := keys.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newExchange is one with a value in every field.
func newExchange(client, server *keys.Private) *Exchange {
	return &Exchange{
		Offered: []string{"keyhole-push.v2", Subprotocol}, Supported: []string{Subprotocol}, Version: Subprotocol,
		ClientToken: bytes.Repeat([]byte{1}, 32), ServerToken: bytes.Repeat([]byte{2}, 32),
		User: "ada", Device: "phone", App: "mail", AppVersion: "2.1", Session: "session",
		Client: client.Public(), Server: server.Public(), Binding: BindingExporter, Exporter: bytes.Repeat([]byte{3}, 32),
	}
}

func sign(t testing.TB, e *Exchange, client, server *keys.Private) (clientProof, serverProof []byte) {
	t.Helper()
	clientProof, err := e.ClientProof(client)
	if err != nil {
		t.Fatal(err)
	}
	serverProof, err = e.ServerProof(server, clientProof)
	if err != nil {
		t.Fatal(err)
	}
	return clientProof, serverProof
}

func TestV3V4ConfirmationsHoldForTheirExchange(t *testing.T) {
	client, server := generate(t), generate(t)
	first, second := sign(t, newExchange(client, server), client, server)
	other := newExchange(client, server) // the other side's own
	if !other.VerifyClient(first) {
		t.Error("VerifyClient = false for the same exchange, want true")
	}
	if !other.VerifyServer(second, first) {
		t.Error("VerifyServer = false for the same exchange, want true")
	}
	again, _ := sign(t, other, client, server)
	for name, holds := range map[string]bool{
		"no first confirmation":                         other.VerifyClient(nil),
		"no second confirmation":                        other.VerifyServer(nil, first),
		"the second as the first":                       other.VerifyClient(second),
		"the first as the second":                       other.VerifyServer(first, first),
		"the second over another first":                 other.VerifyServer(second, again),
		"the second over no first":                      other.VerifyServer(second, nil),
		"the second over a first with one byte changed": other.VerifyServer(second, append(bytes.Clone(first[:63]), first[63]^1)),
	} {
		if holds {
			t.Errorf("%s holds, want a refusal", name)
		}
	}
}

// TestV5OneKeyForBothSides: the two confirmations differ in context, so that
// one cannot be sent back as the other even then.
func TestV5OneKeyForBothSides(t *testing.T) {
	k := generate(t)
	e := newExchange(k, k)
	first, second := sign(t, e, k, k)
	if e.VerifyServer(first, nil) || e.VerifyServer(first, first) || e.VerifyClient(second) {
		t.Error("a confirmation holds as the other, want a refusal")
	}
}

// TestV5ProofChangesWithAnyField goes through the fields by reflection: one
// that is added to Exchange and left out of the transcript fails here.
func TestV5ProofChangesWithAnyField(t *testing.T) {
	client, server, other := generate(t), generate(t), generate(t)
	e := newExchange(client, server)
	first, second := sign(t, e, client, server)
	fields := reflect.TypeFor[Exchange]()
	for i := range fields.NumField() {
		name := fields.Field(i).Name
		for _, change := range changes(t, reflect.ValueOf(e).Elem().Field(i), other.Public()) {
			edit := *e
			reflect.ValueOf(&edit).Elem().Field(i).Set(reflect.ValueOf(change))
			if reflect.DeepEqual(&edit, e) {
				t.Fatalf("%s = %v is no change", name, change)
			}
			if edit.VerifyClient(first) {
				t.Errorf("%s = %v: the first confirmation holds, want a refusal", name, change)
			}
			if edit.VerifyServer(second, first) {
				t.Errorf("%s = %v: the second confirmation holds, want a refusal", name, change)
			}
		}
	}
}

// changes are values of the same type as v, and not v.
func changes(t *testing.T, v reflect.Value, other keys.Public) []any {
	t.Helper()
	if v.IsZero() {
		t.Fatalf("newExchange leaves a field of type %s empty", v.Type())
	}
	switch was := v.Interface().(type) {
	case string:
		return []any{"", was + "x", was[:len(was)-1]}
	case []byte:
		flipped := bytes.Clone(was)
		flipped[len(was)-1] ^= 1
		return []any{[]byte(nil), flipped, was[1:], append(bytes.Clone(was), 0)}
	case []string:
		return []any{[]string(nil), append([]string{""}, was...), append([]string{"x"}, was[1:]...), []string{"keyhole-push.v2keyhole-push.v1"}}
	case keys.Public:
		return []any{keys.Public{}, other}
	}
	t.Fatalf("no other value for a field of type %s: teach changes", v.Type())
	return nil
}

// TestV5TextCannotMoveBetweenFields: two exchanges that read the same end to
// end are still two.
func TestV5TextCannotMoveBetweenFields(t *testing.T) {
	client, server := generate(t), generate(t)
	e := newExchange(client, server)
	first, _ := sign(t, e, client, server)
	for name, edit := range map[string]func(e *Exchange){
		"user and device exchanged":    func(e *Exchange) { e.User, e.Device = e.Device, e.User },
		"tokens exchanged":             func(e *Exchange) { e.ClientToken, e.ServerToken = e.ServerToken, e.ClientToken },
		"lists exchanged":              func(e *Exchange) { e.Offered, e.Supported = e.Supported, e.Offered },
		"keys exchanged":               func(e *Exchange) { e.Client, e.Server = e.Server, e.Client },
		"versions in another order":    func(e *Exchange) { e.Offered = []string{e.Offered[1], e.Offered[0]} },
		"a letter from user to device": func(e *Exchange) { e.User, e.Device = "ad", "aphone" },
		"a version to the other list":  func(e *Exchange) { e.Offered, e.Supported = e.Offered[:1], []string{Subprotocol, Subprotocol} },
	} {
		edited := *e
		if edit(&edited); edited.VerifyClient(first) {
			t.Errorf("%s: the first confirmation holds, want a refusal", name)
		}
	}
}

// TestV5ProofByteByByte checks both confirmations from the description of the
// transcript alone.
func TestV5ProofByteByByte(t *testing.T) {
	client, server := generate(t), generate(t)
	first, second := sign(t, newExchange(client, server), client, server)
	part := func(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }
	const v1, v2 = "\x00\x00\x00\x0fkeyhole-push.v1", "\x00\x00\x00\x0fkeyhole-push.v2"
	var transcript []byte
	for _, b := range [][]byte{
		[]byte(v2 + v1), []byte(v1), []byte("keyhole-push.v1"),
		bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32),
		[]byte("ada"), []byte("phone"), []byte("mail"), []byte("2.1"), []byte("session"),
		client.Public().Bytes(), server.Public().Bytes(),
		[]byte("tls-exporter"), bytes.Repeat([]byte{3}, 32),
	} {
		transcript = append(transcript, part(b)...)
	}
	for _, c := range []struct {
		context   string
		signed    []byte
		key       keys.Public
		signature []byte
	}{
		{"keyhole-push.v1 client confirmation", transcript, client.Public(), first},
		{"keyhole-push.v1 server confirmation", append(bytes.Clone(transcript), part(first)...), server.Public(), second},
	} {
		digest := sha256.Sum256(append([]byte(c.context+"\x00"), c.signed...))
		r, s := new(big.Int).SetBytes(c.signature[:32]), new(big.Int).SetBytes(c.signature[32:])
		if !ecdsa.Verify(c.key.SignKey(), digest[:], r, s) {
			t.Errorf("%s: %x is no signature over the transcript", c.context, c.signature)
		}
	}
}

func TestV5ProofWithAnotherKeyIsNotMade(t *testing.T) {
	client, server := generate(t), generate(t)
	e := newExchange(client, server)
	if proof, err := e.ClientProof(server); err == nil {
		t.Errorf("ClientProof with the server's key = %x, want an error", proof)
	}
	if proof, err := e.ServerProof(client, nil); err == nil {
		t.Errorf("ServerProof with the client's key = %x, want an error", proof)
	}
}

func TestV5BindingTagIsOfTokensAndExporter(t *testing.T) {
	client, server := generate(t), generate(t)
	e := newExchange(client, server)
	want := sha256.Sum256([]byte("keyhole-push.v1 binding\x00" +
		"\x00\x00\x00\x20" + string(e.ClientToken) + "\x00\x00\x00\x20" + string(e.ServerToken) + "\x00\x00\x00\x20" + string(e.Exporter)))
	if got := e.BindingTag(); !bytes.Equal(got, want[:]) {
		t.Errorf("BindingTag = %x, want %x", got, want)
	}
	for name, edit := range map[string]func(e *Exchange){
		"client token": func(e *Exchange) { e.ClientToken = make([]byte, 32) },
		"server token": func(e *Exchange) { e.ServerToken = make([]byte, 32) },
		"exporter":     func(e *Exchange) { e.Exporter = make([]byte, 32) },
		"no exporter":  func(e *Exchange) { e.Exporter = nil },
	} {
		edited := *e
		if edit(&edited); bytes.Equal(edited.BindingTag(), want[:]) {
			t.Errorf("%s: BindingTag stays %x, want another", name, want)
		}
	}
}

func TestV5ExporterNeedsTLS(t *testing.T) {
	if b, err := Exporter(nil); !errors.Is(err, BindingRequired) {
		t.Errorf("Exporter(nil) = %x, %v, want %s", b, err, BindingRequired)
	}
}
