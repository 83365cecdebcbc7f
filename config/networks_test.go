package config

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
)

func admits(c *Config, route int, client string) bool {
	return c.Routes[route].Access.Admits(netip.MustParseAddr(client))
}

func TestNetworkFiles(t *testing.T) {
	folder(t, map[string]string{
		"k.yaml": listenLine + "include: sites/*.yaml\nroutes:\n" +
			"  - {sni: a.example, backend: \"10.0.0.5:443\", allow: \"@lists/cdn.txt\"}\n" +
			"  - {sni: b.example, backend: \"10.0.0.5:443\", allow: [203.0.113.7, \"@lists/cdn.txt\"], deny: [\"@lists/bad.txt\"]}\n" +
			"  - {sni: c.example, backend: \"10.0.0.5:443\", from: [\"@lists/cdn.txt\"]}\n",
		"sites/d.yaml":   "routes: [{sni: d.example, backend: \"10.0.0.5:443\", allow: [\"@../lists/cdn.txt\"]}]\n",
		"lists/cdn.txt":  "\ufeff# the CDN\r\n\r\n198.51.100.0/24\r\n  2001:db8::/32 # all of it\r\n198.51.100.0/24\r\n::ffff:192.0.2.0/120#mapped",
		"lists/bad.txt":  "198.51.100.66\n",
		"lists/more.txt": "",
	})
	c, err := Load("k.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		route  int
		client string
		want   bool
	}{
		{0, "198.51.100.66", true}, {0, "2001:db8::1", true}, {0, "192.0.2.9", true}, {0, "203.0.113.7", false},
		{1, "198.51.100.66", false}, {1, "198.51.100.67", true}, {1, "203.0.113.7", true}, {1, "203.0.113.8", false},
		{3, "198.51.100.66", true}, {3, "203.0.113.7", false},
	} {
		if got := admits(c, tc.route, tc.client); got != tc.want {
			t.Errorf("route %d lets %s in: %v, want %v", tc.route, tc.client, got, tc.want)
		}
	}
	if got := len(c.Routes[2].When.From); got == 0 {
		t.Error("from has no network of the file")
	}
	if c.Routes[0].Access != c.Routes[3].Access {
		t.Error("two routes with one file have an Access each, want one")
	}
}

func TestNetworkFileProblems(t *testing.T) {
	const remedy = "; list one or more, or leave the file out of the configuration"
	for _, c := range []struct{ name, list, text, want string }{
		{"wrong lines", "a.txt", "10.0.0.0/8\n10.0.0.1/8\n\n  # x\n\t 1.2.3\n2001:db8::1/32 # y\nexample.com\n10.0.0.0/8, 10.1.0.0/16\n\xff\n",
			"a.txt:2:1: \"10.0.0.1/8\": has bits set beyond its length, did you mean \"10.0.0.0/8\"?\n" +
				"a.txt:5:3: \"1.2.3\": not an address or a network, write 192.0.2.7 or 192.0.2.0/24\n" +
				"a.txt:6:1: \"2001:db8::1/32\": has bits set beyond its length, did you mean \"2001:db8::/32\"?\n" +
				"a.txt:7:1: \"example.com\": not an address or a network, write 192.0.2.7 or 192.0.2.0/24\n" +
				"a.txt:8:1: \"10.0.0.0/8, 10.1.0.0/16\": not an address or a network, write 192.0.2.7 or 192.0.2.0/24\n" +
				"a.txt:9:1: \"\\xff\": not an address or a network, write 192.0.2.7 or 192.0.2.0/24"},
		{"empty", "a.txt", "", "a.txt:1:1: the file has no network" + remedy},
		{"only comments", "a.txt", "# none\n\n", "a.txt:1:1: the file has no network" + remedy},
		{"missing", "b.txt", "", "k.yaml:2:59: allow \"@b.txt\": read b.txt: no such file or directory; a path is relative to the file that names it"},
		{"folder", ".", "", "k.yaml:2:59: allow \"@.\": read .: is a directory, want a regular file"},
		{"no name", "", "", "k.yaml:2:59: allow \"@\": names no file, write \"@networks.txt\""},
		{"another kind of file", "a.txt", strings.Repeat("{\n", 1000),
			strings.Join(func() (all []string) {
				for i := range maxBadLines {
					all = append(all, fmt.Sprintf("a.txt:%d:1: \"{\": not an address or a network, write 192.0.2.7 or 192.0.2.0/24", i+1))
				}
				return append(all, fmt.Sprintf("a.txt:%d:1: and further lines that hold no network", maxBadLines+1))
			}(), "\n")},
	} {
		t.Run(c.name, func(t *testing.T) {
			route := "{sni: a.example, backend: \"10.0.0.5:443\", allow: \"@" + c.list + "\"}"
			text := listenLine + "routes: [" + route + ", " + strings.Replace(route, "a.ex", "b.ex", 1) + "]\n"
			folder(t, map[string]string{"a.txt": c.text, "k.yaml": text})
			_, err := Load("k.yaml")
			if err == nil {
				t.Fatalf("Load = nil error, want %s", c.want)
			}
			// A problem of the file itself is reported once, one of the name at each place.
			got := err.Error()
			if !strings.HasPrefix(got, c.want) || strings.HasPrefix(c.want, "a.txt") && got != c.want {
				t.Errorf("Load =\n%v\nwant\n%s", err, c.want)
			}
		})
	}
}

func TestForgottenAt(t *testing.T) {
	checkProblems(t, []problemCase{{
		"a file without @",
		listenLine + "routes:\n  - {sni: a.example, backend: \"10.0.0.5:443\", allow: [cdn.txt, /etc/cdn, ./cdn, cdn]}\n",
		"3:55: allow \"cdn.txt\": not an address or a network, did you mean \"@cdn.txt\", those in a file?\n" +
			"3:64: allow \"/etc/cdn\": not an address or a network, did you mean \"@/etc/cdn\", those in a file?\n" +
			"3:74: allow \"./cdn\": not an address or a network, did you mean \"@./cdn\", those in a file?\n" +
			"3:81: allow \"cdn\": not an address or a network, write 192.0.2.7 or 192.0.2.0/24",
	}})
}

// A file is read once for all routes that name it, and shared by them.
func TestNetworkFileIsReadOnce(t *testing.T) {
	reads := map[string]int{}
	s := Source{ReadFile: func(name string, limit int64) ([]byte, error) {
		reads[name]++
		return []byte("192.0.2.0/24\n"), nil
	}}
	var text strings.Builder
	text.WriteString(listenLine + "routes:\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "  - {sni: h%d.example, backend: \"10.0.0.5:443\", allow: [\"@lists/./a.txt\"], deny: [\"@b.txt\", 192.0.2.%d]}\n", i, i%2)
	}
	text.WriteString("  - {sni: y.example, backend: \"10.0.0.5:443\", allow: [\"@lists/a.txt\"]}\n")
	s.ReadFile = func(name string, limit int64) ([]byte, error) {
		reads[name]++
		if name == "b.txt" {
			return []byte("192.0.2.128/25\n"), nil
		}
		return []byte("192.0.2.0/24\n"), nil
	}
	if _, err := s.Parse("k.yaml", []byte(text.String())); err != nil {
		t.Fatal(err)
	}
	if reads["lists/a.txt"] != 1 || reads["b.txt"] != 1 || len(reads) != 2 {
		t.Errorf("the files are read %v times, want each once", reads)
	}
}

func BenchmarkNetworkFile(b *testing.B) {
	var list bytes.Buffer
	for i := range 1_000_000 {
		fmt.Fprintf(&list, "%d.%d.%d.%d/32\n", 1+i>>20, i>>12&255, i>>4&255, i&15<<4)
	}
	folder(b, map[string]string{"k.yaml": listenLine + "routes: [{sni: a.example, backend: \"10.0.0.5:443\", allow: [\"@a.txt\"]}, {sni: b.example, backend: \"10.0.0.5:443\", allow: [\"@a.txt\"]}]\n"})
	if err := os.WriteFile("a.txt", list.Bytes(), 0o644); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load("k.yaml"); err != nil {
			b.Fatal(err)
		}
	}
}
