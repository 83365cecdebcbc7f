package webpush

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"
)

// The example of RFC 8292 section 2.4.
const (
	rfc8292Token = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9." +
		"eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3NjgsInN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0." +
		"i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2L9OkSSHzvoD1oA"
	rfc8292Key    = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs"
	rfc8292Origin = "https://push.example.net"
	rfc8292Header = "vapid t=" + rfc8292Token + ", k=" + rfc8292Key
)

var rfc8292Expiry = time.Unix(1453523768, 0)

func TestTheExampleOfRFC8292IsVerified(t *testing.T) {
	for _, header := range []string{
		rfc8292Header,
		"VAPID k=" + rfc8292Key + ",t=" + rfc8292Token,
		`vapid  t="` + rfc8292Token + `" , k="` + rfc8292Key + `", more=1`,
		"vapid T=" + rfc8292Token + ",\tK=" + rfc8292Key,
	} {
		for _, origin := range []string{rfc8292Origin, rfc8292Origin + ":443", "https://PUSH.example.net"} {
			got, err := VerifyVAPID(header, origin, rfc8292Expiry.Add(-time.Hour))
			if err != nil {
				t.Errorf("VerifyVAPID(%q, %q): %v", header, origin, err)
				continue
			}
			key := base64.RawURLEncoding.EncodeToString(got.Key)
			if got.Subject != "mailto:push@example.com" || key != rfc8292Key || !got.Expires.Equal(rfc8292Expiry) {
				t.Errorf("VerifyVAPID = %+v, want mailto:push@example.com, %s, %v", got, rfc8292Key, rfc8292Expiry)
			}
		}
	}
}

func TestATokenHoldsUntilItsExpiryAndForADayAtMost(t *testing.T) {
	for _, c := range []struct {
		before time.Duration
		want   string
	}{
		{24*time.Hour + time.Second, "VAPID token t: expires at 2016-01-23T04:36:08Z, more than 24 hours after 2016-01-22T04:36:07Z"},
		{24 * time.Hour, ""},
		{time.Nanosecond, ""},
		{0, "VAPID token t: expired at 2016-01-23T04:36:08Z, and it is 2016-01-23T04:36:08Z"},
		{-time.Hour, "VAPID token t: expired at 2016-01-23T04:36:08Z, and it is 2016-01-23T05:36:08Z"},
	} {
		_, err := VerifyVAPID(rfc8292Header, rfc8292Origin, rfc8292Expiry.Add(-c.before))
		if got := text(err); got != c.want {
			t.Errorf("VerifyVAPID %v before its expiry = %q, want %q", c.before, got, c.want)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A sender signs whatever it is given.
type sender struct{ *ecdsa.PrivateKey }

func newSender(t testing.TB) sender {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return sender{key}
}

func (s sender) key() string {
	point, err := s.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return encode64(point)
}

func encode64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (s sender) token(head, payload string) string {
	signed := encode64([]byte(head)) + "." + encode64([]byte(payload))
	hash := sha256.Sum256([]byte(signed))
	r, v, err := ecdsa.Sign(rand.Reader, s.PrivateKey, hash[:])
	if err != nil {
		panic(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	v.FillBytes(signature[32:])
	return signed + "." + encode64(signature)
}

func (s sender) header(head, payload string) string {
	return "vapid t=" + s.token(head, payload) + ",k=" + s.key()
}

const es256 = `{"typ":"JWT","alg":"ES256"}`

func claims(aud string, exp int64) string {
	return fmt.Sprintf(`{"aud":%q,"exp":%d,"sub":"https://sender.example"}`, aud, exp)
}

func TestOtherFormsOfATokenAreRead(t *testing.T) {
	s, now := newSender(t), time.Unix(1_800_000_000, 0)
	for _, payload := range []string{
		`{"aud":"https://push.example","exp":1800000060}`,
		`{"aud":["https://other.example","https://push.example"],"exp":1800000060,"sub":"mailto:a@b"}`,
		`{"aud":"https://push.example:443","exp":1800000060.75,"nbf":"whatever"}`,
		`{"aud":"https://push.example","exp":1.80000006e9,"AUD":"https://other.example"}`,
	} {
		v, err := VerifyVAPID(s.header(`{"alg":"ES256"}`, payload), "https://push.example", now)
		if err != nil || !v.Expires.Equal(now.Add(time.Minute)) {
			t.Errorf("VerifyVAPID of %s = %v, %v, want it to expire at %v", payload, v.Expires, err, now.Add(time.Minute))
		}
	}
}

func TestAForgedOrForeignTokenIsRefused(t *testing.T) {
	s, other, now := newSender(t), newSender(t), time.Unix(1_800_000_000, 0)
	good := claims("https://push.example:8443", now.Unix()+60)
	none := encode64([]byte(`{"alg":"none"}`)) + "." + encode64([]byte(good)) + "."
	token := s.token(es256, good)
	unsigned := token[:strings.LastIndex(token, ".")+1]
	for _, c := range []struct{ name, header, want string }{
		{"good", s.header(es256, good), ""},
		{"aud: other host", s.header(es256, claims("https://other.example", now.Unix()+60)), `token t: "aud" is ["https://other.example"], want "https://push.example:8443"`},
		{"aud: other port", s.header(es256, claims("https://push.example", now.Unix()+60)), `token t: "aud" is`},
		{"aud: other scheme", s.header(es256, claims("http://push.example:8443", now.Unix()+60)), `token t: "aud" is`},
		{"aud: a path", s.header(es256, claims("https://push.example:8443/", now.Unix()+60)), `token t: "aud" is`},
		{"aud: longer", s.header(es256, claims("https://push.example:8443.other.example", now.Unix()+60)), `token t: "aud" is`},
		{"aud: empty", s.header(es256, claims("", now.Unix()+60)), `token t: "aud" is [""]`},
		{"aud: missing", s.header(es256, `{"exp":1800000060}`), `token t: "aud" is [""]`},
		{"aud: null", s.header(es256, `{"aud":null,"exp":1800000060}`), `token t: "aud" is []`},
		{"aud: a number", s.header(es256, `{"aud":1,"exp":1800000060}`), `token t: "aud" is neither a string nor a list of strings`},
		{"AUD", s.header(es256, `{"AUD":"https://push.example:8443","exp":1800000060}`), `token t: "aud" is [""]`},
		{"exp: missing", s.header(es256, `{"aud":"https://push.example:8443"}`), `token t: "exp" is missing or not a number`},
		{"exp: null", s.header(es256, `{"aud":"https://push.example:8443","exp":null}`), `token t: "exp" is missing or not a number`},
		{"exp: text", s.header(es256, `{"aud":"https://push.example:8443","exp":"1800000060"}`), `token t: "exp" is missing or not a number`},
		{"exp: too large for a float", s.header(es256, `{"aud":"https://push.example:8443","exp":1e999}`), `token t: "exp" is missing or not a number`},
		{"exp: far away", s.header(es256, `{"aud":"https://push.example:8443","exp":1e300}`), `token t: expires at 36812-`},
		{"exp: in the past", s.header(es256, `{"aud":"https://push.example:8443","exp":-1e300}`), `token t: expired at `},
		{"exp: more than a day", s.header(es256, claims("https://push.example:8443", now.Unix()+86401)), `token t: expires at`},
		{"sub: a number", s.header(es256, `{"aud":"https://push.example:8443","exp":1800000060,"sub":7}`), `token t: "sub" is not a string`},
		{"payload: a list", s.header(es256, `[]`), "token t: payload: not a JSON object"},
		{"payload: null", s.header(es256, `null`), "token t: payload: not a JSON object"},
		{"payload: not JSON", s.header(es256, `{`), "token t: payload: not a JSON object"},
		{"wrong key", "vapid t=" + token + ",k=" + other.key(), "token t: signature is not by the key k"},
		{"no signature", "vapid t=" + unsigned + ",k=" + s.key(), "token t: signature is not by the key k"},
		{"short signature", "vapid t=" + unsigned + encode64(make([]byte, 63)) + ",k=" + s.key(), "token t: signature is not by the key k"},
		{"zero signature", "vapid t=" + unsigned + encode64(make([]byte, 64)) + ",k=" + s.key(), "token t: signature is not by the key k"},
		{"malformed signature", "vapid t=" + unsigned + "!!,k=" + s.key(), "token t: signature: illegal base64"},
		{"alg none", "vapid t=" + none + ",k=" + s.key(), `token t: algorithm is "none", want "ES256"`},
		{"alg none, signed", s.header(`{"alg":"none"}`, good), `token t: algorithm is "none", want "ES256"`},
		{"alg HS256", s.header(`{"alg":"HS256"}`, good), `token t: algorithm is "HS256", want "ES256"`},
		{"alg missing", s.header(`{}`, good), `token t: algorithm is "", want "ES256"`},
		{"alg null", s.header(`{"alg":null}`, good), `token t: algorithm is "", want "ES256"`},
		{"alg in other case", s.header(`{"alg":"es256"}`, good), `token t: algorithm is "es256", want "ES256"`},
		{"critical extension", s.header(`{"alg":"ES256","crit":["exp"]}`, good), "token t: header has critical extensions"},
		{"header: not JSON", s.header(`x`, good), "token t: header: not a JSON object"},
		{"header: padded", "vapid t=e30=." + "e30.e30,k=" + s.key(), "token t: header: illegal base64"},
	} {
		_, err := VerifyVAPID(c.header, "https://push.example:8443", now)
		if got := text(err); got != c.want && (c.want == "" || !strings.HasPrefix(got, "VAPID "+c.want)) {
			t.Errorf("%s: VerifyVAPID = %q, want an error that begins %q", c.name, got, "VAPID "+c.want)
		}
	}
}

func TestATokenWithAnyByteChangedIsRefused(t *testing.T) {
	now := rfc8292Expiry.Add(-time.Hour)
	for i := range rfc8292Token {
		changed := []byte(rfc8292Token)
		if changed[i]++; changed[i] == ',' {
			changed[i]++
		}
		if v, err := VerifyVAPID("vapid t="+string(changed)+",k="+rfc8292Key, rfc8292Origin, now); err == nil {
			t.Errorf("VerifyVAPID with character %d changed = %+v, want an error", i, v)
		}
	}
}

func TestAMalformedAuthorizationIsRefused(t *testing.T) {
	offCurve := bytes64(t, rfc8292Key)
	offCurve[64] ^= 1
	for _, c := range []struct{ name, header, want string }{
		{"missing", "", `header Authorization is missing; send "vapid t=..., k=..." (RFC 8292)`},
		{"spaces", "   ", `header Authorization is missing`},
		{"WebPush", "WebPush " + rfc8292Token, `authorization scheme "WebPush" with a Crypto-Key header is of a draft; send "vapid t=..., k=..."`},
		{"Bearer", "Bearer " + rfc8292Token, `authorization scheme "Bearer" with a Crypto-Key header is of a draft`},
		{"Basic", "Basic YTpi", `authorization scheme is "Basic", want "vapid`},
		{"scheme alone", "vapid", "VAPID token t or key k is missing"},
		{"no t", "vapid k=" + rfc8292Key, "VAPID token t or key k is missing"},
		{"no k", "vapid t=" + rfc8292Token, "VAPID token t or key k is missing"},
		{"empty k", "vapid t=" + rfc8292Token + ",k=", "VAPID token t or key k is missing"},
		{"t twice", rfc8292Header + ",t=" + rfc8292Token, "VAPID parameter t is there twice"},
		{"k twice", rfc8292Header + ",K=" + rfc8292Key, "VAPID parameter k is there twice"},
		{"two parts", "vapid t=e30.e30,k=" + rfc8292Key, "VAPID token t: 2 parts between dots, want 3"},
		{"four parts", "vapid t=" + rfc8292Token + ".e30,k=" + rfc8292Key, "VAPID token t: 4 parts between dots, want 3"},
		{"k not base64url", "vapid t=" + rfc8292Token + ",k=+/+/", "VAPID key k: illegal base64"},
		{"k with a line break", "vapid t=" + rfc8292Token + ",k=BA1H\nxzyi", "VAPID key k: line break in base64url"},
		{"k short", "vapid t=" + rfc8292Token + ",k=" + rfc8292Key[:80], "VAPID key k (60 bytes): "},
		{"k infinity", "vapid t=" + rfc8292Token + ",k=AA", "VAPID key k (1 bytes): "},
		{"k off the curve", "vapid t=" + rfc8292Token + ",k=" + encode64(offCurve), "VAPID key k (65 bytes): "},
		{"too long", rfc8292Header + strings.Repeat(" ", maxVAPID), "header Authorization of 4430 bytes, want 4096 at most"},
	} {
		_, err := VerifyVAPID(c.header, rfc8292Origin, rfc8292Expiry.Add(-time.Hour))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: VerifyVAPID = %v, want an error that begins %q", c.name, err, c.want)
		}
	}
}

// FuzzVAPID checks that no header does harm, and that what is accepted is signed: by the key of the fuzzer's choice,
// but of a token that this test has made.
func FuzzVAPID(f *testing.F) {
	s, now := newSender(f), time.Unix(1_800_000_000, 0)
	f.Add(rfc8292Header, es256, claims("https://push.example", now.Unix()+60))
	f.Add("vapid t=e30.e30.e30,k="+rfc8292Key, `{"alg":"none"}`, `{"aud":["https://push.example"],"exp":1.8e9}`)
	f.Add("WebPush "+rfc8292Token, `{"alg":"ES256","crit":[]}`, `{"aud":null,"exp":1e999,"sub":[]}`)
	f.Add(`vapid t="", k=""`, `null`, `[]`)
	f.Fuzz(func(t *testing.T, header, head, payload string) {
		if v, err := VerifyVAPID(header, "https://push.example", now); err == nil {
			t.Errorf("VerifyVAPID(%q) = %+v, want an error: nobody signed it", header, v)
		}
		v, err := VerifyVAPID(s.header(head, payload), "https://push.example", now)
		if err != nil {
			return
		}
		if encode64(v.Key) != s.key() || !v.Expires.After(now) || v.Expires.After(now.Add(maxLife)) {
			t.Errorf("VerifyVAPID of %s = %+v, want the key %s and an expiry within a day of %v", payload, v, s.key(), now)
		}
	})
}
