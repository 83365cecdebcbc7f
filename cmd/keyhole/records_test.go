package main

import (
	"crypto/tls"
	"encoding/json"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"keyhole/internal/testkit"
)

// odd is a name with what a terminal may obey or show in another order: a C1 control, a mark that
// turns the direction, DEL, and a rune beyond 16 bits.
const odd, oddEscaped = "b\u0085\u202e\x7f\U0001f600", `b\u0085\u202e\u007f\ud83d\ude00`

// TestJSONLogsAreASCII has a client choose the name in a record, and a file's name be in the log.
func TestJSONLogsAreASCII(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.file = filepath.Join(filepath.Dir(s.file), odd)
	s.configure("log: {format: json}")
	edge := s.start()
	at := edge.stderr.Expect(t, `"msg":"listening","address":"([^"]*)"`)[1]
	const decodeError = tls.AlertError(50)
	if _, err := s.tryVisit(at, odd); err == nil || !strings.Contains(err.Error(), decodeError.Error()) {
		t.Errorf("connecting to %q: %v, want %v", odd, err, decodeError)
	}
	edge.signal(syscall.SIGHUP)
	edge.stderr.Expect(t, `"msg":"configuration reloaded"`)
	edge.stop()
	isASCII(t, "the access log", edge.stdout.String())
	isASCII(t, "the log", edge.stderr.String())
}

// isASCII wants lines of JSON in ASCII, and odd in one of them.
func isASCII(t *testing.T, what, text string) {
	t.Helper()
	found := false
	for line := range strings.Lines(text) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Errorf("%s has the line %q: %v", what, line, err)
		}
		file, _ := fields["file"].(string)
		found = found || fields["sni"] == odd || filepath.Base(file) == odd
	}
	raw := strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') })
	if raw || !found || !strings.Contains(text, oddEscaped) {
		t.Errorf("%s is\n%q\nwant ASCII, and %s in it", what, text, oddEscaped)
	}
}

// TestSkipNoBytes shows that a client which leaves without a byte has a record of its own kind, and
// that log.skip leaves it out and no other.
func TestSkipNoBytes(t *testing.T) {
	for _, c := range []struct {
		name, log string
		records   int
	}{{"kept", "log: {skip: []}", 1}, {"skipped", "log: {skip: [no_bytes]}", 0}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.configure(c.log)
			edge := s.start()
			at := edge.address()
			silent := testkit.Dial(t, at)
			silent.FIN()
			silent.WantEnd(nil)
			hasty := testkit.Dial(t, at)
			hasty.Send("\x16") // the first byte of a record
			hasty.FIN()
			hasty.WantEnd(nil)
			s.visit(at, demoShop).leave()
			edge.stop()
			edge.stderr.Expect(t, `msg=stopped accepted=3 `)
			edge.stdout.Expect(t, ` reason=client_gone phase=hello `)
			edge.stdout.Expect(t, ` sni=shop\.keyhole\.test .* reason=client_closed `)
			if n := strings.Count(edge.stdout.String(), " reason=no_bytes phase=hello "); n != c.records {
				t.Errorf("%d records say no_bytes, want %d:\n%s", n, c.records, edge.stdout)
			}
		})
	}
}
