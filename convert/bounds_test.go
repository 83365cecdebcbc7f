package convert

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// Hostile files end in ErrTooLarge, or are converted in a moment: the work for each grows with its size
// alone, or has a bound.
func TestWorkIsBounded(t *testing.T) {
	repeat := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	self := given{"f": "include f;include f;", "names": repeat(20_000, "a%d.example\n")}
	for _, c := range []struct {
		name, text string
		from       Language
		large      bool
	}{
		{"names in many rules", haproxyHead + "acl a req.ssl_sni -f names\n" + repeat(20_000, "use_backend a if a !{ req.ssl_sni b%d.example }\n") + haproxyTail, HAProxy, true},
		{"rules for all names", haproxyHead + repeat(20_000, "use_backend a if !{ req.ssl_sni b%d.example }\n") + haproxyTail, HAProxy, true},
		{"networks in many entries", haproxyHead + repeat(3_000, "use_backend a if { req.ssl_sni b%[1]d.example }\nuse_backend b if { src 2001:db8::%[1]x } || { src 192.0.2.0/24 }\n") + haproxyTail, HAProxy, true},
		{"a long condition", haproxyHead + "use_backend a if" + repeat(100_000, " { req.ssl_sni b%d.example }") + haproxyTail, HAProxy, false},
		{"many alternatives", haproxyHead + "use_backend a if" + repeat(100_000, " { req.ssl_sni b%d.example } or") + haproxyTail, HAProxy, false},
		{"many lines of one acl", haproxyHead + repeat(100_000, "acl a src 2001:db8::%x\nacl a req.ssl_sni a.example\n") + "use_backend a if !a\n" + haproxyTail, HAProxy, false},
		{"many servers", haproxyHead + "use_backend a if { req.ssl_sni a.example }\nbackend a\n" + repeat(50_000, "server s 10.0.0.1:%d\n"), HAProxy, false},
		{"many binds", "frontend f\n" + repeat(50_000, "bind 10.0.0.1:%d\n") + "use_backend a if { req.ssl_sni a.example }" + haproxyTail, HAProxy, false},
		{"maps of maps", "map $ssl_preread_server_name $up {\n" + repeat(1000, "a%d.example $up;\n") + "}\nserver { listen 443; ssl_preread on; proxy_pass $up; }", Nginx, true},
		{"files that include themselves", "include f;\n", Nginx, true},
		{"blocks in blocks", strings.Repeat("a {", 100_000), Nginx, true},
		{"expressions", nameMap + repeat(5_000, "~^(a|b|c|d)?(e|f|g)?(h|i|j)?%d(\\.|k|l)+.example$ 10.0.0.1:443;\n") + "}\nserver { listen 443; ssl_preread on; proxy_pass $up; }", Nginx, false},
		{"names that become one", repeat(20_000, "upstream a%c { server 10.0.0.1:443; }\n") + nameMap + repeat(20_000, "%[1]d.example a%[1]c;\n") + "}\nserver { listen 443; ssl_preread on; proxy_pass $up; }", Nginx, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Convert("f", []byte(c.text), c.from, self.files())
			if large := errors.Is(err, ErrTooLarge); large != c.large {
				t.Errorf("Convert of %d bytes = %v with %d bytes and %d notes, want ErrTooLarge: %t", len(c.text), err, len(r.YAML), len(r.Notes), c.large)
			}
		})
	}
}
