package cli

import (
	"io"
	"time"
)

// A PatientWriter writes on a goroutine of its own, so that a log reader that has stopped reading
// cannot block signal handling. Lines are lost when 1024 are waiting.
type PatientWriter struct {
	lines   chan []byte
	quit    chan struct{}
	written chan struct{} // closed after the last line
}

// NewPatientWriter starts a writer to w. Close ends it.
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
			w.Write(line) // its failure could only be logged here
			continue
		case <-p.quit:
		}
		for len(p.lines) > 0 {
			w.Write(<-p.lines)
		}
		return
	}
}

// Close waits until the lines before it are written, for a second at most.
func (p *PatientWriter) Close() {
	close(p.quit)
	select {
	case <-p.written:
	case <-time.After(time.Second):
	}
}
