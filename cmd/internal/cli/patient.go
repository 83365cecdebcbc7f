package cli

import (
	"io"
	"time"
)

// A PatientWriter writes on a goroutine of its own, so that whoever has
// stopped to read the log cannot make a server deaf to signals. Lines that it
// has no room for are lost.
type PatientWriter struct {
	lines   chan []byte
	quit    chan struct{}
	written chan struct{} // closed when the last line is
}

// NewPatientWriter starts one that writes to w; Close ends it.
func NewPatientWriter(w io.Writer) *PatientWriter {
	p := &PatientWriter{lines: make(chan []byte, 1024), quit: make(chan struct{}), written: make(chan struct{})}
	go p.run(w)
	return p
}

// Write takes one line, and never fails.
func (p *PatientWriter) Write(line []byte) (int, error) {
	select {
	case p.lines <- append([]byte(nil), line...):
	default:
	}
	return len(line), nil
}

func (p *PatientWriter) run(w io.Writer) {
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

// Close waits for the lines that were written before it, for a second.
func (p *PatientWriter) Close() {
	close(p.quit)
	select {
	case <-p.written:
	case <-time.After(time.Second):
	}
}
