package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"syscall"
	"time"

	"keyhole/cmd/internal/cli"
	"keyhole/config"
	"keyhole/proxy"
)

// fileTime bounds the reading of the configuration and the opening of a log: a FIFO may have nobody
// at its other end, and a file system may hang.
const fileTime = 10 * time.Second

// maxFile ends the reading of /dev/zero and the like.
const maxFile = config.MaxFile

// load reads the configuration. A file that cannot be read is a mistake in usage, like a mistake in
// the file.
func load(file string) (*config.Config, error) {
	data, err := readFile(file, fileTime)
	if err == nil {
		return source(fileTime).Parse(file, data)
	}
	err = fmt.Errorf("configuration: %w", err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%w; name another with --config FILE, or start from config.example.yaml", err)
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("%w; the user that runs keyhole must be able to read it", err)
	case errors.Is(err, syscall.EISDIR):
		err = fmt.Errorf("%w; name a file in it with --config FILE", err)
	case errors.Is(err, errLate):
		err = fmt.Errorf("%w; a FIFO needs a process that writes the configuration and closes it, "+
			"and the file system must answer", err)
	}
	return nil, cli.UsageError{Err: err}
}

// readFile reads a whole file, for limit at most. A FIFO, such as /dev/stdin, is read until its
// writer closes it.
func readFile(name string, limit time.Duration) ([]byte, error) {
	deadline := time.Now().Add(limit)
	data, err := within(limit, func() ([]byte, error) { return readUntil(name, deadline) })
	if errors.Is(err, errLate) {
		go releaseReader(name)
	}
	if errors.Is(err, errLate) || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, fmt.Errorf("read %s: %w (%v)", name, errLate, limit)
	}
	return data, err
}

func readUntil(name string, deadline time.Time) ([]byte, error) {
	info, err := stat(name)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	f.SetReadDeadline(deadline) // fails for a regular file, which does not wait for anybody
	var b bytes.Buffer
	if size := info.Size(); size <= maxFile { // 0 for what is no regular file
		b.Grow(int(size) + bytes.MinRead)
		if _, err := b.ReadFrom(io.LimitReader(f, maxFile+1)); err != nil {
			return nil, err
		}
		if b.Len() <= maxFile {
			return b.Bytes(), nil
		}
	}
	return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("longer than %d MiB", maxFile>>20)}
}

// stat refuses what cannot be opened, and disks.
func stat(name string) (fs.FileInfo, error) {
	info, err := os.Stat(name)
	if err == nil {
		switch mode := info.Mode(); {
		case mode&fs.ModeSocket != 0:
			err = errors.New("is a socket, want a file")
		case mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0:
			err = errors.New("is a block device, want a file")
		}
	}
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return info, nil
}

// releaseReader frees the goroutine that waits for the first writer of a FIFO.
func releaseReader(name string) {
	if info, err := os.Stat(name); err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		return
	}
	if f, err := os.OpenFile(name, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
		f.Close()
	}
}

func logger(l config.Log, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: l.Level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(escaping{w, proxy.AppendASCII}, options))
	}
	return slog.New(slog.NewTextHandler(escaping{w, appendWithoutDEL}, options))
}

// An escaping writer escapes what slog lets through: a log line can carry bytes that a client or a
// file name has chosen, and they must not reach a terminal.
type escaping struct {
	io.Writer
	escape func(dst, line []byte) []byte
}

func (w escaping) Write(b []byte) (int, error) {
	if _, err := w.Writer.Write(w.escape(nil, b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// appendWithoutDEL escapes the one control that the text handler does not quote.
func appendWithoutDEL(dst, line []byte) []byte {
	return append(dst, bytes.ReplaceAll(line, []byte{0x7f}, []byte(`\x7f`))...)
}

// A sink is where access records go.
type sink struct {
	out  io.Writer
	file *os.File // out, when openSink opened it; nil for stdout and stderr
}

// openSink opens the file that log.access names; nil for off.
func openSink(access string, stdout, stderr io.Writer) (*sink, error) {
	switch access {
	case "off":
		return nil, nil
	case "stdout":
		return &sink{out: stdout}, nil
	case "stderr":
		return &sink{out: stderr}, nil
	}
	f, err := within(fileTime, func() (*os.File, error) { return openLog(access) })
	if err != nil {
		return nil, logError(access, err)
	}
	return &sink{out: f, file: f}, nil
}

// openLog opens a file for appending without waiting, so that a FIFO without a reader fails with
// ENXIO. It creates only a file that is not there: Linux refuses O_CREAT for another user's FIFO in
// /tmp (fs.protected_fifos). Without O_NOCTTY a terminal could become the edge's own, and its
// hang-up a reload.
func openLog(name string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_APPEND | syscall.O_NONBLOCK | syscall.O_NOCTTY
	_, err := stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return os.OpenFile(name, flags|os.O_CREATE, 0o640)
	}
	if err != nil {
		return nil, err
	}
	return os.OpenFile(name, flags, 0)
}

// logError adds the remedy.
func logError(name string, err error) error {
	switch {
	case errors.Is(err, errLate):
		return fmt.Errorf("log.access: open %s: %w (%v); the file system must answer", name, err, fileTime)
	case errors.Is(err, syscall.ENXIO):
		return fmt.Errorf("log.access: %w: no process reads this FIFO; start its reader first", err)
	case errors.Is(err, syscall.EISDIR):
		return fmt.Errorf("log.access: %w; name a file in it", err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("log.access: %w; its folder must be there, and the user that runs keyhole able to write to it", err)
	}
	return fmt.Errorf("log.access: %w", err)
}

// reopened opens the sink's file once more, as after a rotation; nil when there is none.
func (s *sink) reopened() (*sink, error) {
	if s == nil || s.file == nil {
		return nil, nil
	}
	return openSink(s.file.Name(), nil, nil)
}

// close does not wait for a file system that hangs.
func (s *sink) close() {
	if s.file != nil {
		within(tasksTime, func() (struct{}, error) { return struct{}{}, s.file.Close() })
	}
}
