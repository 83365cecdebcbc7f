package main

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestBothFamilies shows that [::] leaves IPv4 to 0.0.0.0 on one port, whichever comes first, and
// that it takes both when it is alone.
func TestBothFamilies(t *testing.T) {
	for _, c := range []struct {
		name      string
		hosts     []string
		four, six string // the listeners of clients by IPv4 and by IPv6
	}{
		{"IPv6 first", []string{"[::]", "0.0.0.0"}, "0.0.0.0", "[::]"},
		{"IPv4 first", []string{"0.0.0.0", "[::]"}, "0.0.0.0", "[::]"},
		{"IPv6 alone", []string{"[::]"}, "[::]", "[::]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			edge, port := s.startOnFreePort(c.hosts)
			for host, listener := range map[string]string{"127.0.0.1": c.four, "[::1]": c.six} {
				s.visit(host+":"+port, demoShop).leave()
				edge.stdout.Expect(t, ` client=`+regexp.QuoteMeta(host)+`:\d+ listen="?`+regexp.QuoteMeta(listener)+`:`+port+`"? `)
			}
			edge.stop()
		})
	}
}

// startOnFreePort runs an edge that listens on some hosts, all on one port. Port 0 would give each
// one of its own. Another process may take the port that was free; then the edge tries the next.
func (s *site) startOnFreePort(hosts []string) (edge *process, port string) {
	s.Helper()
	var last error
	for range 10 {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			s.Fatal(err)
		}
		_, port, _ = net.SplitHostPort(l.Addr().String())
		l.Close()
		var listeners []string
		for _, h := range hosts {
			listeners = append(listeners, fmt.Sprintf("{address: %q}", h+":"+port))
		}
		text := strings.Replace(s.text(), `{address: "127.0.0.1:0"}`, strings.Join(listeners, ", "), 1)
		if err := os.WriteFile(s.file, []byte(text), 0o644); err != nil {
			s.Fatal(err)
		}
		edge = s.start()
		open := regexp.MustCompile(`msg=listening address=` + regexp.QuoteMeta(hosts[len(hosts)-1]+":"+port))
		if _, last = edge.program.Await(open); last == nil {
			return edge, port
		}
		if !strings.Contains(last.Error(), "address already in use") {
			s.Fatal(last)
		}
	}
	s.Fatalf("ten ports that were free are not any more: %v", last)
	return nil, ""
}
