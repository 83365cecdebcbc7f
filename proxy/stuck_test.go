package proxy

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever reads the records may have stopped to; the edge must end all the
// same when it is told to.
func TestCloseDoesNotWaitForAStuckWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		reader, writer := io.Pipe()
		a := NewAccessLog(writer, LogOptions{Format: Text}, slog.New(slog.NewTextHandler(&said, nil)))
		r := a.ring(0)
		r.reserve()
		r.commit()
		synctest.Wait() // it is writing, and nobody reads
		began := time.Now()
		a.Close()
		if took := time.Since(began); took != closeTime {
			t.Errorf("Close took %v, want %v", took, closeTime)
		}
		if !strings.Contains(said.String(), "access log is stuck") {
			t.Errorf("log says %q, want that the access log is stuck", said.String())
		}
		reader.Close() // lets the writer's goroutine go
	})
}
