package keys

import (
	"bytes"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

const (
	day   = 24 * time.Hour
	month = 30 * day
)

func newTestRing(t testing.TB) *Ring {
	t.Helper()
	r, err := NewRing(start, day)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func testClaims() Claims {
	return Claims{
		User: "ada", STime: 1772366400123, Device: "phone-1", App: "mail", ID: "s1", Epoch: 3,
		Expires: 1774958400123, Thumbprint: sha256.Sum256([]byte("client")),
	}
}

func seal(t testing.TB, r *Ring, c Claims) string {
	t.Helper()
	session, err := r.Seal(c)
	if err != nil {
		t.Fatal(err)
	}
	return session
}

func raw(t testing.TB, session string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(session)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func text(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func TestK2SessionComesBack(t *testing.T) {
	r := newTestRing(t)
	session := seal(t, r, testClaims())
	got, by, err := r.Open(session)
	if err != nil || got != testClaims() || by != r.Current() {
		t.Errorf("Open = %+v, %v, want the claims and the current key", got, err)
	}
	if kid, err := SessionKey(session); err != nil || kid != r.Current().ID() {
		t.Errorf("SessionKey = %s, %v, want %s", kid, err, r.Current().ID())
	}
	if again := seal(t, r, testClaims()); again == session {
		t.Error("two sessions of the same claims are the same text")
	}
}

// TestK2SealedFormat reads a token with nothing but the standard library.
func TestK2SealedFormat(t *testing.T) {
	r := newTestRing(t)
	key := r.Current()
	b := raw(t, seal(t, r, testClaims()))
	thumbprint := sha256.Sum256(key.Private.Public().Bytes())
	if !bytes.Equal(b[:8], thumbprint[:8]) {
		t.Errorf("a session starts with %x, want the key id %x", b[:8], thumbprint[:8])
	}
	private, err := hpke.NewDHKEMPrivateKey(key.Private.seal)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := hpke.Open(private, hpke.HKDFSHA256(), hpke.AES128GCM(), []byte("keyhole-push.v1 session"), b[8:])
	if err != nil {
		t.Fatal(err)
	}
	claims, mac := inner[:len(inner)-32], inner[len(inner)-32:]
	if want := `{"user":"ada","s_time":1772366400123,"device":"phone-1","app":"mail","id":"s1","epoch":3,` +
		`"exp":1774958400123,"cnf":"lI_mA_YdwDa1xZbcCf484_PTDckPAkyF88gtssyrZ50"}`; string(claims) != want {
		t.Errorf("claims are %s, want %s", claims, want)
	}
	h := hmac.New(sha256.New, key.MAC[:])
	h.Write(b[:8])
	h.Write(claims)
	if !bytes.Equal(mac, h.Sum(nil)) {
		t.Errorf("MAC is %x, want %x", mac, h.Sum(nil))
	}
}

// sealInner seals what a token has inside to the current key of r.
func sealInner(t testing.TB, r *Ring, inner []byte) string {
	t.Helper()
	kid := r.Current().ID()
	sealed, err := r.Current().Private.Public().Seal(infoSession, inner)
	if err != nil {
		t.Fatal(err)
	}
	return text(append(kid[:], sealed...))
}

// TestK2ForgedWithThePublicKeyAlone has all that a client knows: the public
// key, its id, and the format.
func TestK2ForgedWithThePublicKeyAlone(t *testing.T) {
	r := newTestRing(t)
	claims, err := json.Marshal(testClaims())
	if err != nil {
		t.Fatal(err)
	}
	kid := r.Current().ID()
	guess := hmac.New(sha256.New, make([]byte, 32))
	guess.Write(kid[:])
	guess.Write(claims)
	for name, mac := range map[string][]byte{
		"no MAC":                      nil,
		"a MAC of zeros":              make([]byte, 32),
		"a MAC with the key of zeros": guess.Sum(nil),
	} {
		forged := sealInner(t, r, append(bytes.Clone(claims), mac...))
		if c, _, err := r.Open(forged); !errors.Is(err, ErrForged) || c != (Claims{}) {
			t.Errorf("%s: Open = %+v, %v, want %v", name, c, err, ErrForged)
		}
	}
	if _, _, err := r.Open(sealInner(t, r, nil)); !errors.Is(err, ErrForged) {
		t.Errorf("nothing inside: Open = %v, want %v", err, ErrForged)
	}
}

// TestK2ClaimsOfOneKeyAreForgedUnderAnother moves claims with their MAC from
// one key of a ring to the next, as whoever held an old private key could.
func TestK2ClaimsOfOneKeyAreForgedUnderAnother(t *testing.T) {
	old := newTestRing(t)
	r, err := old.Rotated(start.Add(day), day, month)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := old.Current().Private.Open(infoSession, raw(t, seal(t, old, testClaims()))[8:])
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Open(sealInner(t, r, inner)); !errors.Is(err, ErrForged) {
		t.Errorf("Open = %v, want %v", err, ErrForged)
	}
	same := *r.Current() // the MAC key may be the same by mistake; the id in it still differs
	same.MAC = old.Current().MAC
	r = &Ring{Keys: []ServerKey{old.Keys[0], same}, Rotate: r.Rotate}
	if _, _, err := r.Open(sealInner(t, r, inner)); !errors.Is(err, ErrForged) {
		t.Errorf("with one MAC key for both: Open = %v, want %v", err, ErrForged)
	}
}

func TestK2SessionOfAnotherKeyIsRefused(t *testing.T) {
	r, other := newTestRing(t), newTestRing(t)
	session := seal(t, other, testClaims())
	if _, _, err := r.Open(session); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("of another ring: Open = %v, want %v", err, ErrUnknownKey)
	}
	kid := r.Current().ID()
	renamed := text(append(kid[:], raw(t, session)[8:]...))
	if _, _, err := r.Open(renamed); !errors.Is(err, ErrMalformed) {
		t.Errorf("of another ring, with this one's key id: Open = %v, want %v", err, ErrMalformed)
	}
}

func TestK2SessionCutShortIsRefused(t *testing.T) {
	r := newTestRing(t)
	session := seal(t, r, testClaims())
	for n := range session {
		if c, _, err := r.Open(session[:n]); !errors.Is(err, ErrMalformed) || c != (Claims{}) {
			t.Errorf("Open of the first %d characters = %+v, %v, want %v", n, c, err, ErrMalformed)
		}
	}
	b := raw(t, session)
	for n := range b {
		if _, _, err := r.Open(text(b[:n])); !errors.Is(err, ErrMalformed) {
			t.Errorf("Open of the first %d bytes = %v, want %v", n, err, ErrMalformed)
		}
	}
	if _, _, err := r.Open(text(append(b, 0))); !errors.Is(err, ErrMalformed) {
		t.Errorf("Open of a byte more = %v, want %v", err, ErrMalformed)
	}
}

func TestK2SessionWithAnyBitChangedIsRefused(t *testing.T) {
	r := newTestRing(t)
	b := raw(t, seal(t, r, testClaims()))
	for i := range b {
		want := ErrMalformed
		if i < len(KID{}) {
			want = ErrUnknownKey
		}
		for bit := range 8 {
			b[i] ^= 1 << bit
			if _, _, err := r.Open(text(b)); !errors.Is(err, want) {
				t.Errorf("bit %d of byte %d changed: Open = %v, want %v", bit, i, err, want)
			}
			b[i] ^= 1 << bit
		}
	}
	if _, _, err := r.Open(text(b)); err != nil {
		t.Errorf("unchanged: Open = %v, want the claims", err)
	}
}

func TestK2SessionHasOneText(t *testing.T) {
	r := newTestRing(t)
	c := testClaims()
	session := seal(t, r, c)
	for len(session)%4 == 0 { // its text has no stray bits
		c.User += "x"
		session = seal(t, r, c)
	}
	for name, other := range map[string]string{
		"stray bits":                     stray(t, session),
		"padded":                         session + "=",
		"a line break at the end":        session + "\n",
		"a line break within":            session[:8] + "\r\n" + session[8:],
		"alphabet of RFC 4648 section 4": strings.NewReplacer("-", "+", "_", "/").Replace(session) + "+",
		"a space":                        " " + session,
	} {
		if _, _, err := r.Open(other); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: Open = %v, want %v", name, err, ErrMalformed)
		}
	}
}

// TestK2ClaimsThatAServerDidNotMean have the right MAC: what a later version
// might seal.
func TestK2ClaimsThatAServerDidNotMean(t *testing.T) {
	r := newTestRing(t)
	for _, claims := range []string{
		``, `{`, `[]`, `{}`, `7`, `{"cnf":"AA"}`, `{"epoch":-1}`, `{"user":7}`,
		`{"cnf":"` + text(make([]byte, 31)) + `"}`, `{"cnf":"` + text(make([]byte, 33)) + `"}`,
	} {
		inner := append([]byte(claims), r.Current().mac(r.Current().ID(), []byte(claims))...)
		if c, _, err := r.Open(sealInner(t, r, inner)); !errors.Is(err, ErrMalformed) || c != (Claims{}) {
			t.Errorf("claims %s: Open = %+v, %v, want %v", claims, c, err, ErrMalformed)
		}
	}
}

func TestSealRefusesNamesItWouldChange(t *testing.T) {
	r := newTestRing(t)
	for name, edit := range map[string]func(*Claims){
		"user":   func(c *Claims) { c.User = "ad\xff" },
		"device": func(c *Claims) { c.Device = "\xed\xa0\x80" },
		"app":    func(c *Claims) { c.App = "mail\xc3" },
		"id":     func(c *Claims) { c.ID = "\x80" },
	} {
		c := testClaims()
		edit(&c)
		if session, err := r.Seal(c); err == nil {
			t.Errorf("%s is not UTF-8: Seal = %q, want an error", name, session)
		}
	}
}

func TestSealKeepsTheLengthThatOpenTakes(t *testing.T) {
	r := newTestRing(t)
	longest := strings.Repeat("<", 128) // six characters of JSON each
	c := Claims{User: longest, Device: longest, App: longest, ID: strings.Repeat("f", 64), Epoch: 1<<64 - 1, STime: 1<<63 - 1, Expires: 1<<63 - 1}
	if got, _, err := r.Open(seal(t, r, c)); err != nil || got != c {
		t.Errorf("names of 128 bytes: Open = %+v, %v, want the claims", got, err)
	}
	c.User = strings.Repeat("u", sessionLimit)
	if session, err := r.Seal(c); err == nil || !strings.Contains(err.Error(), "shorten") {
		t.Errorf("a name of %d bytes: Seal = %d characters, %v, want an error that says what to shorten", sessionLimit, len(session), err)
	}
	long := strings.Repeat("A", 1<<20)
	if _, _, err := r.Open(long); !errors.Is(err, ErrMalformed) || len(err.Error()) > 200 {
		t.Errorf("a token of 1 MiB: Open = %v, want a short %v", err, ErrMalformed)
	}
}

func TestEmptyRingSealsAndOpensNothing(t *testing.T) {
	session := seal(t, newTestRing(t), testClaims())
	var r Ring
	if got, err := r.Seal(testClaims()); err == nil {
		t.Errorf("Seal = %q, want an error", got)
	}
	if _, _, err := r.Open(session); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("Open = %v, want %v", err, ErrUnknownKey)
	}
}

func FuzzOpen(f *testing.F) {
	r, err := newTestRing(f).Rotated(start, day, month)
	if err != nil {
		f.Fatal(err)
	}
	kid, old := r.Current().ID(), r.Keys[0].ID()
	session := seal(f, r, testClaims())
	f.Add(raw(f, session))
	f.Add(kid[:])
	f.Add([]byte{})
	f.Add(append(old[:], raw(f, session)[8:]...))
	f.Add(append(kid[:], 4))
	f.Add(raw(f, sealInner(f, r, []byte(fmt.Sprintf("%s%032d", `{"user":"ada"}`, 0)))))
	f.Fuzz(func(t *testing.T, b []byte) {
		session := text(b)
		c, key, err := r.Open(session)
		switch {
		case err == nil && (key == nil || c != testClaims()):
			t.Fatalf("Open(%q) = %+v, want what a server sealed", session, c)
		case err != nil && (key != nil || c != (Claims{})):
			t.Fatalf("Open(%q) = %+v with the error %v, want nothing", session, c, err)
		case err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnknownKey) && !errors.Is(err, ErrForged):
			t.Fatalf("Open(%q) = %v, want a named error", session, err)
		}
	})
}
