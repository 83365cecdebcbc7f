package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"keyhole/config"
)

func logger(l config.Log, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: l.Level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// A sink is where access records go.
type sink struct {
	out  io.Writer
	file *os.File // out, when it was opened for the purpose; nil for stdout and stderr
}

// openSink opens what log.access names; nil for off.
func openSink(access string, stdout, stderr io.Writer) (*sink, error) {
	switch access {
	case "off":
		return nil, nil
	case "stdout":
		return &sink{out: stdout}, nil
	case "stderr":
		return &sink{out: stderr}, nil
	}
	f, err := os.OpenFile(access, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("log.access: %w; its folder must be there, and the user that runs keyhole able to write to it", err)
	}
	return &sink{out: f, file: f}, nil
}

// reopened opens the sink's file once more, as after a rotation; nil when
// there is none.
func (s *sink) reopened() (*sink, error) {
	if s == nil || s.file == nil {
		return nil, nil
	}
	return openSink(s.file.Name(), nil, nil)
}

func (s *sink) close() {
	if s.file != nil {
		s.file.Close()
	}
}
