package main

import (
	"io"
	"time"
)

// A patientWriter writes on a goroutine of its own, so that whoever has
// stopped to read the log cannot make the edge deaf to signals. Lines that it
// has no room for are lost.
type patientWriter struct {
	lines   chan []byte
	quit    chan struct{}
	written chan struct{} // closed when the last line is
}

func newPatientWriter(w io.Writer) *patientWriter {
	p := &patientWriter{lines: make(chan []byte, 1024), quit: make(chan struct{}), written: make(chan struct{})}
	go p.run(w)
	return p
}

// Write takes one line, and never fails.
func (p *patientWriter) Write(line []byte) (int, error) {
	select {
	case p.lines <- append([]byte(nil), line...):
	default:
	}
	return len(line), nil
}

func (p *patientWriter) run(w io.Writer) {
	defer close(p.written)
	for {
		select {
		case line := <-p.lines:
			w.Write(line) // there is no place left to report its failure
			continue
		case <-p.quit:
		}
		for len(p.lines) > 0 {
			w.Write(<-p.lines)
		}
		return
	}
}

// close waits for the lines that were written before it, for a second.
func (p *patientWriter) close() {
	close(p.quit)
	select {
	case <-p.written:
	case <-time.After(time.Second):
	}
}
