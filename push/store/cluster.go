package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// connectCluster connects to one server of c.URL. Once it has, it connects to
// another whenever that one goes, forever.
func connectCluster(ctx context.Context, c Config) (*nats.Conn, error) {
	connected := make(chan struct{}, 1)
	log := c.Log.With("url", redacted(c.URL))
	opts := append(handlers(log),
		nats.Name("pushd"),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(250*time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		nats.PingInterval(5*time.Second), // two missed: a server that was cut off is given up
		nats.Timeout(2*time.Second),
		// Nothing is kept to be sent later: the caller tries again, under its own deadline.
		nats.ReconnectBufSize(-1),
		nats.ConnectHandler(func(*nats.Conn) { connected <- struct{}{} }),
	)
	if c.Creds != "" {
		opts = append(opts, nats.UserCredentials(c.Creds))
	}
	if c.CA != "" {
		opts = append(opts, nats.RootCAs(c.CA))
	}
	nc, err := nats.Connect(c.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", redacted(c.URL), err)
	}
	if !nc.IsConnected() {
		log.Warn("store: not reached, trying on", "error", nc.LastError())
	}
	select {
	case <-connected:
		return nc, nil
	case <-ctx.Done():
		err := errors.Join(ctx.Err(), nc.LastError())
		nc.Close()
		return nil, fmt.Errorf("%s: not reached: %w: are the servers up, and may this host connect?", redacted(c.URL), err)
	}
}

// redacted returns urls without the passwords and tokens in them.
func redacted(urls string) string {
	list := strings.Split(urls, ",")
	for i, text := range list {
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil || u.User == nil {
			list[i] = strings.TrimSpace(text)
			continue
		}
		u.User = url.User("redacted")
		list[i] = u.String()
	}
	return strings.Join(list, ",")
}
