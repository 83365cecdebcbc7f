package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"keyhole/push/wire"
)

// A Config says who the terminal is and what becomes of its messages.
type Config struct {
	// URL of the server, "https://push.example.com", with a port if it is not
	// 443. Nothing but https: the protocol is not spoken without TLS 1.3.
	URL string

	// User and Device with App are whose messages these are: another user,
	// device or app has another message token. AppVersion may change between
	// runs; it decides which messages for the whole app arrive.
	User, Device, App, AppVersion string

	// Password is needed to log in, which the first run does, and a later one
	// when the session is lost. Without it such a run ends.
	Password string

	// Binding is wire.BindingExporter, also when empty, or wire.BindingNone,
	// which the server takes only where the app's policy waives it.
	Binding string

	// VAPIDKey is the public key of the one sender whose Web Push requests
	// the subscription takes (RFC 8292 section 4.1), base64url. "": any.
	VAPIDKey string

	// State is the state at the start, see Terminal.SetState.
	State map[string]string

	// Profile is where keys, session and seen ids live between runs. nil: in
	// memory only, and each New logs in anew.
	Profile Profile

	// OnMessage takes a message; nil returned acknowledges it. After an error
	// it is not acknowledged, and comes again with the next connection, behind
	// those that were handed over since. The context ends with Run's.
	OnMessage func(context.Context, Message) error

	// OnStatus is told what Run does, by Run's own goroutine: it must not
	// block. May be nil.
	OnStatus func(Status)

	// Dial makes the TCP connection. nil: net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// RootCAs are who may vouch for the server. nil: those of the system.
	RootCAs *x509.CertPool

	// SessionCache keeps TLS sessions, which spare a reconnect the signature
	// of a full handshake. Terminals may share one. nil: full handshakes.
	SessionCache tls.ClientSessionCache

	// After a failed or short connection, a wait from 0 to MinBackoff, 0 for
	// 500 ms; the range doubles with each more, up to MaxBackoff, 0 for 1 min.
	MinBackoff, MaxBackoff time.Duration

	// HandshakeTimeout is for everything from the dial until the server says
	// that it listens, and for a request of its own. 0: 30 s.
	HandshakeTimeout time.Duration

	// RenewEvery is the growth of the offset, the server's time since the
	// session token was made, after which the key is renewed. 0: what the
	// server says.
	RenewEvery time.Duration

	Log *slog.Logger     // nil: none
	Now func() time.Time // nil: time.Now
}

// Where a Config has nothing.
const (
	defaultMinBackoff       = 500 * time.Millisecond
	defaultMaxBackoff       = time.Minute
	defaultHandshakeTimeout = 30 * time.Second
	defaultRenewEvery       = 6 * time.Hour // and the server neither
)

// withDefaults returns c with every field that may be zero filled in.
func (c Config) withDefaults() Config {
	c.Binding = or(c.Binding, wire.BindingExporter)
	c.MinBackoff = or(c.MinBackoff, defaultMinBackoff)
	c.MaxBackoff = or(c.MaxBackoff, max(c.MinBackoff, defaultMaxBackoff))
	c.HandshakeTimeout = or(c.HandshakeTimeout, defaultHandshakeTimeout)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.OnStatus == nil {
		c.OnStatus = func(Status) {}
	}
	return c
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// check returns what is wrong with c, which has its defaults.
func (c *Config) check() error {
	for _, f := range []struct{ name, value string }{{"User", c.User}, {"Device", c.Device}, {"App", c.App}} {
		if f.value == "" {
			return fmt.Errorf("%s is empty; it is a part of whose messages these are", f.name)
		}
	}
	if c.Binding != wire.BindingExporter && c.Binding != wire.BindingNone {
		return fmt.Errorf("unknown Binding %q, want %q or %q", c.Binding, wire.BindingExporter, wire.BindingNone)
	}
	if c.MinBackoff < 0 || c.MaxBackoff < c.MinBackoff {
		return fmt.Errorf("back-off from %s to %s: want neither negative, and MinBackoff not above MaxBackoff", c.MinBackoff, c.MaxBackoff)
	}
	if c.HandshakeTimeout < 0 || c.RenewEvery < 0 {
		return errors.New("neither HandshakeTimeout nor RenewEvery can be negative")
	}
	return nil
}

// parseURL reads Config.URL and Publisher.URL.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, err // it begins with: parse "the URL"
	case u.Scheme != "https" || u.Hostname() == "":
		return nil, fmt.Errorf("URL %q: want https://HOST or https://HOST:PORT", text)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, fmt.Errorf("URL %q: has more than a host, write https://%s", text, u.Host)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}
