package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"keyhole/config"
)

// source reads the files that a configuration names, each for limit at most. When one is late the
// file system hangs, and no further one is waited for.
func source(limit time.Duration) config.Source {
	p := &patience{limit: limit}
	return config.Source{
		ReadFile: func(name string, size int64) ([]byte, error) {
			return answered(p, name, func() ([]byte, error) { return config.ReadFile(name, size) })
		},
		ReadDir: func(name string) ([]fs.DirEntry, error) {
			return answered(p, name, func() ([]fs.DirEntry, error) { return os.ReadDir(name) })
		},
	}
}

// patience is that with the files of one configuration. One goroutine uses it.
type patience struct {
	limit time.Duration
	late  bool
}

func answered[T any](p *patience, name string, read func() (T, error)) (T, error) {
	var value T
	err := error(errLate)
	if !p.late {
		value, err = within(p.limit, read)
	}
	if p.late = errors.Is(err, errLate); p.late {
		err = fmt.Errorf("read %s: %w (%v); the file system must answer", name, errLate, p.limit)
	}
	return value, err
}
