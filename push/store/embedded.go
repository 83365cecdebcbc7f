package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// embedded is a NATS server in this process that nothing outside can reach.
type embedded struct {
	dir     string
	minFree uint64
	log     *slog.Logger
	lock    *os.File
	srv     *server.Server
	free    atomic.Uint64          // bytes on the disk of dir, read once a second
	health  atomic.Pointer[health] // since the last start of JetStream
}

func openEmbedded(c Config) (*embedded, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	lock, err := lockFolder(c.Dir)
	if err != nil {
		return nil, err
	}
	e := &embedded{dir: c.Dir, minFree: c.MinFree, log: c.Log, lock: lock}
	if err := e.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("data folder %s: %w", c.Dir, err), e.close())
	}
	return e, nil
}

func (e *embedded) start() error {
	if err := e.measure(); err != nil {
		return err
	}
	e.health.Store(newHealth())
	srv, err := server.NewServer(&server.Options{
		ServerName: "pushd",
		DontListen: true,
		NoSigs:     true,
		NoLog:      true, // ours is set below
		JetStream:  true,
		StoreDir:   e.dir,
		// Or an acknowledged message may be lost with the power, for up to two minutes.
		SyncAlways:         true,
		JetStreamMaxMemory: jetStreamMemory,
		JetStreamMaxStore:  jetStreamDisk,
	})
	if err != nil {
		return err
	}
	srv.SetLoggerV2(natsLog{e.log, e.fail}, false, false, false)
	e.srv = srv
	srv.Start()
	if !srv.ReadyForConnections(startTimeout) {
		return fmt.Errorf("the store did not start within %s: see the log", startTimeout)
	}
	if !srv.JetStreamEnabled() {
		return errors.New("the store could not be read: see the log; is there room, and are the files this user's?")
	}
	return nil
}

const (
	startTimeout    = time.Minute // a million messages are read in three seconds
	jetStreamMemory = 64 << 20    // consumers only: every stream is on disk
	jetStreamDisk   = 1 << 60     // no limit: minFree is ours
)

func (e *embedded) connect(log *slog.Logger) (*nats.Conn, error) {
	nc, err := nats.Connect("", append(handlers(log), nats.InProcessServer(e.srv), nats.MaxReconnects(-1))...)
	if err != nil {
		return nil, fmt.Errorf("data folder %s: %w", e.dir, err)
	}
	return nc, nil
}

// close may be called before the server has started.
func (e *embedded) close() error {
	if e.srv != nil {
		e.srv.Shutdown()
		e.srv.WaitForShutdown()
	}
	return e.lock.Close()
}
