package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// MaxFile is the size in bytes of the largest file that a Source reads, and of all of them together.
const MaxFile = 256 << 20

// A Source is what a configuration reads beside its own text: further files, and the environment.
// The zero value reads those of the process. A caller that must not wait for a file system that
// hangs has functions of its own.
type Source struct {
	// ReadFile reads a regular file of at most limit bytes. Its error has the name and the reason.
	ReadFile func(name string, limit int64) ([]byte, error)
	// ReadDir lists a directory, sorted by name.
	ReadDir func(name string) ([]fs.DirEntry, error)
	// LookupEnv returns a variable of the environment.
	LookupEnv func(name string) (string, bool)
}

func (s Source) complete() Source {
	if s.ReadFile == nil {
		s.ReadFile = ReadFile
	}
	if s.ReadDir == nil {
		s.ReadDir = os.ReadDir
	}
	if s.LookupEnv == nil {
		s.LookupEnv = os.LookupEnv
	}
	return s
}

// ReadFile reads a regular file of at most limit bytes. It does not open what may have nobody at its
// other end, such as a FIFO.
func ReadFile(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err == nil {
		err = regular(info)
	}
	var data []byte
	if err == nil {
		data, err = readUpTo(name, limit)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: cause(err)}
	}
	return data, nil
}

func readUpTo(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("the files of a configuration together are larger than %d MiB", MaxFile>>20)
	}
	return data, err
}

// regular returns why a file cannot be part of a configuration.
func regular(info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		return errDirectory
	case mode&fs.ModeNamedPipe != 0:
		return errors.New("is a FIFO, want a regular file")
	case mode&fs.ModeSocket != 0:
		return errors.New("is a socket, want a regular file")
	}
	return errors.New("is a device, want a regular file")
}

var errDirectory = errors.New("is a directory, want a regular file")

// cause leaves out the name, which the caller adds.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// beside returns the path of a file that another one names.
func beside(file, name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(filepath.Dir(file), name)
}
