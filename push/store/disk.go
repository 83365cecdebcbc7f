package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"keyhole/push/wire"
)

// health ends with the first write that fails. A stream that could not be
// written answers nobody any more: what waits for an answer is told by this.
type health struct {
	context.Context
	end context.CancelCauseFunc
}

func newHealth() *health {
	ctx, end := context.WithCancelCause(context.Background())
	return &health{ctx, end}
}

// fail is called with the error of a write that the server logs: it says so
// nowhere else.
func (e *embedded) fail(err error) { e.health.Load().end(err) }

// writeFailed reports whether err is a disk's that is full or does not work.
func writeFailed(err error) bool {
	return slices.ContainsFunc([]error{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS}, func(e error) bool { return errors.Is(err, e) })
}

// watch measures the room on the disk every second until ctx ends, and starts
// JetStream again when a write failed and there is room.
func (e *embedded) watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := e.measure(); err != nil {
			e.log.Error("store: room on the disk is unknown", "error", err)
			continue
		}
		if e.health.Load().Err() != nil && e.free.Load() >= e.minFree {
			e.restart()
		}
	}
}

// restart reads all files again: a stream does not take another write after one
// that failed.
func (e *embedded) restart() {
	err := e.srv.ShutdownJetStream()
	if err == nil {
		err = e.srv.EnableJetStream(&server.JetStreamConfig{
			StoreDir:   e.dir,
			MaxMemory:  jetStreamMemory,
			MaxStore:   jetStreamDisk,
			SyncAlways: true,
		})
	}
	if err != nil {
		e.log.Error("store: does not start again: restart pushd", "folder", e.dir, "error", err)
		return
	}
	e.health.Store(newHealth())
	e.log.Warn("store: started again", "folder", e.dir)
}

func (e *embedded) measure() error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(e.dir, &st); err != nil {
		return &os.PathError{Op: "statfs", Path: e.dir, Err: err}
	}
	e.free.Store(st.Bavail * uint64(st.Bsize))
	return nil
}

// broken returns an error that wraps wire.DiskFull or wire.StoreUnavailable
// once a write has failed, until JetStream starts again.
func (e *embedded) broken() error {
	err := context.Cause(e.health.Load())
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: data folder %s: %w: make room", wire.DiskFull, e.dir, err)
	}
	return fmt.Errorf("%w: data folder %s: %w: check the disk", wire.StoreUnavailable, e.dir, err)
}

// room is broken that also leaves some.
func (e *embedded) room() error {
	if err := e.broken(); err != nil {
		return err
	}
	if free := e.free.Load(); free < e.minFree {
		return fmt.Errorf("%w: data folder %s has %d bytes of room left, less than min_free, which is %d: make room, or lower it",
			wire.DiskFull, e.dir, free, e.minFree)
	}
	return nil
}
