package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"keyhole/config/strict"
	"keyhole/push/auth"
)

const whole = `
listen: 127.0.0.1:10443
admin: off
data: /var/lib/pushd
node: push1
acme:
  domains: [push.example.com, push.example.org]
  email: you@example.com
  directory: https://acme.example.com/directory
  ca: ca.pem
  check: 1m
store: {url: "nats://10.0.0.5:4222,nats://10.0.0.6:4222", creds: a.creds, ca: nats.pem, replicas: 3, secret: s, retention: 240h, min_free: 1048576}
apps:
  web: {binding: waived}
  bank: {encrypt: true, vapid: required, vapid_keys: [BKey]}
  "*": {vapid: optional}
limits: {frame_bytes: 8192, payload_bytes: 2048, backlog: 10, connections: 5, connections_per_account: 3, login_per_minute: 2, state_keys: 7, window: 9}
keys: {rotate: 12h, session: 100h, offset: 10s, renew: 3h}
tokens: {idle: 4000h}
heartbeat: 1m
drain: 5s
log: {level: debug, format: json}
`

func TestEveryKeyIsRead(t *testing.T) {
	c, err := Parse("pushd.yaml", []byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Listen: "127.0.0.1:10443", Data: "/var/lib/pushd", Node: "push1",
		ACME: ACME{Domains: []string{"push.example.com", "push.example.org"}, Email: "you@example.com",
			Directory: "https://acme.example.com/directory", CA: "ca.pem", Check: time.Minute},
		Store: Store{URL: "nats://10.0.0.5:4222,nats://10.0.0.6:4222", Creds: "a.creds", CA: "nats.pem", Replicas: 3,
			Secret: "s", Retention: 240 * time.Hour, MinFree: 1 << 20},
		Apps: map[string]auth.AppPolicy{
			"web": {Binding: auth.Waived}, "bank": {Encrypt: true, VAPID: auth.Required, VAPIDKeys: []string{"BKey"}}, "*": {VAPID: auth.Optional},
		},
		Limits:    Limits{8192, 2048, 10, 5, 3, 2, 7, 9},
		Keys:      Keys{12 * time.Hour, 100 * time.Hour, 10 * time.Second, 3 * time.Hour},
		TokenIdle: 4000 * time.Hour, Heartbeat: time.Minute, Drain: 5 * time.Second,
		Log: Log{Level: -4, Format: "json"},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("Parse = %+v\nwant    %+v", c, want)
	}
	if reflect.DeepEqual(c.Limits, Default().Limits) || c.Keys == Default().Keys {
		t.Error("the example has a default's value, want another one for each key")
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "pushd.yaml:1:1: the configuration is empty, want at least `data` and `certificate`"},
		{"certficate: {cert: a, key: b}", "1:1: unknown key `certficate`, did you mean `certificate`?"},
		{"certificate: {cert: a}", "1:14: missing key `key`"},
		{"listen: 10443", "1:9: `listen` must be an address and a port such as \":10443\", got \"10443\""},
		{"heartbeat: 5", "1:12: bad duration \"5\" for `heartbeat`, did you mean \"5s\"?"},
		{"heartbeat: 5h", "1:12: `heartbeat` must be above 0s and at most 1h, got \"5h\""},
		{"apps: {web: {binding: wavied}}", "1:23: unknown value \"wavied\" for `binding`, did you mean \"waived\"?"},
		{"apps: [web]", "1:7: `apps` must be a mapping such as {web: {binding: waived}}, got a list"},
		{"apps: {web: {encrypt: yes}}", "1:23: `encrypt` must be true or false, got \"yes\""},
		{"apps:\n  a: {}\n  a: {}", "3:3: duplicate app \"a\""},
		{"store: {url: \"http://x\"}", "1:14: `url` must be one or more URLs such as nats://10.0.0.5:4222 with commas between, got \"http://x\""},
		{"acme: {email: a}", "1:7: `acme` has no `domains`, the names to get a certificate for"},
		{"acme: {domains: [a], directory: \"http://x\"}", "1:33: `directory` must be an https URL, got \"http://x\""},
		{"limits: {backlog: 0}", "1:19: `backlog` must be a whole number from 1 to 1000000, got \"0\""},
		{"keys: {rotate: 1d}", "1:16: bad duration \"1d\" for `rotate`, did you mean \"24h\"?"},
		{"data: [a]", "1:7: `data` must be a single value, got a list"},
	} {
		_, err := Parse("pushd.yaml", []byte(c.text))
		if p, ok := errors.AsType[strict.Problems](err); !ok || !strings.Contains(p.Error(), c.want) {
			t.Errorf("Parse(%q) = %v, want %s", c.text, err, c.want)
		}
	}
}

func TestComplete(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Data = "" }, "no data folder"},
		{func(c *Config) { c.Certificate = Certificate{} }, "no certificate"},
		{func(c *Config) { c.Certificate.Key = "" }, "two files"},
		{func(c *Config) { c.ACME.Domains = []string{"a"} }, "want one of them"},
		{func(*Config) {}, ""},
		{func(c *Config) { c.Certificate, c.ACME.Domains = Certificate{}, []string{"a"} }, ""},
	} {
		config := Default()
		config.Data, config.Certificate = "d", Certificate{"c", "k"}
		c.change(config)
		err := config.Complete()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("Complete of %+v = %v, want %q", config, err, c.want)
		}
		if err == nil && config.Node == "" {
			t.Error("Complete leaves Node empty")
		}
	}
	c := Default()
	c.Data, c.Store.URL = "d", "nats://a"
	if err := c.CompleteStore(); err != nil || c.Store.Secret != filepath.Join("d", "secret") {
		t.Errorf("CompleteStore = %v with secret %q, want the data folder's", err, c.Store.Secret)
	}
}

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pushd.yaml")
	if _, err := Load(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of a missing file = %v, want fs.ErrNotExist", err)
	}
	if err := os.WriteFile(file, []byte("data: d\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(file); err != nil || c.Data != "d" || c.Listen != ":10443" {
		t.Errorf("Load = %+v, %v, want data d and the defaults", c, err)
	}
}

// FuzzParse fails when Parse panics, or returns neither a Config nor problems.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{whole, "data: d\n", "apps: {a: {vapid_keys: x}}", "acme: []", "store: {url: [a]}", "certificate: 1"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("pushd.yaml", data)
		if _, ok := errors.AsType[strict.Problems](err); (c == nil) == (err == nil) || err != nil && !ok {
			t.Errorf("Parse = %v, %v, want one of a Config and Problems", c, err)
		}
	})
}
