package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"keyhole/cmd/internal/cli"
	"keyhole/push/auth"
	"keyhole/push/config"
	"keyhole/push/server"
	"keyhole/push/store"
)

func serveCommand() *cobra.Command {
	var s settings
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the push server",
		Long: `Run the push server in the foreground. It needs a data folder and a certificate,
from files or by ACME. SIGHUP reads certificate files anew. SIGTERM or SIGINT
asks the terminals to connect elsewhere and waits for them; a second one ends at
once.`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.load()
			if err == nil {
				err = c.Complete()
			}
			if err != nil {
				return usage(err)
			}
			patient := cli.NewPatientWriter(cmd.ErrOrStderr())
			defer patient.Close()
			return serve(cmd.Context(), c, logger(c.Log, patient))
		},
	}
	s.bindServe(c)
	return c
}

// A node is a running push server.
type node struct {
	config *config.Config
	log    *slog.Logger
	store  *store.Store
	auth   *auth.Auth
	server *server.Server
	addr   net.Addr

	// certificate is tls.Config.GetCertificate, set before the first handshake.
	certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	ends   []func() // in the order of starting
	failed chan error
}

// serve runs the server until a signal or ctx ends it.
func serve(ctx context.Context, c *config.Config, log *slog.Logger) error {
	signal.Ignore(syscall.SIGPIPE)
	now, stop := context.WithCancel(ctx)
	defer stop()
	end, stopSignals := signal.NotifyContext(now, syscall.SIGTERM, syscall.SIGINT)
	defer stopSignals()
	n, err := startNode(end, c, log)
	if err != nil {
		return err
	}
	defer n.close()
	select {
	case <-end.Done():
	case err := <-n.failed:
		return err
	}
	stopSignals() // the next signal ends the process at once
	log.Info("draining", "terminals", n.server.Terminals(), "at_most", c.Drain.String())
	limited, cancel := context.WithTimeout(context.WithoutCancel(now), c.Drain)
	defer cancel()
	if err := n.server.Shutdown(limited); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	log.Info("stopped")
	return nil
}

// startNode opens the store and listens. ctx bounds the start and, later, what
// runs beside the server.
func startNode(ctx context.Context, c *config.Config, log *slog.Logger) (_ *node, err error) {
	n := &node{config: c, log: log, failed: make(chan error, 3)}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	if n.store, err = openStore(ctx, c, log); err != nil {
		return nil, err
	}
	n.ends = append(n.ends, func() { n.store.Close() })
	if err := n.makeServer(ctx); err != nil {
		return nil, err
	}
	if err := n.listenControl(); err != nil {
		return nil, err
	}
	if err := n.listenAdmin(); err != nil {
		return nil, err
	}
	return n, n.listen(ctx)
}

func openStore(ctx context.Context, c *config.Config, log *slog.Logger) (*store.Store, error) {
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	s := store.Config{
		URL: c.Store.URL, Creds: c.Store.Creds, CA: c.Store.CA, Replicas: c.Store.Replicas,
		Backlog: c.Limits.Backlog, Retention: c.Store.Retention, MinFree: c.Store.MinFree, Log: log,
	}
	if c.Store.URL == "" {
		s.Dir = c.Data
	}
	if c.Store.Secret != "" {
		secret, err := store.ReadSecret(c.Store.Secret)
		if err != nil {
			return nil, fmt.Errorf("store: %w; make one with `head -c 32 /dev/urandom`, the same for every node", err)
		}
		s.Secret = secret
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return store.Open(ctx, s)
}

func (n *node) makeServer(ctx context.Context) error {
	c := n.config
	a, err := auth.New(ctx, auth.Config{
		Store: n.store, RotateEvery: c.Keys.Rotate, SessionLife: c.Keys.Session, OffsetThreshold: c.Keys.Offset, RenewAfter: c.Keys.Renew,
		TokenIdle: c.TokenIdle, LoginPerMinute: c.Limits.LoginPerMinute, Apps: c.Apps, Log: n.log,
	})
	if err != nil {
		return err
	}
	n.auth = a
	secure := &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return n.certificate(h) }}
	if len(c.ACME.Domains) > 0 {
		secure.NextProtos = []string{acmeProtocol}
	}
	n.server, err = server.New(server.Config{
		Auth: a, Store: n.store, TLS: secure, Node: c.Node, Heartbeat: c.Heartbeat, Log: n.log,
		Limits: server.Limits{
			FrameBytes: c.Limits.FrameBytes, PayloadBytes: c.Limits.PayloadBytes, StateKeys: c.Limits.StateKeys, Window: c.Limits.Window,
			Connections: c.Limits.Connections, ConnectionsPerAccount: c.Limits.ConnectionsPerAccount,
		},
	})
	return err
}

// background runs f until ctx or the node ends.
func (n *node) background(ctx context.Context, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil && ctx.Err() == nil {
			n.failed <- err
		}
	}()
	n.ends = append(n.ends, func() { cancel(); <-done })
}

// listen opens the public listener. The certificate comes last: an authority
// proves the name on this listener.
func (n *node) listen(ctx context.Context) error {
	l, err := net.Listen("tcp", n.config.Listen)
	if err != nil {
		return listenError(err)
	}
	n.addr = l.Addr()
	manage, err := n.openCertificate(ctx)
	if err != nil {
		l.Close()
		return err
	}
	n.background(context.WithoutCancel(ctx), func(ctx context.Context) error { return n.server.Serve(ctx, l) })
	n.log.Info("listening", "address", n.addr.String(), "node", n.config.Node, "store", n.where())
	return manage()
}

// where names the store, without the passwords that URLs may have.
func (n *node) where() string {
	if n.config.Store.URL == "" {
		return n.config.Data
	}
	urls := strings.Split(n.config.Store.URL, ",")
	for i, text := range urls {
		if u, err := url.Parse(strings.TrimSpace(text)); err == nil { // as the configuration has checked
			urls[i] = u.Redacted()
		}
	}
	return strings.Join(urls, ",")
}

// openCertificate makes the certificate, from files or by ACME, and returns
// what is to be done once the server answers.
func (n *node) openCertificate(ctx context.Context) (manage func() error, err error) {
	if len(n.config.ACME.Domains) > 0 {
		m, err := newACME(n.config, n.addr, n.log)
		if err != nil {
			return nil, err
		}
		n.certificate = m.magic.GetCertificate
		n.ends = append(n.ends, m.close)
		return func() error { return m.manage(ctx) }, nil
	}
	f, err := openCertificate(n.config.Certificate.Cert, n.config.Certificate.Key)
	if err != nil {
		return nil, err
	}
	n.certificate = f.get
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	n.background(ctx, func(ctx context.Context) error {
		defer signal.Stop(hangup)
		f.watch(ctx, hangup, n.log)
		return nil
	})
	return func() error { return nil }, nil
}

// listenControl opens the socket that the other commands speak to.
func (n *node) listenControl() error {
	path := filepath.Join(n.config.Data, controlSocket)
	if other, err := net.Dial("unix", path); err == nil {
		other.Close()
		return fmt.Errorf("control socket: another pushd runs on the data folder %s: stop it, or give this one a folder of its own", n.config.Data)
	}
	os.Remove(path) // of a process that was killed
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return fmt.Errorf("control socket: %w", err)
	}
	n.serveHTTP(l, n.server.ControlHandler())
	return nil
}

func (n *node) listenAdmin() error {
	if n.config.Admin == "" {
		return nil
	}
	l, err := net.Listen("tcp", n.config.Admin)
	if err != nil {
		return fmt.Errorf("admin: %w", listenError(err))
	}
	n.log.Info("admin", "address", l.Addr().String())
	n.serveHTTP(l, n.server.AdminHandler())
	return nil
}

func (n *node) serveHTTP(l net.Listener, h http.Handler) {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug)}
	go s.Serve(l) // ends with Close
	n.ends = append(n.ends, func() { s.Close() })
}

// close ends what was started, the last first.
func (n *node) close() {
	for i := len(n.ends) - 1; i >= 0; i-- {
		n.ends[i]()
	}
}

// listenError adds the remedy to what the kernel says.
func listenError(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: another process listens there; `ss -ltnp` shows which", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: a port below 1024 needs root or CAP_NET_BIND_SERVICE", err)
	}
	return err
}
