package keys

import (
	"crypto/sha256"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"
)

const (
	target = "https://push.example.com/v1/messages"
	skew   = 30 * time.Second
)

// A forgery is a proof whose every member a test can set.
type forgery struct{ header, payload map[string]any }

// forge returns the parts of an honest proof, made at start for a GET of
// target with the session "s".
func forge(t testing.TB, k *Private) forgery {
	t.Helper()
	proof, err := k.DPoP("GET", target, start, "s")
	if err != nil {
		t.Fatal(err)
	}
	var f forgery
	parts := strings.Split(proof, ".")
	for i, into := range []*map[string]any{&f.header, &f.payload} {
		if err := json.Unmarshal(raw(t, parts[i]), into); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// refused reports whether err is one of VerifyDPoP.
func refused(err error) bool {
	return err != nil && strings.HasPrefix(err.Error(), "DPoP proof: ")
}

func (f forgery) sign(t testing.TB, k *Private) string {
	t.Helper()
	signed := text(must(t, f.header)) + "." + text(must(t, f.payload))
	signature, err := k.signDigest(sha256.Sum256([]byte(signed)))
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + text(signature)
}

func TestDPoPProofIsTaken(t *testing.T) {
	k := generate(t)
	for _, c := range []struct{ made, received string }{
		{target, target},
		{target + "?token=T&limit=10#top", target},
		{target, target + "?token=T"},
		{"HTTPS://Push.Example.com:443/v1/messages", target},
		{"https://push.example.com", "https://push.example.com/"},
		{"http://127.0.0.1:80/x", "http://127.0.0.1/x"},
		{"https://[::1]:8443/a%2Fb", "https://[::1]:8443/a%2Fb"},
	} {
		proof, err := k.DPoP("POST", c.made, start, "s")
		if err != nil {
			t.Fatal(err)
		}
		key, jti, err := VerifyDPoP(proof, "POST", c.received, start, skew, "s")
		if err != nil || !key.Equal(k.Public().SignKey()) || len(jti) < 20 {
			t.Errorf("made for %s, received at %s: VerifyDPoP = %v, %q, %v, want the key and an id", c.made, c.received, key, jti, err)
		}
	}
	first, second := forge(t, k), forge(t, k)
	if first.payload["jti"] == second.payload["jti"] {
		t.Errorf("two proofs have the id %q", first.payload["jti"])
	}
}

func TestDPoPWithoutASession(t *testing.T) {
	k := generate(t)
	proof, err := k.DPoP("POST", target, start, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := VerifyDPoP(proof, "POST", target, start, skew, ""); err != nil {
		t.Errorf("VerifyDPoP = %v, want the key", err)
	}
	if _, _, err := VerifyDPoP(proof, "POST", target, start, skew, "s"); !refused(err) {
		t.Errorf("with a session that the proof does not name: VerifyDPoP = %v, want an error", err)
	}
}

// The two proofs of RFC 9449, of sections 4.1 and 7.1.
func TestDPoPProofsOfTheRFC(t *testing.T) {
	const header = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMi" +
		"LCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19"
	for _, c := range []struct {
		proof, method, url, session, jti string
		at                               int64
	}{
		{
			header + ".eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ" +
				".2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg",
			"POST", "https://server.example.com/token", "", "-BwC3ESc6acc2lTc", 1562262616,
		},
		{
			header + ".eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9" +
				".2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA",
			"GET", "https://resource.example.org/protectedresource", "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU", "e1j3V_bKic8-LAEB", 1562262618,
		},
	} {
		_, jti, err := VerifyDPoP(c.proof, c.method, c.url, time.Unix(c.at, 0), 0, c.session)
		if err != nil || jti != c.jti {
			t.Errorf("%s %s: VerifyDPoP = %q, %v, want %q", c.method, c.url, jti, err, c.jti)
		}
	}
}

func TestDPoPRefusesByTheRulesOfRFC9449(t *testing.T) {
	k, other := generate(t), generate(t)
	set := func(member string, value any) func(*forgery) {
		return func(f *forgery) { f.payload[member] = value }
	}
	head := func(member string, value any) func(*forgery) {
		return func(f *forgery) { f.header[member] = value }
	}
	key := func(member string, value any) func(*forgery) {
		return func(f *forgery) {
			jwk := maps.Clone(f.header["jwk"].(map[string]any))
			if jwk[member] = value; value == nil {
				delete(jwk, member)
			}
			f.header["jwk"] = jwk
		}
	}
	for _, c := range []struct {
		name string
		edit func(*forgery)
		says string
	}{
		{"htm of another method", set("htm", "POST"), "htm"},
		{"htm in small letters", set("htm", "get"), "htm"},
		{"no htm", set("htm", nil), "htm"},
		{"htu of another path", set("htu", target+"/ack"), "htu"},
		{"htu with a slash more", set("htu", target+"/"), "htu"},
		{"htu in other case", set("htu", "https://push.example.com/V1/messages"), "htu"},
		{"htu of another host", set("htu", "https://push.example.org/v1/messages"), "htu"},
		{"htu of another port", set("htu", "https://push.example.com:8443/v1/messages"), "htu"},
		{"htu of another scheme", set("htu", "http://push.example.com/v1/messages"), "htu"},
		{"htu with a user", set("htu", "https://ada@push.example.com/v1/messages"), "htu"},
		{"htu without a host", set("htu", "/v1/messages"), "htu"},
		{"htu that is no URL", set("htu", "https://push.example.com/%zz"), "htu"},
		{"no htu", set("htu", nil), "htu"},
		{"htu that is a number", set("htu", 7), "payload"},
		{"iat too old", set("iat", start.Unix()-31), "iat is -31 s"},
		{"iat in the future", set("iat", start.Unix()+31), "iat is 31 s"},
		{"iat of 0", set("iat", 0), "iat"},
		{"iat past all time", set("iat", 1e308), "iat"},
		{"iat before all time", set("iat", -1e308), "iat"},
		{"iat in milliseconds", set("iat", start.UnixMilli()), "iat"},
		{"iat as text", set("iat", "1772366400"), "payload"},
		{"no iat", set("iat", nil), "iat is missing"},
		{"ath of another session", set("ath", accessHash("another")), "ath"},
		{"ath in hexadecimal", set("ath", "043a718774c572bd8a25adbeb1bfcd5c0256ae11cecf9f9c3f925d0e52beaf89"), "ath"},
		{"no ath", set("ath", nil), "ath"},
		{"jti of 15 characters", set("jti", strings.Repeat("j", 15)), "jti"},
		{"jti of 129 characters", set("jti", strings.Repeat("j", 129)), "jti"},
		{"no jti", set("jti", nil), "jti"},
		{"alg none", head("alg", "none"), "alg"},
		{"alg HS256", head("alg", "HS256"), "alg"},
		{"alg ES384", head("alg", "ES384"), "alg"},
		{"no alg", head("alg", nil), "alg"},
		{"typ JWT", head("typ", "JWT"), "typ"},
		{"no typ", head("typ", nil), "typ"},
		{"crit", head("crit", []string{"exp"}), "crit"},
		{"no jwk", head("jwk", nil), "jwk"},
		{"jwk that is text", head("jwk", "key"), "header"},
		{"jwk of RSA", key("kty", "RSA"), "jwk"},
		{"jwk on P-384", key("crv", "P-384"), "jwk"},
		{"jwk with a private part", key("d", text(k.Bytes()[:32])), "private"},
		{"jwk without y", key("y", nil), "coordinate"},
		{"jwk with a short x", key("x", text(make([]byte, 31))), "coordinate"},
		{"jwk with a long x", key("x", text(make([]byte, 33))), "coordinate"},
		{"jwk off the curve", key("x", text(make([]byte, 32))), ""},
		{"jwk of another key", head("jwk", forge(t, other).header["jwk"]), "signature"},
	} {
		f := forge(t, k)
		c.edit(&f)
		key, jti, err := VerifyDPoP(f.sign(t, k), "GET", target, start, skew, "s")
		if !refused(err) || !strings.Contains(err.Error(), c.says) || key != nil || jti != "" {
			t.Errorf("%s: VerifyDPoP = %v, %q, %v, want an error that says %q", c.name, key, jti, err, c.says)
		}
	}
}

func TestDPoPTakesWhatIsWithinTheRules(t *testing.T) {
	k := generate(t)
	for name, edit := range map[string]func(*forgery){
		"iat at the old end":          func(f *forgery) { f.payload["iat"] = start.Unix() - 29 },
		"iat at the new end":          func(f *forgery) { f.payload["iat"] = start.Unix() + 30 },
		"iat with a fraction":         func(f *forgery) { f.payload["iat"] = float64(start.Unix()) + 0.5 },
		"jti of 16 characters":        func(f *forgery) { f.payload["jti"] = strings.Repeat("j", 16) },
		"jti of 128 characters":       func(f *forgery) { f.payload["jti"] = strings.Repeat("j", 128) },
		"a claim that is not known":   func(f *forgery) { f.payload["nonce"] = "n" },
		"a header that is not known":  func(f *forgery) { f.header["kid"] = "k" },
		"a jwk with a use and its id": func(f *forgery) { f.header["jwk"].(map[string]any)["use"] = "sig" },
	} {
		f := forge(t, k)
		edit(&f)
		if _, _, err := VerifyDPoP(f.sign(t, k), "GET", target, start, skew, "s"); err != nil {
			t.Errorf("%s: VerifyDPoP = %v, want the key", name, err)
		}
	}
}

func TestDPoPRefusesWhatIsNoProof(t *testing.T) {
	k := generate(t)
	proof, err := k.DPoP("GET", target, start, "s")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(proof, ".")
	join := func(parts ...string) string { return strings.Join(parts, ".") }
	for name, text := range map[string]string{
		"nothing":                 "",
		"dots":                    "..",
		"two parts":               join(parts[:2]...),
		"four parts":              proof + ".",
		"two proofs":              proof + ", " + proof,
		"no signature":            join(parts[0], parts[1], ""),
		"a signature cut short":   proof[:len(proof)-2],
		"padding":                 proof + "==",
		"a line break":            join(parts[0], parts[1]+"\n", parts[2]),
		"a header of nothing":     join("", parts[1], parts[2]),
		"a payload of another":    join(parts[0], strings.Split(forge(t, k).sign(t, k), ".")[1], parts[2]),
		"a header that is null":   join(text([]byte("null")), parts[1], parts[2]),
		"a header that is a list": join(text([]byte("[]")), parts[1], parts[2]),
		"64 KiB":                  strings.Repeat("A", 1<<16),
		"64 KiB of dots":          strings.Repeat(".", 1<<16),
	} {
		if _, _, err := VerifyDPoP(text, "GET", target, start, skew, "s"); !refused(err) || len(err.Error()) > 300 {
			t.Errorf("%s: VerifyDPoP = %v, want a short error", name, err)
		}
	}
	if _, _, err := VerifyDPoP(proof, "GET", "/v1/messages", start, skew, "s"); !refused(err) {
		t.Errorf("a request without a host: VerifyDPoP = %v, want an error", err)
	}
}

// A proof with "alg": "none" and no signature is the classic of RFC 8725
// section 2.1.
func TestDPoPRefusesAlgNoneWithoutASignature(t *testing.T) {
	f := forge(t, generate(t))
	f.header["alg"] = "none"
	proof := text(must(t, f.header)) + "." + text(must(t, f.payload)) + "."
	if _, _, err := VerifyDPoP(proof, "GET", target, start, skew, "s"); !refused(err) {
		t.Errorf("VerifyDPoP = %v, want an error", err)
	}
}

func TestDPoPIsNotMadeForWhatIsNoRequest(t *testing.T) {
	k := generate(t)
	for _, url := range []string{"", "/v1/messages", "push.example.com", "mailto:ada@example.com", "ftp://push.example.com/", "https://", "https://ada:pw@push.example.com/", "https://push.example.com/\x7f"} {
		if proof, err := k.DPoP("GET", url, start, "s"); err == nil {
			t.Errorf("DPoP for %q = %q, want an error", url, proof)
		}
	}
}

func FuzzVerifyDPoP(f *testing.F) {
	k := generate(f)
	proof, err := k.DPoP("GET", target, start, "s")
	if err != nil {
		f.Fatal(err)
	}
	parts := strings.SplitN(proof, ".", 3)
	f.Add(raw(f, parts[0]), raw(f, parts[1]), raw(f, parts[2]))
	f.Add([]byte(`{"alg":"none","typ":"dpop+jwt"}`), []byte(`{"iat":1e400}`), []byte{})
	f.Add([]byte("{}"), []byte("null"), make([]byte, 64))
	f.Fuzz(func(t *testing.T, header, payload, signature []byte) {
		key, jti, err := VerifyDPoP(text(header)+"."+text(payload)+"."+text(signature), "GET", target, start, skew, "s")
		if (err == nil) != (key != nil && jti != "") || err != nil && !refused(err) {
			t.Fatalf("VerifyDPoP = %v, %q, %v, want a key and an id, or an error of its own", key, jti, err)
		}
	})
}
