package keyhole_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// allowed lists, for each package of the module, which others it may import.
// Dependencies point one way: cmd -> proxy -> {routes, backend, sni, postgres,
// proxy/relay}, config -> {routes, backend}, which share address, and both
// routes and config -> sni, for the list of protocols that a look-up takes and
// for how others than TLS begin; deciding and moving bytes know
// nothing of each other. The push server stands apart: cmd/pushd -> push/server
// -> {push/auth, push/channel} -> push/store, with the protocol below them all.
// Only its demo knows an edge, and no edge knows it.
var allowed = map[string][]string{
	"sni":                  {},
	"postgres":             {},
	"proxyproto":           {},
	"routes":               {"sni"},
	"address":              {"routes"}, // whose normal form a host's name has
	"backend":              {"address"},
	"proxy/relay":          {},
	"convert":              {"address", "routes"},
	"config/strict":        {},
	"config":               {"address", "backend", "routes", "sni", "config/strict"}, // whose protocols `begins` names
	"proxy":                {"routes", "backend", "sni", "postgres", "proxyproto", "proxy/relay"},
	"cmd/internal/cli":     {"config/strict"},
	"cmd/internal/clitest": {},
	"cmd/internal/early":   {},
	"internal/testkit":     {},
	"internal/termkit":     {"internal/testkit", "push/wire", "push/keys"},
	"cmd/keyhole":          {"cmd/internal/cli", "cmd/internal/early", "address", "config", "convert", "routes", "backend", "sni", "proxy", "proxy/relay"},

	"push/keys":      {},
	"push/condition": {},
	"push/webpush":   {},
	"push/web":       {},
	"push/wire":      {"push/keys"},
	"push/client":    {"push/wire", "push/keys", "push/webpush"},
	"push/store":     {"push/wire"},
	"push/auth":      {"push/store", "push/wire", "push/keys"},
	"push/channel":   {"push/store", "push/wire", "push/condition"},
	"push/server": {"push/auth", "push/channel", "push/store", "push/wire", "push/keys", "push/condition",
		"push/webpush", "push/web"},
	"push/config": {"config/strict", "push/auth"},
	"cmd/pushd": {"cmd/internal/cli", "config/strict", "push/auth", "push/client", "push/config", "push/server", "push/store",
		"push/wire", "backend", "proxy", "proxy/relay", "routes"},
	"bench":        {"bench/internal/proc", "bench/internal/stats"},
	"bench/push":   {"bench/internal/proc", "bench/internal/stats", "push/client"},
	"bench/reload": {},
}

// programs stand beside the edge and know it only from outside.
var programs = []string{"bench", "e2e", "testdata"}

// rawAccess are the packages that may call the kernel by its descriptors:
// the relay, whose business it is, the benchmarks, and the tests' helpers.
var rawAccess = []string{"proxy/relay", "internal/testkit", "bench", "bench/push", "bench/internal/proc"}

// A source is one parsed Go file that is not a test.
type source struct {
	name, dir string
	*ast.File
}

// sources parses every file of the module that is built for something other
// than a test.
func sources(t *testing.T) (all []source) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		all = append(all, source{filepath.ToSlash(name), path.Dir(filepath.ToSlash(name)), f})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("%d source files found, want the module's", len(all))
	}
	return all
}

// imports returns the paths that f imports, by the name each has in it.
func (s source) imports() map[string]string {
	all := map[string]string{}
	for _, i := range s.File.Imports {
		at, _ := strconv.Unquote(i.Path.Value) // parsed already
		name := path.Base(at)
		if i.Name != nil {
			name = i.Name.Name
		}
		all[name] = at
	}
	return all
}

func TestImportsPointOneWay(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		seen[s.dir] = true
		may, known := allowed[s.dir]
		outside := slices.Contains(programs, strings.Split(s.dir, "/")[0])
		if !known && !outside {
			t.Errorf("%s is in a package that the rules do not name; add %q to allowed", s.name, s.dir)
		}
		for _, at := range s.imports() {
			if ours, ok := strings.CutPrefix(at, "keyhole/"); ok && ours != s.dir && !slices.Contains(may, ours) {
				t.Errorf("%s imports %s, want of ours at most %q", s.name, at, may)
			}
		}
	}
	for p := range allowed {
		if !seen[p] {
			t.Errorf("package %q has rules and no files", p)
		}
	}
}

var errno = regexp.MustCompile(`^E[A-Z0-9]+$`)

// Everybody may know an error of the kernel by its name; descriptors are the
// relay's alone.
func TestOnlyTheRelayTouchesDescriptors(t *testing.T) {
	for _, s := range sources(t) {
		if slices.Contains(rawAccess, s.dir) {
			continue
		}
		for name, at := range s.imports() {
			if at != "golang.org/x/sys/unix" {
				continue
			}
			ast.Inspect(s.File, func(n ast.Node) bool {
				if x, ok := n.(*ast.SelectorExpr); ok {
					if of, ok := x.X.(*ast.Ident); ok && of.Name == name && !errno.MatchString(x.Sel.Name) {
						t.Errorf("%s uses unix.%s, want no more than the names of errors", s.name, x.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

// forTests are packages that only tests may import, and each other. The tests of
// the edge and of the push server share testkit, which knows neither.
var forTests = []string{"internal/testkit", "internal/termkit", "cmd/internal/clitest"}

func TestOnlyTestsImportTheirHelpers(t *testing.T) {
	for _, s := range sources(t) {
		if slices.Contains(forTests, s.dir) {
			continue
		}
		for _, at := range s.imports() {
			if slices.Contains(forTests, strings.TrimPrefix(at, "keyhole/")) {
				t.Errorf("%s imports %s, want it in tests alone", s.name, at)
			}
		}
	}
}

// banned are packages that would bring in what the edge is built without, and
// where.
var banned = []struct{ in, pkg, reason string }{
	{"sni", "crypto/tls", "the hello is read, never answered"},
	{"routes", "net", "a look-up asks nobody"},
	{"sni", "net", "parsing asks nobody"},
	{"proxy", "crypto/tls", "the edge completes no handshake"},
	{"proxy/relay", "crypto/tls", "the relay knows nothing of TLS"},
	{"proxy/relay", "log/slog", "nothing on a loop may log"},
	{"push/client", "github.com/nats-io/nats.go", "a terminal knows the server, not its store"},
	{"push/channel", "github.com/nats-io/nats.go", "delivery knows a store by what it needs of it"},
}

// mayLog has the logger that the relay is given, for what the kernel refuses: a line a minute.
const mayLog = "proxy/relay/engine.go"

func TestBannedImports(t *testing.T) {
	for _, s := range sources(t) {
		for _, b := range banned {
			for _, at := range s.imports() {
				if s.dir == b.in && at == b.pkg && !(s.name == mayLog && at == "log/slog") {
					t.Errorf("%s imports %s, want none: %s", s.name, b.pkg, b.reason)
				}
			}
		}
	}
}
