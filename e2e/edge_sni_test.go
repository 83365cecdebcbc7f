package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"keyhole/internal/testkit"
)

// An internet is a namespace with public addresses, a private one and the name server of both, beside that of the edge.
// No packet leaves it.
type internet struct {
	edge, far *netns
	through   []string // runs the edge, with the name server

	mu      sync.Mutex
	answers map[string][]string // by name: records without their names, "1 IN A 9.9.9.2"
	asked   map[string]int
}

const (
	farOne   = "9.9.9.2"
	farTwo   = "9.9.9.3"
	farInner = "10.77.5.2"
	edgeOwn  = "9.9.9.1"
)

func newInternet(t *testing.T) *internet {
	t.Helper()
	i := &internet{edge: newNetns(t), far: newNetns(t), answers: map[string][]string{}, asked: map[string]int{}}
	i.edge.link("out", edgeOwn+"/24", i.far, farOne+"/24")
	i.edge.ip("address", "add", "10.77.5.1/24", "dev", "out")
	for _, a := range []string{farTwo + "/24", farInner + "/24"} {
		i.far.ip("address", "add", a, "dev", "out-far")
	}
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("search wrong.example\nnameserver "+farOne+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	i.through = append(i.edge.through(), "unshare", "--mount", "sh", "-c",
		`mount --bind "$0" /etc/resolv.conf && exec "$@"`, conf)
	i.serveDNS(t)
	return i
}

func (i *internet) serveDNS(t *testing.T) {
	t.Helper()
	i.far.do(func() {
		udp, err := net.ListenPacket("udp", farOne+":53")
		if err != nil {
			t.Fatal(err)
		}
		s := &dns.Server{PacketConn: udp, Handler: dns.HandlerFunc(i.answer)}
		ready := make(chan struct{})
		s.NotifyStartedFunc = func() { close(ready) }
		done := make(chan error, 1)
		go func() { done <- s.ActivateAndServe() }()
		<-ready
		t.Cleanup(func() {
			s.Shutdown()
			<-done
		})
	})
}

func (i *internet) answer(w dns.ResponseWriter, m *dns.Msg) {
	i.mu.Lock()
	defer i.mu.Unlock()
	name := m.Question[0].Name
	i.asked[name]++
	records, ok := i.answers[name]
	r := new(dns.Msg).SetReply(m)
	switch {
	case !ok:
		r.Rcode = dns.RcodeNameError
	case len(records) == 0:
		return // no answer at all
	}
	for _, text := range records {
		if rr, err := dns.NewRR(name + " " + text); err == nil && rr.Header().Rrtype == m.Question[0].Qtype {
			r.Answer = append(r.Answer, rr)
		}
	}
	w.WriteMsg(r)
}

// times returns how often a name was asked for.
func (i *internet) times(name string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked[name+"."]
}

// set gives a name its records; none at all is a name that is never answered.
func (i *internet) set(name string, records ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answers[name+"."] = records
}

const anyBackend = "backends: {any: {servers: [\"{sni}:443\"]}}\n"

// Real clients reach the origins that their names lead to, each name looked up once for the time that its answer holds.
func TestClientsReachTheNamesThemselves(t *testing.T) {
	t.Parallel()
	i := newInternet(t)
	e := planFor(t, plan{through: i.through, listen: "127.0.0.1:443", backends: anyBackend, routes: "  - {sni: \"**.example\", backend: any}\n"})
	for _, at := range []string{farOne, farTwo} {
		o, err := shared.newOrigin("sni-"+at[len(at)-1:], newECDSA)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("nsenter", "--net="+i.far.file(), "openssl", "s_server", "-accept", at+":443", "-WWW",
			"-cert", o.id.certFile, "-key", o.id.keyFile)
		cmd.Dir = shared.files
		testkit.LaunchFor(t, cmd).Expect(t, "ACCEPT")
		host := "www." + o.domain
		i.set(host, "60 IN A "+at)
		for range 2 {
			out := run(t, "nsenter", append([]string{"--net=" + i.edge.file(), "curl"}, curlArgs(e, o, "https://"+host+"/blob")...)...)
			expectBlob(t, out)
		}
		for _, r := range e.expect(t, host, 2) {
			if r.Server != at+":443" || r.Backend != "any" || r.Route != "**.example" {
				t.Errorf("record %+v, want server %s of backend any", r, at)
			}
		}
		if n := i.times(host); n != 2 {
			t.Errorf("the name server was asked for %s %d times, want twice: for A and for AAAA", host, n)
		}
	}
}

// A name that leads inside, to the edge or nowhere is refused, with a reason of its own.
func TestNamesThatMayNotBeReached(t *testing.T) {
	t.Parallel()
	i := newInternet(t)
	o := i.far.listen(farInner + ":443")
	e := planFor(t, plan{
		through: i.through, listen: "0.0.0.0:443", settings: "timeouts: {connect: 10m}\n",
		backends: "backends: {any: {servers: [\"{sni}:443\"]}, inside: {servers: [\"{sni}:443\"], to: [10.77.5.0/24, 127.0.0.0/8]}}\n",
		routes:   "  - {sni: \"**.out.example\", backend: any}\n  - {sni: \"**.in.example\", backend: inside}\n  - {sni: shop, backend: any}\n",
	})
	i.set("silent.out.example")
	i.set("shop.wrong.example", "60 IN A "+farTwo) // that the search list would lead to
	for _, c := range []struct{ name, records, alert, reason, err string }{
		{"private.out.example", "60 IN A " + farInner, "\x70", "denied_server", farInner + " is not a public address"},
		{"loopback.out.example", "60 IN A 127.0.0.1", "\x70", "denied_server", "127.0.0.1 is not a public address"},
		{"metadata.out.example", "60 IN A 169.254.169.254", "\x70", "denied_server", "169.254.169.254 is not a public address"},
		{"mapped.out.example", "60 IN AAAA ::ffff:10.77.5.2", "\x70", "denied_server", "10.77.5.2 is not a public address"},
		{"own.out.example", "60 IN A " + edgeOwn, "\x70", "denied_server", edgeOwn + " is an address of this machine"},
		{"any.out.example", "60 IN A 0.0.0.0", "\x70", "denied_server", "0.0.0.0 is no address of a server"},
		{"public.in.example", "60 IN A " + farTwo, "\x70", "denied_server", farTwo + " is in none of the networks in `to`"},
		{"edge.in.example", "60 IN A 127.0.0.1", "\x70", "denied_server", "127.0.0.1 is a listener of this edge"},
		{"missing.out.example", "", "\x70", "no_address", "the name has no address"},
		{"shop", "", "\x70", "no_address", "the name has no address"},
		{"silent.out.example", "", "\x50", "lookup_timeout", "the name was not resolved in time"}, // after two tries of 2 s
	} {
		if c.records != "" {
			i.set(c.name, c.records)
		}
		client := i.edge.dial("127.0.0.1:443")
		client.SendBytes(helloFor(t, c.name))
		client.Want("\x15\x03\x01\x00\x02\x02" + c.alert)
		client.WantEnd(nil)
		client.Close()
		if r := e.expect(t, c.name, 1)[0]; r.Reason != c.reason || r.Phase != "decide" || r.Server != "" || r.Error != c.err {
			t.Errorf("record %+v, want reason %s, phase decide, no server and the error %q", r, c.reason, c.err)
		}
	}
	i.set("both.in.example", "60 IN A 127.0.0.1", "60 IN A "+farInner, "60 IN A "+farTwo)
	client := i.edge.dial("127.0.0.1:443")
	hello := helloFor(t, "both.in.example")
	client.SendBytes(hello)
	o.Accept().WantBytes(hello)
}

// A name that moves inside once it has been used leads nowhere when its time is over, and open connections stay.
func TestNameMovesInside(t *testing.T) {
	t.Parallel()
	i := newInternet(t)
	outside := i.far.listen(farTwo + ":443")
	inside := i.far.listen(farInner + ":443")
	e := planFor(t, plan{through: i.through, listen: "127.0.0.1:443", backends: anyBackend, routes: "  - {sni: moves.example, backend: any}\n"})
	i.set("moves.example", "1 IN A "+farTwo)
	hello := helloFor(t, "moves.example")
	first := i.edge.dial("127.0.0.1:443")
	first.SendBytes(hello)
	stays := outside.Accept()
	stays.WantBytes(hello)
	outside.Echo()
	i.set("moves.example", "1 IN A "+farInner)
	for { // until the first answer has expired
		client := i.edge.dial("127.0.0.1:443")
		client.SendBytes(hello)
		one := make([]byte, 1)
		if _, err := client.Read(one); err != nil {
			t.Fatal(err)
		}
		client.Close()
		r := e.expect(t, "moves.example", 1)[0]
		if r.Reason == "denied_server" {
			break
		} else if r.Server != farTwo+":443" {
			t.Fatalf("record %+v, want server %s or the reason denied_server", r, farTwo)
		}
	}
	stays.Send("still here")
	first.Want("still here")
	inside.Close()
	if c, err := inside.Listener.Accept(); err == nil {
		c.Close()
		t.Error("a client got inside")
	}
}

// Each listener's clients reach the server at the port that they came in by.
func TestServerAtThePortOfTheListener(t *testing.T) {
	t.Parallel()
	i := newInternet(t)
	e := edgeFor(t, setup{through: i.through, config: "listen: [{address: \"127.0.0.1:993\"}, {address: \"127.0.0.1:6443\"}]\n" +
		"log: {format: json, access: stdout}\nbackends:\n  fixed: {servers: [{address: " + farInner + ", port: listen}]}\n" +
		"  named: {servers: [{address: \"{sni}\", port: listen}], to: 10.77.5.0/24}\n" +
		"routes: [{sni: fixed.example, backend: fixed}, {sni: named.example, backend: named}]\n"})
	i.set("named.example", "60 IN A "+farInner)
	for _, port := range []string{"993", "6443"} {
		o := i.far.listen(farInner + ":" + port)
		for _, name := range []string{"fixed.example", "named.example"} {
			client := i.edge.dial("127.0.0.1:" + port)
			hello := helloFor(t, name)
			client.SendBytes(hello)
			server := o.Accept()
			server.WantBytes(hello)
			client.Close()
			server.Close()
			if r := e.expect(t, name, 1)[0]; r.Server != farInner+":listen" {
				t.Errorf("record %+v, want server %s:listen", r, farInner)
			}
		}
	}
}
