package convert

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// settings prints the timeouts and limits that the file has.
func (w *writer) settings(out *strings.Builder) {
	var times []string
	for _, t := range []struct {
		key string
		d   time.Duration
	}{{"hello", w.edge.hello}, {"connect", w.edge.connect}, {"idle", w.idle}, {"half_close", w.edge.halfClose}} {
		if t.d != 0 {
			times = append(times, t.key+": "+spellDuration(t.d))
		}
	}
	if times != nil {
		fmt.Fprintf(out, "timeouts: {%s}\n", strings.Join(times, ", "))
	}
	if w.edge.connections != 0 {
		fmt.Fprintf(out, "limits: {connections: %d}\n", w.edge.connections)
	}
}

// backends prints the backends that a route leads to.
func (w *writer) backends(out *strings.Builder) {
	head := "backends:\n"
	for _, b := range w.edge.backends {
		name := w.names[b]
		if name == "" || b.alone {
			continue
		}
		servers := make([]string, len(b.servers))
		for i, s := range b.servers {
			servers[i] = s.spell()
		}
		fmt.Fprintf(out, "%s  %s:\n", head, name)
		head = ""
		if line := "    servers: [" + strings.Join(servers, ", ") + "]\n"; len(line) < 100 {
			out.WriteString(line)
		} else {
			out.WriteString("    servers:\n      - " + strings.Join(servers, "\n      - ") + "\n")
		}
		if b.balance != "" {
			fmt.Fprintf(out, "    balance: %s\n", b.balance)
		}
		if b.retries >= 0 {
			fmt.Fprintf(out, "    retries: %d\n", b.retries)
		}
		if b.max > 0 {
			fmt.Fprintf(out, "    max_connections: %d\n", b.max)
		}
		if b.proxy != "" {
			fmt.Fprintf(out, "    proxy_protocol: %s\n", b.proxy)
		}
	}
}

// spell prints a server.
func (s server) spell() string {
	keys := []string{"address: " + quoted(s.address)}
	if s.weight > 1 {
		keys = append(keys, fmt.Sprintf("weight: %d", s.weight))
	}
	switch {
	case s.backup == 1:
		keys = append(keys, "backup: true")
	case s.backup > 1:
		keys = append(keys, fmt.Sprintf("backup: %d", s.backup))
	}
	if len(keys) == 1 {
		return quote(s.address)
	}
	return "{" + strings.Join(keys, ", ") + "}"
}

// name returns the name of a backend, as Keyhole takes it.
func (w *writer) name(b *backend) string {
	if name, ok := w.names[b]; ok {
		return name
	}
	if b.alone {
		w.names[b] = quote(b.name)
		return w.names[b]
	}
	w.names[b] = w.unique("backend", b.name)
	return w.names[b]
}

// unique returns a name as Keyhole takes it, that no other of its kind has yet.
func (w *writer) unique(kind, s string) string {
	s = strings.Map(func(r rune) rune {
		if plainName.MatchString(string(r)) {
			return r
		}
		return '-'
	}, s)
	if _, err := netip.ParseAddr(s); err == nil || s == "" {
		s = kind + "-" + s
	}
	name := s
	for w.taken[kind+" "+name] > 0 {
		w.taken[kind+" "+s]++
		name = fmt.Sprintf("%s-%d", s, w.taken[kind+" "+s])
	}
	w.taken[kind+" "+name]++
	return quote(name)
}

var (
	plainName = regexp.MustCompile(`^[A-Za-z0-9._-]$`)
	plain     = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9_.-]*(/[0-9.]+)?|[0-9]{1,3}(\.[0-9]{1,3}){3}[:/][0-9]+)$`)
	reserved  = words("true false yes no on off y n null")
)

// quote spells a text in YAML.
func quote(s string) string {
	if plain.MatchString(s) && !reserved[strings.ToLower(s)] {
		return s
	}
	return quoted(s)
}

// quoted spells a text in quotes, in which ${ begins a variable.
func quoted(s string) string { return strconv.Quote(strings.ReplaceAll(s, "${", "$${")) }

// flow spells a list, or its one element.
func flow(all []string) string {
	if len(all) == 1 {
		return all[0]
	}
	return "[" + strings.Join(all, ", ") + "]"
}
