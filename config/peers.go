package config

// peerSections are words of HAProxy, nginx, Traefik, Envoy, caddy-l4 and sniproxy for whole parts of
// a configuration.
var peerSections = map[string]string{
	"global":           "write `limits` and `log`, each at the top",
	"defaults":         "write `timeouts` for the limits of time, and `default` for names without a route",
	"frontend":         "write `listen` for its addresses and `routes` for its rules",
	"frontends":        "write `listen` for their addresses and `routes` for their rules",
	"upstream":         "write `backends`",
	"upstreams":        "write `backends`",
	"clusters":         "write `backends`",
	"services":         "write `backends`",
	"server":           "write `listen` for addresses of the edge, `routes` for names and `backends` for origin servers",
	"servers":          "write `listen` for addresses of the edge, `routes` for names and `backends` for origin servers",
	"stream":           "leave it out: `listen`, `routes` and `backends` stand at the top",
	"tcp":              "leave it out: `listen`, `routes` and `backends` stand at the top",
	"layer4":           "leave it out: `listen`, `routes` and `backends` stand at the top",
	"static_resources": "leave it out: `listen`, `routes` and `backends` stand at the top",
	"entryPoints":      "write `listen`, a list of addresses",
	"entrypoints":      "write `listen`, a list of addresses",
	"routers":          "write `routes`",
	"map":              "write `routes`",
	"table":            "write `routes`",
}

// peerRouteKeys are their words in a rule.
var peerRouteKeys = map[string]string{
	"host":         "write `sni`",
	"hosts":        "write `sni`",
	"hostname":     "write `sni`",
	"hostnames":    "write `sni`",
	"server_name":  "write `sni`",
	"server_names": "write `sni`",
	"rule":         "write the names of HostSNI as `sni`",
	"service":      "write `backend`",
	"cluster":      "write `backend`",
	"upstream":     "write `backend`",
	"proxy_pass":   "write `backend`",
	"use_backend":  "write `backend`",
	"weight":       "write it beside a name in `backend`, as in [{name: a, weight: 9}, {name: b, weight: 1}]",
}
