package config

import (
	"log/slog"
	"math"
	"net"
	"net/url"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"keyhole/config/strict"
	"keyhole/push/auth"
)

// A decoder reads one file.
type decoder struct {
	strict.Decoder
	config *Config
}

const longest = 10 * 365 * 24 * time.Hour // of tokens and sessions

// A section reads the value of one key.
type section func(d *decoder, name string, v *yaml.Node)

// mapping reads a mapping whose keys each have a section.
func (d *decoder) mapping(n *yaml.Node, what, example string, keys []string, sections ...section) {
	s := &strict.Schema{What: what, Want: "a mapping such as " + example, Keys: keys}
	for k, v := range d.Fields(n, s) {
		for i, name := range keys {
			if name == k.Value {
				sections[i](d, name, v)
			}
		}
	}
}

func text(dst *string) section {
	return func(d *decoder, name string, v *yaml.Node) {
		if s, ok := d.Text(v, name); ok {
			*dst = s
		}
	}
}

func address(dst *string) section {
	return func(d *decoder, name string, v *yaml.Node) {
		s, ok := d.Text(v, name)
		if !ok {
			return
		}
		if _, port, err := net.SplitHostPort(s); err != nil || port == "" {
			d.Fail(v, "%s must be an address and a port such as \":10443\", got %s", strict.Key(name), strict.Quote(s))
			return
		}
		*dst = s
	}
}

func count(dst *int, low, high int) section {
	return func(d *decoder, name string, v *yaml.Node) {
		if i, ok := d.Integer(v, name, low, high); ok {
			*dst = i
		}
	}
}

func duration(dst *time.Duration, most time.Duration) section {
	return func(d *decoder, name string, v *yaml.Node) { d.DurationUpTo(v, name, most, dst) }
}

func word(words []string, set func(string)) section {
	return func(d *decoder, name string, v *yaml.Node) {
		if s, ok := d.Choice(v, name, words...); ok {
			set(s)
		}
	}
}

func texts(dst *[]string) section {
	return func(d *decoder, name string, v *yaml.Node) {
		*dst = nil
		for _, s := range d.Texts(v, name) {
			*dst = append(*dst, s)
		}
	}
}

func (d *decoder) document(root *yaml.Node) {
	c := d.config
	d.mapping(root, "the configuration", "{data: /var/lib/pushd}",
		[]string{"listen", "admin", "data", "node", "certificate", "acme", "store", "apps", "limits", "keys", "tokens", "heartbeat", "drain", "log"},
		address(&c.Listen), (*decoder).admin, text(&c.Data), text(&c.Node), (*decoder).certificate, (*decoder).acme, (*decoder).store,
		(*decoder).apps, (*decoder).limits, (*decoder).keys, (*decoder).tokens,
		duration(&c.Heartbeat, time.Hour), duration(&c.Drain, strict.MaxDuration), (*decoder).log)
}

// admin reads an address, or `off`.
func (d *decoder) admin(name string, v *yaml.Node) {
	if v.Kind == yaml.ScalarNode && v.Value == "off" {
		d.config.Admin = ""
		return
	}
	address(&d.config.Admin)(d, name, v)
}

func (d *decoder) certificate(name string, v *yaml.Node) {
	c := &d.config.Certificate
	s := &strict.Schema{What: "`certificate`", Want: "a mapping such as {cert: push.pem, key: push.key}", Keys: []string{"cert", "key"}, Required: []string{"cert", "key"}}
	for k, v := range d.Fields(v, s) {
		if k.Value == "cert" {
			text(&c.Cert)(d, "cert", v)
		} else {
			text(&c.Key)(d, "key", v)
		}
	}
}

func (d *decoder) acme(name string, v *yaml.Node) {
	c := &d.config.ACME
	d.mapping(v, "`acme`", "{domains: [push.example.com], email: you@example.com}", []string{"domains", "email", "directory", "ca", "check"},
		texts(&c.Domains), text(&c.Email), (*decoder).directory, text(&c.CA), duration(&c.Check, 24*time.Hour))
	if v.Kind == yaml.MappingNode && len(c.Domains) == 0 {
		d.Fail(v, "`acme` has no `domains`, the names to get a certificate for")
	}
}

func (d *decoder) directory(name string, v *yaml.Node) {
	text(&d.config.ACME.Directory)(d, name, v)
	if u, err := url.Parse(v.Value); v.Kind == yaml.ScalarNode && (err != nil || u.Scheme != "https" || u.Host == "") {
		d.Fail(v, "`directory` must be an https URL, got %s", strict.Quote(v.Value))
	}
}

func (d *decoder) store(name string, v *yaml.Node) {
	c := &d.config.Store
	d.mapping(v, "`store`", "{url: nats://10.0.0.5:4222}",
		[]string{"url", "creds", "ca", "replicas", "secret", "retention", "min_free"},
		(*decoder).storeURL, text(&c.Creds), text(&c.CA), count(&c.Replicas, 1, 5), text(&c.Secret),
		duration(&c.Retention, longest), (*decoder).minFree)
}

// storeURL reads one URL, or several with commas between.
func (d *decoder) storeURL(name string, v *yaml.Node) {
	text(&d.config.Store.URL)(d, name, v)
	for s := range strings.SplitSeq(d.config.Store.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls" && u.Scheme != "ws" && u.Scheme != "wss" {
			d.Fail(v, "`url` must be one or more URLs such as nats://10.0.0.5:4222 with commas between, got %s", strict.Quote(s))
		}
	}
}

func (d *decoder) minFree(name string, v *yaml.Node) {
	if i, ok := d.Integer(v, name, 0, math.MaxInt); ok {
		d.config.Store.MinFree = uint64(i)
	}
}

// apps reads policies by the names of apps, which are the operator's.
func (d *decoder) apps(name string, v *yaml.Node) {
	if v.Kind != yaml.MappingNode {
		d.WrongType(v, "`apps`", "a mapping such as {web: {binding: waived}}")
		return
	}
	for i := 0; i < len(v.Content); i += 2 {
		k := v.Content[i]
		app, ok := d.Text(k, "an app's name")
		if !ok {
			continue
		}
		if _, twice := d.config.Apps[app]; twice {
			d.Fail(k, "duplicate app %s", strict.Quote(app))
		}
		d.config.Apps[app] = d.policy(app, v.Content[i+1])
	}
}

func (d *decoder) policy(app string, n *yaml.Node) (p auth.AppPolicy) {
	d.mapping(n, "app "+strict.Quote(app), "{binding: waived}", []string{"binding", "encrypt", "vapid", "vapid_keys"},
		word([]string{auth.Required, auth.Waived}, func(s string) { p.Binding = s }),
		func(d *decoder, name string, v *yaml.Node) { p.Encrypt = d.Boolean(v, name) },
		word([]string{auth.Optional, auth.Required}, func(s string) { p.VAPID = s }),
		texts(&p.VAPIDKeys))
	return p
}

func (d *decoder) limits(name string, v *yaml.Node) {
	l := &d.config.Limits
	d.mapping(v, "`limits`", "{payload_bytes: 4096}",
		[]string{"frame_bytes", "payload_bytes", "backlog", "connections", "connections_per_account", "login_per_minute", "state_keys", "window"},
		count(&l.FrameBytes, 4096, 1<<20), count(&l.PayloadBytes, 1, 1<<19), count(&l.Backlog, 1, 1_000_000),
		count(&l.Connections, 0, 10_000_000), count(&l.ConnectionsPerAccount, 0, 10_000_000),
		count(&l.LoginPerMinute, 1, 1_000_000), count(&l.StateKeys, 1, 1000), count(&l.Window, 1, 10_000))
}

func (d *decoder) keys(name string, v *yaml.Node) {
	k := &d.config.Keys
	d.mapping(v, "`keys`", "{rotate: 24h}", []string{"rotate", "session", "offset", "renew"},
		duration(&k.Rotate, longest), duration(&k.Session, longest), duration(&k.Offset, time.Hour), duration(&k.Renew, longest))
}

func (d *decoder) tokens(name string, v *yaml.Node) {
	d.mapping(v, "`tokens`", "{idle: 2160h}", []string{"idle"}, duration(&d.config.TokenIdle, longest))
}

var levels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

func (d *decoder) log(name string, v *yaml.Node) {
	l := &d.config.Log
	d.mapping(v, "`log`", "{level: info}", []string{"level", "format"},
		word([]string{"debug", "info", "warn", "error"}, func(s string) { l.Level = levels[s] }),
		word([]string{"text", "json"}, func(s string) { l.Format = s }))
}
