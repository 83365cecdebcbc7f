package convert

// later has the keys that Keyhole refuses today, and why a line that needs one is not carried over.
// A key that is built leaves this table, and is printed from then on.
var later = map[string]string{
	"health":              "health checks are not supported yet; an attempt that fails goes to another server",
	"eject":               "servers are not ejected yet; an attempt that fails goes to another server",
	"proxy_protocol":      "PROXY headers to servers are not supported yet",
	"proxy_protocol_from": "PROXY headers of clients are not supported yet",
	"protocol: tcp":       "ports without TLS are not supported yet",
	"not_tls":             "what is no TLS has no routes yet",
	"port: listen":        "servers that take the listener's port are not supported yet",
	"{sni}":               "servers that are found by the name are not supported yet",
	"backup: 2":           "backups share, HAProxy uses its first one alone; ranks are not supported yet",
}

// built reports whether Keyhole takes a key, and notes what is lost without it.
func (n *notes) built(at place, line, key string) bool {
	why, missing := later[key]
	if missing {
		n.add(at, "%s: %s", line, why)
	}
	return !missing
}
