package web_test

import (
	"bytes"
	"crypto/sha256"
	"math"
	"testing"
	"time"

	"keyhole/push/keys"
	"keyhole/push/webpush"
	"keyhole/push/wire"
)

// generate has the page make a key pair.
func (p *peer) generate(name string) keys.Public {
	p.t.Helper()
	var made struct {
		Public      string
		Extractable bool
	}
	p.call(&made, "generate", name)
	if made.Extractable {
		p.t.Errorf("the private key %q is extractable, want it to stay in the browser", name)
	}
	public, err := keys.ParsePublic(made.Public)
	if err != nil {
		p.t.Fatalf("ParsePublic(%q): %v", made.Public, err)
	}
	return public
}

func newKey(t testing.TB) *keys.Private {
	t.Helper()
	k, err := keys.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestThePageHashesWhatTheServerHashes(t *testing.T) {
	p := startPeer(t)
	for _, parts := range [][][]byte{nil, {nil}, {{}, {0}}, {[]byte("a"), []byte("bc"), make([]byte, 300)}} {
		for _, context := range []string{"", "keyhole-push.v1 ü"} {
			got := sha256.Sum256(p.bytes("message", context, append([][]byte{}, parts...)))
			if want := keys.Digest(context, parts...); got != want {
				t.Errorf("Digest(%q, %x) = %x in the page, want %x", context, parts, got, want)
			}
		}
	}
}

func TestK7ThePageSignsAndVerifiesAsTheServerDoes(t *testing.T) {
	p, server := startPeer(t), newKey(t)
	client := p.generate("client")
	parts := [][]byte{[]byte("one"), {}, []byte("two")}
	for range 20 { // a signature's numbers may begin with zeros
		if sig := p.bytes("sign", "client", "context", parts); !client.Verify(sig, "context", parts...) {
			t.Errorf("Verify of the page's signature %x = false, want true", sig)
		}
		sig, err := server.Sign("context", parts...)
		if err != nil {
			t.Fatal(err)
		}
		var ok bool
		if p.call(&ok, "verify", server.Public().String(), sig, "context", parts); !ok {
			t.Errorf("verify of %x in the page = false, want true", sig)
		}
		if p.call(&ok, "verify", server.Public().String(), sig, "another context", parts); ok {
			t.Errorf("verify with another context in the page = true, want false")
		}
	}
}

func TestK7ThePageOpensWhatIsSealedToIt(t *testing.T) {
	p := startPeer(t)
	client := p.generate("client")
	p.generate("other")
	for _, plain := range [][]byte{{}, []byte("hello"), bytes.Repeat([]byte{0xff}, 4096)} {
		sealed, err := client.Seal("keyhole-push.v1 message", plain)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.bytes("openMessage", "client", sealed); !bytes.Equal(got, plain) {
			t.Errorf("openMessage = %x, want %x", got, plain)
		}
		p.refuses("", "openMessage", "other", sealed)
		p.refuses("", "open", "client", "keyhole-push.v1 state", sealed)
		p.refuses("too short", "openMessage", "client", sealed[:64])
		for _, i := range []int{0, 1, 64, len(sealed) - 1} {
			changed := bytes.Clone(sealed)
			changed[i] ^= 1
			p.refuses("", "openMessage", "client", changed)
		}
	}
}

func TestK7ThePageSealsStatesToTheServer(t *testing.T) {
	p, server := startPeer(t), newKey(t)
	for _, plain := range []string{"", `{"network":"wifi"}`} {
		sealed := p.bytes("sealState", server.Public().String(), []byte(plain))
		got, err := server.Open("keyhole-push.v1 state", sealed)
		if err != nil || string(got) != plain {
			t.Errorf("Open of the page's state = %q, %v, want %q", got, err, plain)
		}
	}
}

func TestThePageRefusesPublicKeysThatTheServerRefuses(t *testing.T) {
	p, key := startPeer(t), newKey(t).Public()
	var kid string
	if p.call(&kid, "parsePublic", key.String()); kid != key.KID().String() {
		t.Errorf("parsePublic(%s) has the id %s, want %s", key, kid, key.KID())
	}
	good := key.Bytes()
	with := func(change func(b []byte) []byte) string { return b64(change(bytes.Clone(good))) }
	for name, text := range map[string]string{
		"empty":       "",
		"padded":      key.String() + "==",
		"short":       with(func(b []byte) []byte { return b[:129] }),
		"long":        with(func(b []byte) []byte { return append(b, 0) }),
		"same twice":  with(func(b []byte) []byte { return append(b[:65], b[:65]...) }),
		"off curve":   with(func(b []byte) []byte { b[64] ^= 1; return b }),
		"seal off":    with(func(b []byte) []byte { b[129] ^= 1; return b }),
		"compressed":  with(func(b []byte) []byte { b[0] = 2; return b }),
		"zero points": b64(make([]byte, 130)),
		"line break":  key.String()[:87] + "\n" + key.String()[87:],
	} {
		if _, err := keys.ParsePublic(text); err == nil {
			t.Errorf("%s: ParsePublic = nil, want an error", name)
		}
		p.refuses("", "parsePublic", text)
	}
}

func TestK4ThePageSignsARenewalWithBothKeys(t *testing.T) {
	p := startPeer(t)
	old, next := p.generate("old"), p.generate("new")
	for _, c := range []struct {
		offset int64
		epoch  uint64
	}{{0, 1}, {-1, 2}, {21_600_000, 1 << 40}, {math.MinInt32 - 1, 3}, {1<<53 - 1, 4}} {
		var sigs [2]string
		nonce := []byte("nonce")
		p.call(&sigs, "signRenewal", "old", "new", "session", c.offset, c.epoch, nonce)
		if !keys.VerifyRenewal(old, next, "session", c.offset, c.epoch, nonce, unb64(t, sigs[0]), unb64(t, sigs[1])) {
			t.Errorf("VerifyRenewal of the page's signatures for %+v = false, want true", c)
		}
	}
}

func TestThePageProvesItsRequests(t *testing.T) {
	p := startPeer(t)
	client := p.generate("client")
	now := time.UnixMilli(1_800_000_000_999)
	const url = "https://push.example:8443/v1/messages?token=x"
	var proof, again string
	p.call(&proof, "dpop", "client", "GET", url, now.UnixMilli(), "session")
	p.call(&again, "dpop", "client", "GET", url, now.UnixMilli(), "session")
	key, jti, err := keys.VerifyDPoP(proof, "GET", "https://push.example:8443/v1/messages", now, time.Second, "session")
	if err != nil || !key.Equal(client.SignKey()) {
		t.Fatalf("VerifyDPoP of the page's proof = %v, %v, want the page's key", key, err)
	}
	_, other, err := keys.VerifyDPoP(again, "GET", url, now, time.Second, "session")
	if err != nil || other == jti {
		t.Errorf("a second proof has the id %q, %v, want another than %q", other, err, jti)
	}
	if _, _, err := keys.VerifyDPoP(proof, "GET", url, now, time.Second, "another session"); err == nil {
		t.Error("VerifyDPoP with another session = nil, want an error")
	}
}

func TestK2ThePageFindsTheKeyOfASession(t *testing.T) {
	p := startPeer(t)
	ring, err := keys.NewRing(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	session, err := ring.Seal(keys.Claims{User: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	var kid string
	if p.call(&kid, "sessionKID", session); kid != ring.Current().ID().String() {
		t.Errorf("sessionKID = %s, want %s", kid, ring.Current().ID())
	}
	p.refuses("too short", "sessionKID", "AAAAAAAAAAA")
	p.refuses("not base64url", "sessionKID", "a.b")
}

func TestK5ThePageFollowsTheChainOfServerKeys(t *testing.T) {
	p := startPeer(t)
	ring, err := keys.NewRing(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	session, err := ring.Seal(keys.Claims{User: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	first := ring.Current().Private.Public().String()
	known := []string{first}
	for range 6 {
		if ring, err = ring.Rotated(time.Now(), time.Hour, time.Hour); err != nil {
			t.Fatal(err)
		}
		current := ring.Current()
		next := wire.Key{Public: current.Private.Public().String(), Previous: current.Previous.String(), Signature: current.Signature}
		p.call(&known, "withServer", session, known, next)
		if last := known[len(known)-1]; last != next.Public || known[0] != first || len(known) > 4 {
			t.Fatalf("known keys are %q, want up to 4, from the session's %q to the newest %q", known, first, next.Public)
		}
	}
	forger, forged := newKey(t), newKey(t).Public()
	sig, err := forger.SignServerKey(forged)
	if err != nil {
		t.Fatal(err)
	}
	p.refuses("server_proof_invalid", "withServer", session, known,
		wire.Key{Public: forged.String(), Previous: ring.Current().ID().String(), Signature: sig})
	before := len(known)
	p.call(&known, "withServer", session, known,
		wire.Key{Public: forged.String(), Previous: forger.Public().KID().String(), Signature: sig})
	if len(known) != before {
		t.Errorf("a key signed by an unknown one is believed: %q", known)
	}
}

func TestThePageReadsWebPush(t *testing.T) {
	p := startPeer(t)
	var subscription struct {
		Endpoint string
		Keys     struct{ P256DH, Auth string }
	}
	p.call(&subscription, "subscribe", "mine")
	p.call(&subscription, "subscribe", "other")
	p.call(&subscription, "subscribe", "mine")
	point, auth := unb64(t, subscription.Keys.P256DH), unb64(t, subscription.Keys.Auth)
	for _, plain := range []string{"", "hello", "zeros\x00\x00"} {
		body, err := webpush.Encrypt(point, auth, []byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.bytes("decrypt", "mine", body); string(got) != plain {
			t.Errorf("decrypt = %q, want %q", got, plain)
		}
		p.refuses("", "decrypt", "other", body)
		p.refuses("", "decrypt", "mine", body[:len(body)-1])
		p.refuses("not a message of Web Push", "decrypt", "mine", body[:86])
	}
}
