package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"

	"keyhole/config/strict"
	"keyhole/routes"
)

// maxIncluded is how many files a configuration may include.
const maxIncluded = 10_000

var includedSchema = strict.Schema{
	What:  "an included file",
	Want:  "a mapping with `backends` or `routes`",
	Keys:  []string{"backends", "routes"},
	Hints: includedHints(),
}

// includedHints are for the sections that only the main file has.
func includedHints() map[string]string {
	hints := map[string]string{"include": "an included file includes no others, list them in the main file"}
	for _, k := range rootSchema.Keys {
		switch k {
		case "backends", "routes", "include":
		default:
			hints[k] = "belongs into the main file, an included one has backends and routes only"
		}
	}
	for k, hint := range peerSections {
		hints[k] = hint
	}
	return hints
}

// A part is a file of the configuration, with its sections.
type part struct {
	file     string
	sections map[string]*yaml.Node
}

// include reads the files that `include` names, in the order of their globs.
func (d *decoder) include(n *yaml.Node) {
	d.config.Included = []string{}
	at := map[string]*yaml.Node{d.absolute(d.File): nil} // of the glob that a file comes from
	for e, pattern := range d.Texts(n, "include") {
		for _, file := range d.included(e, pattern) {
			first, twice := at[d.absolute(file)]
			switch {
			case twice && first == nil:
				d.Fail(e, "include %s: has the main file itself, give the included ones a folder of their own", strict.Quote(pattern))
			case twice:
				d.Fail(e, "include %s: %s is included already, by %s %s", strict.Quote(pattern), strict.Quote(file),
					strict.Quote(first.Value), d.Place(d.File, first.Line))
			case len(d.parts) >= maxIncluded:
				d.nameless = true
				d.Fail(e, "include %s: more than %d files", strict.Quote(pattern), maxIncluded)
				return
			default:
				at[d.absolute(file)] = e
				d.includeFile(e, file)
			}
		}
	}
}

// each reads a section of every file that has it.
func (d *decoder) each(name string, section func(*yaml.Node)) {
	for _, p := range d.parts {
		if n := p.sections[name]; n != nil {
			d.In(p.file, func() { section(n) })
		}
	}
}

// reserve makes room for the routes of all files.
func (d *decoder) reserve() {
	n := 0
	for _, p := range d.parts {
		if s := p.sections["routes"]; s != nil {
			n += len(s.Content)
		}
	}
	d.config.Routes = make([]routes.Route, 0, n)
	d.routeNodes = make([]*yaml.Node, 0, n)
}

// fileOfRoute returns what a route that is read now has for its File.
func (d *decoder) fileOfRoute() string {
	if d.File == d.config.File {
		return ""
	}
	return d.File
}

// absolute returns a path by which a file can be told from others.
func (d *decoder) absolute(file string) string {
	if abs, err := filepath.Abs(file); err == nil {
		return abs
	}
	return file
}

// included returns the files that a name or a glob stands for.
func (d *decoder) included(n *yaml.Node, pattern string) []string {
	name := beside(d.File, pattern)
	switch {
	case strings.ContainsRune(pattern, 0):
		d.Fail(n, "include %s: no file has a zero byte in its name", strict.Quote(pattern))
		return nil
	case !isGlob(pattern):
		return []string{name}
	case strings.Contains(pattern, "**"):
		d.Fail(n, "include %s: ** does not stand for folders of any depth, write one * for each", strict.Quote(pattern))
		return nil
	}
	if !filepath.IsAbs(pattern) {
		name = filepath.Join(literal(filepath.Dir(d.File)), pattern)
	}
	files, err := d.source.glob(name)
	if err != nil {
		d.nameless = true
		d.Fail(n, "include %s: %v", strict.Quote(pattern), d.fileError(err))
	}
	return files
}

// includeFile reads one file. What is wrong with the file itself is a problem where it is included.
func (d *decoder) includeFile(n *yaml.Node, file string) {
	data, err := d.read(file)
	switch {
	case errors.Is(err, errDirectory) && !isGlob(n.Value):
		d.Fail(n, "include %s: is a directory, write %s", strict.Quote(n.Value), strict.Quote(filepath.Join(n.Value, "*.yaml")))
	case err != nil:
		d.Fail(n, "include %s: %v", strict.Quote(n.Value), err)
	}
	if err != nil {
		d.nameless = true
		return
	}
	p := part{file, map[string]*yaml.Node{}}
	d.In(file, func() {
		wanted := d.Wanted
		d.Wanted = "" // it may wait for its first route
		before := d.Count()
		root := d.Root(data)
		d.nameless = d.nameless || root == nil && d.Count() > before
		if root != nil {
			for k, v := range d.Fields(root, &includedSchema) {
				p.sections[k.Value] = v
			}
			d.nameless = d.nameless || strict.Misspelt(root, &includedSchema, "backends")
		}
		d.Wanted = wanted
	})
	d.parts = append(d.parts, p)
	d.config.Included = append(d.config.Included, file)
}

// read reads a file that the configuration names.
func (d *decoder) read(file string) ([]byte, error) {
	data, err := d.source.ReadFile(file, MaxFile-d.size)
	d.size += int64(len(data))
	return data, d.fileError(err)
}

// fileError adds the remedy to what a file system says.
func (d *decoder) fileError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; a path is relative to the file that names it", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; the user that runs keyhole must be able to read it", err)
	}
	return err
}
