package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockFolder makes sure that no other process uses dir. The lock goes with the
// process, however it ends.
func lockFolder(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := os.ReadFile(path)
		err = fmt.Errorf("data folder %s is in use by process %s: stop it, or use another folder", dir, or(string(holder), "unknown"))
	} else if err != nil {
		err = fmt.Errorf("data folder: %w", &os.PathError{Op: "lock", Path: path, Err: err})
	} else {
		err = writePID(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// The number is for people only, so that a disk with no room for it does not
// keep the messages on it from being delivered.
func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprint(f, os.Getpid())
	if errors.Is(err, syscall.ENOSPC) {
		return nil
	}
	return err
}
