package config

import (
	"testing"

	"keyhole/routes"
	"keyhole/sni"
)

const (
	chromium = "t13d1516h2_8daaf6152771_02713d6af862"
	python   = "t13i181000_85036bcba153_d41ae481755e"
)

func ja4Of(t *testing.T, s string) *sni.JA4 {
	t.Helper()
	j, err := routes.ParseJA4(s)
	if err != nil {
		t.Fatal(err)
	}
	return &j
}

func TestJA4Lists(t *testing.T) {
	c := mustParse(t, `listen: [{address: ":443"}]
log: {ja4: true}
limits: {ja4: {deny: `+python+`}}
routes:
  - {sni: open.example, backend: "10.0.0.5:1"}
  - {sni: denies.example, backend: "10.0.0.5:1", ja4: {deny: [`+chromium+`]}}
  - {sni: allows.example, backend: "10.0.0.5:1", ja4: {allow: [`+chromium+`]}}
default: {backend: "10.0.0.6:1", ja4: {allow: `+chromium+`}}
no_sni: {backend: "10.0.0.6:1", ja4: {deny: `+chromium+`}}
`)
	if !c.Log.JA4 || !c.Table.WantsJA4() {
		t.Errorf("log.ja4 = %t, WantsJA4() = %t, want true", c.Log.JA4, c.Table.WantsJA4())
	}
	other := ja4Of(t, "t12d280700_d943125447b4_e7e480e5a997")
	for _, x := range []struct {
		name string
		ja4  *sni.JA4
		want routes.Outcome
	}{
		{"open.example", ja4Of(t, chromium), routes.Matched},
		{"open.example", ja4Of(t, python), routes.DeniedJA4},
		{"open.example", nil, routes.Matched},
		{"denies.example", ja4Of(t, chromium), routes.DeniedJA4},
		{"denies.example", other, routes.Matched},
		{"allows.example", ja4Of(t, chromium), routes.Matched},
		{"allows.example", other, routes.DeniedJA4},
		{"allows.example", nil, routes.DeniedJA4},
		{"none.example", ja4Of(t, chromium), routes.MatchedDefault},
		{"none.example", other, routes.DeniedJA4},
		{"", ja4Of(t, chromium), routes.DeniedJA4},
		{"", ja4Of(t, python), routes.DeniedJA4},
		{"", other, routes.MatchedNoName},
	} {
		q := routes.Query{JA4: x.ja4, Listener: routes.NoListener}
		if x.name != "" {
			q.Name = []byte(x.name)
		}
		if m := c.Table.Lookup(q); m.Outcome != x.want {
			t.Errorf("Lookup(%q, %v) = %v, want %v", x.name, x.ja4, m.Outcome, x.want)
		}
	}
}

func TestJA4Problems(t *testing.T) {
	route := func(ja4 string) string {
		return "listen: [{address: \":443\"}]\nroutes: [{sni: a.example, backend: \"10.0.0.5:1\", ja4: " + ja4 + "}]\n"
	}
	const shape = "is no JA4, write one as t13d1516h2_8daaf6152771_02713d6af862"
	checkProblems(t, []problemCase{
		{"no mapping", route(chromium), "2:55: `ja4` must be a mapping such as {deny: [t13d1516h2_8daaf6152771_02713d6af862]}, got \"" + chromium + "\""},
		{"unknown key", route("{denny: " + chromium + "}"), "2:56: unknown key `denny`, did you mean `deny`?"},
		{"no list", route("{}"), "2:55: `ja4` has no effect without `allow` or `deny`"},
		{"cut short", route("{deny: t13d1516h2_8daaf6152771}"), "2:62: deny \"t13d1516h2_8daaf6152771\" " + shape},
		{"a JA3", route("{deny: 773906b0efdefa24a7f2b8eb6985bf37}"), "2:62: deny \"773906b0efdefa24a7f2b8eb6985bf37\" " + shape},
		{"capitals", route("{allow: [t13d1516h2_8DAAF6152771_02713d6af862]}"), "2:64: allow \"t13d1516h2_8DAAF6152771_02713d6af862\" is no JA4, write its hexadecimal digits in lower case"},
		{"QUIC", route("{deny: q13d0312h3_55b375c5d22e_06cda9e17597}"), "2:62: deny \"q13d0312h3_55b375c5d22e_06cda9e17597\" is no JA4 of a hello over TCP, which begins with t"},
		{"twice", route("{deny: [" + chromium + ", " + chromium + "]}"), "2:101: duplicate JA4 \"" + chromium + "\""},
		{"in both", route("{allow: " + chromium + ", deny: [" + chromium + "]}"), "2:107: ja4 deny " + chromium + " is in allow too"},
		{
			"no backend", "listen: [{address: \":443\"}]\nroutes: [{sni: a.example, reject: reset, ja4: {deny: " + chromium + "}}]\ndefault: {backend: \"10.0.0.5:1\"}\n",
			"2:42: `ja4` has no effect without a backend, every client is rejected",
		},
		{
			"no hello", "listen: [{address: \":443\", not_tls: [{begins: http, backend: \"10.0.0.5:1\", ja4: {deny: " + chromium + "}}]}]\nroutes: [{sni: a.example, backend: \"10.0.0.5:1\"}]\n",
			"1:76: unknown key `ja4`: what is no TLS has no JA4",
		},
		{
			"log", "listen: [{address: \":443\"}]\nlog: {ja4: on}\nroutes: [{sni: a.example, backend: \"10.0.0.5:1\"}]\n",
			"2:12: `ja4` must be true or false, got \"on\"",
		},
	})
}
