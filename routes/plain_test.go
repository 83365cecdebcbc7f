package routes

import (
	"testing"
	"time"

	"keyhole/sni"
)

// plainRule is a rule for a text or the name of a protocol.
func plainRule(what string) PlainRule {
	g, ok := sni.GreetingOf(what)
	if !ok {
		g = sni.Text(what)
	}
	return PlainRule{Label: "not_tls " + what, Begins: &g, Route: &Route{}}
}

func silentRule(d time.Duration) PlainRule {
	return PlainRule{Label: "not_tls silent", Silent: d, Route: &Route{}}
}

var restRule = PlainRule{Label: "not_tls", Route: &Route{}}

// The first rule that fits takes the client, and one that may still fit is
// waited for.
func TestPlainFind(t *testing.T) {
	p := Plain{plainRule("SSH-2"), silentRule(time.Second), plainRule("SSH-"), plainRule("http"), restRule}
	for b, want := range map[string]string{
		"SSH-2.0": "not_tls SSH-2", "SSH-1.5": "not_tls SSH-", "SSH-": "", "S": "", "SS\n": "not_tls",
		"GET /": "not_tls http", "GET": "", "GOT": "not_tls", "\x00": "not_tls",
	} {
		for n := 1; n <= len(b); n++ {
			rule, settled := p.Find([]byte(b[:n]))
			if settled != (rule != nil) {
				t.Errorf("Find(%q) = %v, settled: %t", b[:n], rule, settled)
			}
			if settled && rule.Label != want || n == len(b) && settled != (want != "") {
				t.Errorf("Find(%q) = %v, want %q", b[:n], rule, want)
			}
		}
	}
	if rule, settled := p[:4].Find([]byte("x")); rule != nil || !settled {
		t.Errorf("Find without a catch-all = %v, %t, want nil and true", rule, settled)
	}
	if got := p.Silent(); got != &p[1] {
		t.Errorf("Silent() = %v, want the second rule", got)
	}
	if got := (Plain{restRule}).Silent(); got != nil {
		t.Errorf("Silent() = %v, want none", got)
	}
}

func TestPlainHides(t *testing.T) {
	for _, c := range []struct {
		before Plain
		rule   PlainRule
		want   bool
	}{
		{Plain{plainRule("SSH-")}, plainRule("SSH-2.0"), true},
		{Plain{plainRule("SSH-2.0")}, plainRule("SSH-"), false},
		{Plain{plainRule("http")}, plainRule("POST /x"), true},
		{Plain{restRule}, plainRule("http"), true},
		{Plain{restRule}, restRule, true},
		{Plain{plainRule("http")}, restRule, false},
		{Plain{restRule}, silentRule(time.Second), false},
		{Plain{silentRule(time.Minute)}, silentRule(time.Second), true},
		{Plain{silentRule(time.Second)}, restRule, false},
	} {
		if got := c.before.Hides(&c.rule); (got != nil) != c.want {
			t.Errorf("%v behind %v: Hides = %v, want %t", c.rule.Label, c.before[0].Label, got, c.want)
		}
	}
}

func TestPlainFindAllocatesNothing(t *testing.T) {
	p := Plain{plainRule("SSH-"), plainRule("http"), plainRule("stun"), plainRule("postgres"), silentRule(1), restRule}
	b := []byte("\x00\x00\x00\x29\x00\x03\x00\x00user")
	if n := testing.AllocsPerRun(100, func() {
		if rule, settled := p.Find(b); !settled || rule != &p[3] {
			t.Fatal("another rule")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestPlainExplain(t *testing.T) {
	p := Plain{plainRule("SSH-"), silentRule(time.Second), plainRule("\x05\x01"), restRule}
	for i := range p {
		p[i].Route = &Route{Line: i + 7}
	}
	for b, want := range map[string]string{
		"x": "matched: not_tls, line 10\n" +
			"  not_tls SSH-        line 7   passed over: the bytes begin otherwise\n" +
			"  not_tls silent      line 8   passed over: the client has sent bytes\n" +
			"  \"not_tls \\x05\\x01\"  line 9   passed over: the bytes begin otherwise\n" +
			"  not_tls             line 10  taken: takes what no earlier rule takes\n",
		"S": "not settled: more bytes decide, and without them the connection is closed when the hello times out\n" +
			"  not_tls SSH-        line 7   open: the bytes begin so, and are too few\n" +
			"  not_tls silent      line 8   beaten: an earlier rule goes before it\n" +
			"  \"not_tls \\x05\\x01\"  line 9   beaten: an earlier rule goes before it\n" +
			"  not_tls             line 10  beaten: an earlier rule goes before it\n",
		"": "matched: not_tls silent, line 8\n" +
			"  not_tls SSH-        line 7   passed over: the client has sent nothing\n" +
			"  not_tls silent      line 8   taken: the client has sent nothing for 1s\n" +
			"  \"not_tls \\x05\\x01\"  line 9   beaten: an earlier rule goes before it\n" +
			"  not_tls             line 10  beaten: an earlier rule goes before it\n",
	} {
		if _, got := p.Explain([]byte(b)); got != want {
			t.Errorf("Explain(%q) =\n%s\nwant\n%s", b, got, want)
		}
	}
	if rule, got := (Plain{plainRule("SSH-")}).Explain([]byte("x")); rule != nil || got[:8] != "no rule\n" {
		t.Errorf("Explain without a rule = %v, %q", rule, got)
	}
}

// FuzzPlain checks that what the rules decide does not depend on how the bytes were cut, and that a
// decision stays.
func FuzzPlain(f *testing.F) {
	for _, s := range []string{"SSH-2.0", "GET / HTTP/1.1", "\x05\x01\x00", "\x00\x00\x00\x08\x04\xd2\x16\x2f", "\x00\x0e\x38", "<?xml", "PRI * HTTP/2", "x"} {
		f.Add([]byte(s), "SSH-", uint8(7))
		f.Add([]byte(s), "P", uint8(255))
	}
	f.Fuzz(func(t *testing.T, b []byte, text string, which uint8) {
		if text == "" || len(b) == 0 {
			return
		}
		var p Plain
		for i, name := range append(sni.Greetings(), text, text+"x") {
			if which>>i&1 == 1 {
				p = append(p, plainRule(name))
			}
		}
		p = append(p, silentRule(time.Second), restRule)
		want, whole := p.Find(b)
		for n := 1; n < len(b); n++ {
			rule, settled := p.Find(b[:n])
			if settled && (rule != want || !whole) {
				t.Fatalf("Find(%q) = %v, and after %d bytes %v", b, want, n, rule)
			}
		}
		if rule, settled := p.Find(append(b[:len(b):len(b)], "and more"...)); whole && (rule != want || !settled) {
			t.Fatalf("Find(%q) = %v, and with more bytes %v", b, want, rule)
		}
	})
}
