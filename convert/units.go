package convert

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"keyhole/address"
)

var spans = regexp.MustCompile(`([0-9]{1,12})(ms|us|[smhdwMy]?)`)

// units are those of HAProxy and nginx.
var units = map[string]time.Duration{
	"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
	"d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "M": 30 * 24 * time.Hour, "y": 365 * 24 * time.Hour,
}

// maxDuration is the longest that Keyhole takes.
const maxDuration = 720 * time.Hour

// duration reads a time of HAProxy or nginx, such as 50s or 1h30m; bare is the unit of a number
// alone. What Keyhole takes begins with 1ms.
func duration(s string, bare time.Duration) (d time.Duration, ok bool) {
	if s == "" || spans.ReplaceAllString(s, "") != "" {
		return 0, false
	}
	for _, m := range spans.FindAllStringSubmatch(s, -1) {
		n, _ := strconv.Atoi(m[1])
		unit := bare
		if m[2] != "" {
			unit = units[m[2]]
		}
		if n > int(math.MaxInt64/2/unit) {
			return 0, false
		}
		if d += time.Duration(n) * unit; d > maxDuration {
			return 0, false
		}
	}
	return max(d.Round(time.Millisecond), time.Millisecond), d > 0
}

// spellDuration writes a duration as people do: 1h, not 1h0m0s.
func spellDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// timeout reads a time into *to. Keyhole has one for all: of several, the longest.
func (n *notes) timeout(at place, what, s string, bare time.Duration, to *time.Duration) {
	d, ok := duration(s, bare)
	switch {
	case !ok:
		n.add(at, "%s %s: Keyhole takes above 0 and at most 720h", what, s)
	case *to != 0 && *to != d:
		*to = max(*to, d)
		n.add(at, "%s %s: Keyhole has one for all, here the longest", what, s)
	default:
		*to = d
	}
}

// hostPort splits an address at its last colon, as HAProxy does. A host loses its brackets.
func hostPort(s string) (host, port string) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.HasSuffix(s, "]") {
		i = len(s)
	}
	host, port = s[:i], strings.TrimPrefix(s[i:], ":")
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), port
}

// joined returns an address in Keyhole's form.
func joined(host, port string) string {
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() {
		host = "[" + host + "]"
	}
	return host + ":" + port
}

// maxAddresses bounds the addresses of one listener, each of which is compared with all.
const maxAddresses = 256

// listen adds an address to a listener, to which proxies come with a PROXY header. An address that
// another one of the listener includes is left out.
func (e *edge) listen(n *notes, l *listener, at place, host, port string, proxies []netip.Prefix) {
	if host == "*" || host == "0.0.0.0" || host == "::" {
		host = "" // every address of the machine, as both have it in two lines
	}
	a, err := address.ParseListener(joined(host, port))
	if err != nil || a.Port == 0 {
		n.add(at, "address %s: no port that Keyhole can listen on", joined(host, port))
		return
	}
	overlaps := func(b address.Address) bool { return address.Overlap(a, b) }
	if len(l.addresses) == maxAddresses {
		n.add(at, "address %s: one of more than %d", joined(host, port), maxAddresses)
		return
	}
	for _, other := range e.listeners {
		if other != l && slices.ContainsFunc(other.addresses, overlaps) {
			n.add(at, "address %s is already listened on", joined(host, port))
			return
		}
	}
	for _, b := range l.addresses {
		if overlaps(b) && !slices.Equal(l.proxies[b], proxies) {
			n.add(at, "address %s: one that includes the other must not differ in PROXY headers", joined(host, port))
			return
		}
	}
	if host == "" {
		l.addresses = slices.DeleteFunc(l.addresses, overlaps)
	}
	if !slices.ContainsFunc(l.addresses, overlaps) {
		l.addresses = append(l.addresses, a)
		l.proxies[a] = proxies
	}
}

// serverAddress returns an address in Keyhole's form, if it is a server's.
func serverAddress(s string) (string, error) {
	a, err := address.ParseServer(s)
	if err != nil {
		return "", fmt.Errorf("server %s: %w", s, err)
	}
	return a.String(), nil
}
