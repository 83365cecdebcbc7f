package main

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestHungFileSystem shows that a file system without an answer is waited for once, not for each
// file.
func TestHungFileSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, began := &patience{limit: 10 * time.Second}, time.Now()
		hung := make(chan struct{})
		for range 3 {
			_, err := answered(p, "a.yaml", func() (int, error) { <-hung; return 0, nil })
			if !errors.Is(err, errLate) {
				t.Errorf("a file that hangs = %v, want %v", err, errLate)
			}
		}
		if took := time.Since(began); took != p.limit {
			t.Errorf("three files take %v, want %v", took, p.limit)
		}
		close(hung)
	})
}

// TestAnsweringFileSystem shows that a slow file does not make the next one late.
func TestAnsweringFileSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &patience{limit: 10 * time.Second}
		for i := range 3 {
			n, err := answered(p, "a.yaml", func() (int, error) { time.Sleep(9 * time.Second); return i, nil })
			if n != i || err != nil {
				t.Errorf("file %d = %d, %v, want %[1]d", i, n, err)
			}
		}
	})
}
