package main

import (
	"fmt"
	"net/netip"
	"strings"

	"keyhole/backend"
	"keyhole/config"
)

// goesTo says where the backend of a route sends a client.
func goesTo(c *config.Config, number int, from netip.Addr) string {
	if number < backend.FirstSplit {
		return "goes to " + shownBackend(&c.Backends[number])
	}
	s := c.Splits[number-backend.FirstSplit]
	text := "goes by weight, each connection anew, to"
	if s.Sticky {
		text = "goes by weight, always the same for one client address, to"
	}
	sum := 0
	for _, w := range s.Weights {
		sum += w
	}
	for i, b := range s.Backends {
		share := fmt.Sprintf("%.3g%%", 100*float64(s.Weights[i])/float64(sum))
		text += fmt.Sprintf("\n  %-6s %s", share, shownBackend(&c.Backends[b]))
	}
	if split, err := split(c, s); err == nil && s.Sticky && from.IsValid() {
		text += fmt.Sprintf("\nof these %s gets %s", from, c.Backends[split.Pick(from)].Name)
	}
	return text
}

// shownBackend returns a backend with its servers, or the address that is one.
func shownBackend(b *config.Backend) string {
	servers := list(b.Servers)
	if b.ByName() {
		servers = b.NameServer()
	}
	switch {
	case len(b.Servers) != 1 || b.Servers[0].Address != b.Name:
		text := fmt.Sprintf("backend %s: %s", b.Name, servers)
		if b.ProxyProtocol != backend.NoProxyProtocol {
			text += fmt.Sprintf(", with PROXY %s", b.ProxyProtocol)
		}
		return text
	case b.ByName():
		return servers
	}
	return b.Name
}

// list returns the servers of a backend, as configured.
func list(servers []config.Server) string {
	all := make([]string, len(servers))
	for i, s := range servers {
		all[i] = s.Address
		switch {
		case s.Backup == 1:
			all[i] += " (backup)"
		case s.Backup > 1:
			all[i] += fmt.Sprintf(" (backup %d)", s.Backup)
		}
	}
	return strings.Join(all, ", ")
}
