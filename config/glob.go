package config

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
)

// isGlob reports whether a name stands for any number of files.
func isGlob(name string) bool { return strings.ContainsAny(name, `*?[\`) }

// literal returns the pattern that stands for one path.
var literal = strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace

// glob returns the files that a pattern stands for, sorted. Unlike filepath.Glob it says which
// directory it cannot read: files that it left out would be routes that are gone. As in a shell, a
// star does not stand for a dot at the beginning: an editor's own files are not meant.
func (s Source) glob(pattern string) ([]string, error) {
	if _, err := filepath.Match(pattern, ""); err != nil {
		return nil, errors.New("a [ has no ]")
	}
	dir, base := filepath.Split(pattern)
	if dir == "" {
		dir = "."
	}
	dirs := []string{filepath.Clean(dir)}
	if isGlob(dir) {
		var err error
		if dirs, err = s.glob(filepath.Clean(dir)); err != nil {
			return nil, err
		}
	}
	var found []string
	for _, d := range dirs {
		entries, err := s.ReadDir(d)
		if isGlob(dir) && isNoDirectory(err) {
			continue // a file among the directories that the star stands for
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if matches(base, e.Name()) {
				found = append(found, filepath.Join(d, e.Name()))
			}
		}
	}
	return found, nil
}

func isNoDirectory(err error) bool {
	return errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fs.ErrNotExist)
}

func matches(pattern, name string) bool {
	ok, _ := filepath.Match(pattern, name)
	return ok && (name[0] != '.' || pattern[0] == '.')
}
