package proxy

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"keyhole/backend"
	"keyhole/proxy/relay"
	"keyhole/routes"
	"keyhole/sni"
)

// A record is what is written of one connection. It lives in a ring and is
// overwritten by a later one; the byte slices keep their room.
type record struct {
	relay.Summary
	reason           Reason
	phase            relay.Phase
	client, peer     netip.AddrPort // the peer is valid if it is another's proxy
	listener         string
	literal          bool
	sni, alpn, route []byte
	id               [idSize]byte
	identified       bool    // id is set
	ja4              sni.JA4 // zero: not known
	outcome          routes.Outcome
	pool             *backend.Pool
	endpoint         *backend.Endpoint // the one that served, or the last that was tried
	attempts         uint8
	err              error
}

// record hands the connection's record to the writer, or counts it as
// dropped when the writer is behind.
func (s *session) record(sum relay.Summary) {
	reason, phase := s.reason, s.phase
	if sum.Reason != relay.Rejected {
		reason, phase = ofRelay[sum.Reason], sum.Phase
	}
	if reason == ClientGone && !s.heard && !s.clear {
		reason = NoBytes
		if s.desk.ring.log.skipNoBytes {
			return
		}
	}
	r := s.desk.ring.reserve()
	if r == nil {
		return
	}
	r.Summary, r.reason, r.phase = sum, reason, phase
	r.client, r.literal, r.listener = s.client(), s.literal, ""
	if ln := s.listener(); ln != nil {
		r.listener = ln.Name
	}
	if r.peer = (netip.AddrPort{}); s.proxied {
		r.peer = s.conn.Peer()
	}
	if r.identified = s.id != 0; r.identified {
		s.desk.server.appendID(r.id[:0], s.id)
	}
	r.sni = append(r.sni[:0], s.name...)
	r.alpn = append(r.alpn[:0], s.alpn...)
	r.route = append(r.route[:0], s.route...)
	if r.ja4 = (sni.JA4{}); s.ja4 != nil {
		r.ja4 = *s.ja4
	}
	r.outcome, r.pool, r.attempts, r.err = s.outcome, s.pool, s.attempts, s.err
	r.endpoint = s.endpoint
	if r.endpoint == nil && len(s.tried) > 0 {
		r.endpoint = s.tried[len(s.tried)-1]
	}
	if sum.Phase == relay.PhaseRelay && sum.Reason != relay.Rejected {
		r.err = nil // an earlier server's
	}
	s.desk.ring.commit()
}

// A Format is how records are written.
type Format uint8

// The formats: a line of key=value pairs, or one JSON object a line.
const (
	Text Format = iota
	JSON
)

// line collects one record's fields in one of the two formats.
type line struct {
	format Format
	b      []byte
	first  bool
}

// appendRecord appends r and a newline to b.
func appendRecord(b []byte, f Format, r *record) []byte {
	l := line{format: f, b: b, first: true}
	if f == JSON {
		l.b = append(l.b, '{')
	}
	l.time("time", r.Start)
	l.client("client", r.client)
	if r.peer.IsValid() {
		l.client("peer", r.peer)
	}
	if r.listener != "" {
		l.text("listen", r.listener)
	}
	l.bytes("sni", r.sni)
	l.bytes("alpn", r.alpn)
	if r.ja4 != (sni.JA4{}) {
		l.text("ja4", r.ja4.String())
	}
	l.decision(r)
	l.text("reason", r.reason.String())
	l.text("phase", r.phase.String())
	l.number("up", r.Up)
	l.number("down", r.Down)
	l.millis("hello_ms", r.Hello)
	l.millis("dial_ms", r.Dial)
	l.millis("total_ms", r.Total)
	if r.err == nil && r.literal {
		l.text("error", errLiteral.Error())
	} else if r.err != nil {
		l.text("error", r.err.Error())
	}
	if f == JSON {
		l.b = append(l.b, '}')
	}
	return append(l.b, '\n')
}

func (l *line) decision(r *record) {
	switch r.outcome {
	case routes.MatchedDefault:
		l.text("route", "default")
	case routes.MatchedNoName:
		l.text("route", "no_sni")
	default:
		l.bytes("route", r.route)
	}
	if r.pool != nil {
		l.text("backend", r.pool.Name())
	}
	if r.endpoint != nil {
		l.text("server", r.endpoint.String())
		l.number("attempts", uint64(r.attempts))
	}
	if r.identified {
		l.text("id", string(r.id[:]))
	}
}

func (l *line) key(k string) {
	if l.format == JSON {
		if !l.first {
			l.b = append(l.b, ',')
		}
		l.b = append(append(append(l.b, '"'), k...), '"', ':')
	} else {
		if !l.first {
			l.b = append(l.b, ' ')
		}
		l.b = append(append(l.b, k...), '=')
	}
	l.first = false
}

func (l *line) time(k string, t time.Time) {
	l.key(k)
	const layout = "2006-01-02T15:04:05.000Z07:00"
	if l.format == JSON {
		l.b = append(t.UTC().AppendFormat(append(l.b, '"'), layout), '"')
		return
	}
	l.b = t.UTC().AppendFormat(l.b, layout)
}

func (l *line) client(k string, a netip.AddrPort) {
	l.key(k)
	if l.format == JSON {
		l.b = append(a.AppendTo(append(l.b, '"')), '"')
		return
	}
	l.b = a.AppendTo(l.b)
}

func (l *line) number(k string, n uint64) {
	l.key(k)
	l.b = strconv.AppendUint(l.b, n, 10)
}

// millis writes milliseconds with microseconds behind the point; a step that
// was not reached is left out.
func (l *line) millis(k string, d time.Duration) {
	if d < 0 {
		return
	}
	l.key(k)
	l.b = strconv.AppendFloat(l.b, float64(d.Microseconds())/1000, 'f', 3, 64)
}

// bytes writes what came from the client or the table; nothing when there is
// nothing.
func (l *line) bytes(k string, v []byte) {
	if len(v) > 0 {
		l.text(k, string(v))
	}
}

// text quotes what needs it: a client chooses its name, and must not be able
// to forge a field or a line.
func (l *line) text(k, v string) {
	l.key(k)
	switch {
	case l.format == JSON && plain(v):
		l.b = append(append(append(l.b, '"'), v...), '"')
	case l.format == JSON:
		quoted, _ := json.Marshal(v) // a string always marshals
		l.b = AppendASCII(l.b, quoted)
	case plain(v) && v != "":
		l.b = append(l.b, v...)
	default:
		l.b = strconv.AppendQuoteToASCII(l.b, v)
	}
}

// AppendASCII appends JSON to dst with everything from DEL on escaped, which
// JSON has in strings only: C1 controls and bidirectional marks would reach the
// terminal that shows the log.
func AppendASCII(dst, j []byte) []byte {
	for len(j) > 0 {
		if j[0] < 0x7f {
			dst, j = append(dst, j[0]), j[1:]
			continue
		}
		c, n := utf8.DecodeRune(j)
		if hi, lo := utf16.EncodeRune(c); hi != utf8.RuneError {
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, hi, lo)
		} else {
			dst = fmt.Appendf(dst, `\u%04x`, c)
		}
		j = j[n:]
	}
	return dst
}

// plain reports whether v needs no quotes and no escapes in either format.
func plain(v string) bool {
	for i := range len(v) {
		switch c := v[i]; {
		case c <= ' ' || c >= 0x7f, c == '"', c == '\\', c == '=', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}
