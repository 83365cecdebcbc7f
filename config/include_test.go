package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// folder makes a folder with those files, and works in it. A value that begins with -> is the
// target of a symbolic link; a name that ends with / is a folder.
func folder(t testing.TB, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		err := error(nil)
		switch target, link := strings.CutPrefix(text, "->"); {
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		case link:
			err = os.Symlink(target, path)
		default:
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.(interface{ Chdir(string) }).Chdir(dir)
}

const includeLine = "include: conf.d/*.yaml\n"

func TestInclude(t *testing.T) {
	folder(t, map[string]string{
		"keyhole.yaml":   listenLine + includeLine + "routes: [{sni: main.example, backend: shop}]\n",
		"conf.d/b.yaml":  "backends: {shop: {servers: [10.0.0.5:443]}}\n",
		"conf.d/a.yaml":  "\nroutes:\n  - {sni: a.example, backend: shop}\n  - {sni: \"*.a.example\", backend: \"10.0.0.9:443\"}\n",
		"conf.d/c.yaml":  "# nothing yet\n",
		"conf.d/d.yaml":  "",
		"conf.d/x.yaml~": "not YAML: [",
		"conf.d/.x.yaml": "not YAML: [",
		"conf.d/README":  "not YAML: [",
	})
	c, err := Load("keyhole.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range c.Routes {
		got = append(got, fmt.Sprintf("%s %s %s:%d", r.SNI[0], c.Backends[r.Backend].Name, r.File, r.Line))
	}
	want := []string{"main.example shop :3", "a.example shop conf.d/a.yaml:3", "*.a.example 10.0.0.9:443 conf.d/a.yaml:4"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the routes are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Paths are relative to the main file, wherever the process works.
func TestIncludeBesideTheMainFile(t *testing.T) {
	folder(t, map[string]string{
		"etc/keyhole.yaml":  listenLine + "include: [../sites/*/edge.yaml, one.yaml]\n",
		"etc/one.yaml":      "routes: [{sni: one.example, backend: \"10.0.0.5:443\"}]\n",
		"sites/b/edge.yaml": "routes: [{sni: b.example, backend: \"10.0.0.5:443\"}]\n",
		"sites/a/edge.yaml": "routes: [{sni: a.example, backend: \"10.0.0.5:443\"}]\n",
		"sites/README":      "",
		"sites/gone":        "->nowhere",
		"sites/c/":          "",
	})
	c, err := Load("etc/keyhole.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range c.Routes {
		got = append(got, r.File)
	}
	if want := "sites/a/edge.yaml sites/b/edge.yaml etc/one.yaml"; strings.Join(got, " ") != want {
		t.Errorf("the routes are of %s, want %s", strings.Join(got, " "), want)
	}
}

// The folder of the main file may have any name.
func TestIncludeInAFolderLikeAGlob(t *testing.T) {
	folder(t, map[string]string{
		`e[tc]*\?/keyhole.yaml`: listenLine + "include: [\"*.d/?.yaml\", b.yaml]\n",
		`e[tc]*\?/x.d/a.yaml`:   "routes: [{sni: a.example, backend: \"10.0.0.5:443\"}]\n",
		`e[tc]*\?/b.yaml`:       "routes: [{sni: b.example, backend: \"10.0.0.5:443\"}]\n",
		"et/x.d/b.yaml":         "not YAML: [",
	})
	if c, err := Load(`e[tc]*\?/keyhole.yaml`); err != nil || len(c.Routes) != 2 {
		t.Errorf("Load = %+v, %v, want two routes", c, err)
	}
}

// Kubernetes mounts a folder of links, beside hidden folders that hold the files.
func TestIncludeLinks(t *testing.T) {
	folder(t, map[string]string{
		"keyhole.yaml":         listenLine + "include: conf.d/*\n",
		"conf.d/..2026/a.yaml": "routes: [{sni: a.example, backend: \"10.0.0.5:443\"}]\n",
		"conf.d/..data":        "->..2026",
		"conf.d/a.yaml":        "->..data/a.yaml",
	})
	if c, err := Load("keyhole.yaml"); err != nil || len(c.Routes) != 1 {
		t.Errorf("Load = %+v, %v, want one route", c, err)
	}
}

// includeCases are mistakes in and around included files. The texts are of the main file, which is
// beside includeFolder.
var includeCases = []problemCase{
	{"no folder", listenLine + "include: confd/*.yaml\n" + routesLine,
		"k.yaml:2:10: include \"confd/*.yaml\": open confd: no such file or directory; a path is relative to the file that names it"},
	{"no file", listenLine + "include: [conf.d/absent.yaml, absent.yaml]\n" + routesLine,
		"k.yaml:2:11: include \"conf.d/absent.yaml\": read conf.d/absent.yaml: no such file or directory; a path is relative to the file that names it\n" +
			"k.yaml:2:31: include \"absent.yaml\": read absent.yaml: no such file or directory; a path is relative to the file that names it"},
	{"folder", listenLine + "include: conf.d\n" + routesLine,
		"k.yaml:2:10: include \"conf.d\": is a directory, write \"conf.d/*.yaml\""},
	{"folder by a glob", listenLine + "include: \"*\"\n" + routesLine,
		"k.yaml:2:10: include \"*\": read bad: is a directory, want a regular file\n" +
			"k.yaml:2:10: include \"*\": read conf.d: is a directory, want a regular file\n" +
			"k.yaml:2:10: include \"*\": has the main file itself, give the included ones a folder of their own"},
	{"device", listenLine + "include: [/dev/null]\n" + routesLine,
		"k.yaml:2:11: include \"/dev/null\": read /dev/null: is a device, want a regular file"},
	{"bad patterns", listenLine + "include: [\"conf.d/[a.yaml\", \"conf.d/**/a.yaml\", \"\"]\n" + routesLine,
		"k.yaml:2:11: include \"conf.d/[a.yaml\": a [ has no ]\n" +
			"k.yaml:2:29: include \"conf.d/**/a.yaml\": ** does not stand for folders of any depth, write one * for each\n" +
			"k.yaml:2:49: `include` is empty"},
	{"wrong types", listenLine + "include: {a: b}\n" + routesLine,
		"k.yaml:2:10: `include` must be a list, got a mapping"},
	{"no value", listenLine + "include:\n" + routesLine,
		"k.yaml:2:9: `include` has no value"},
	{"one file twice", listenLine + "include:\n  - conf.d/*.yaml\n  - ./conf.d/../conf.d/a.yaml\n" + "routes: []\n",
		"k.yaml:4:5: include \"./conf.d/../conf.d/a.yaml\": \"conf.d/a.yaml\" is included already, by \"conf.d/*.yaml\" on line 3"},
	{"the main file", listenLine + "include: k.yaml\n" + routesLine,
		"k.yaml:2:10: include \"k.yaml\": has the main file itself, give the included ones a folder of their own"},
	{"what only the main file has", listenLine + "include: bad/sections.yaml\n" + routesLine,
		"bad/sections.yaml:1:1: unknown key `listen`: belongs into the main file, an included one has backends and routes only\n" +
			"bad/sections.yaml:2:1: unknown key `include`: an included file includes no others, list them in the main file\n" +
			"bad/sections.yaml:3:1: unknown key `no_sni`: belongs into the main file, an included one has backends and routes only\n" +
			"bad/sections.yaml:4:1: unknown key `rotues`, did you mean `routes`?\n" +
			"bad/sections.yaml:5:1: unknown key `upstreams`: write `backends`"},
	{"no YAML", listenLine + "include: bad/syntax.yaml\nroutes: [{sni: b.example, backend: shop}]\n",
		"bad/syntax.yaml:2:11: a value that begins with * must be quoted, did you mean \"*.example\"?"},
	{"another type", listenLine + "include: bad/list.yaml\n" + routesLine,
		"bad/list.yaml:1:1: an included file must be a mapping with `backends` or `routes`, got a list"},
	{"duplicates between files",
		"include: [conf.d/*.yaml, bad/duplicates.yaml]\n" + listenLine + "backends: {shop: {servers: [10.0.0.1:443]}}\nroutes:\n  - {sni: c.example, backend: shop}\n",
		"conf.d/a.yaml:1:12: duplicate backend \"shop\", first in k.yaml:3\n" +
			"bad/duplicates.yaml:1:12: duplicate backend \"shop\", first in k.yaml:3\n" +
			"bad/duplicates.yaml:1:77: duplicate backend \"own\", first on line 1\n" +
			"bad/duplicates.yaml:3:11: \"a.example\" is already routed in conf.d/a.yaml:3\n" +
			"bad/duplicates.yaml:4:11: \"c.example\" is already routed in k.yaml:5\n" +
			"bad/duplicates.yaml:6:11: \"d.example\" is already routed on line 5"},
	{"unknown backends", listenLine + "include: bad/unknown.yaml\nroutes: [{sni: z.example, backend: nop}]\n",
		"k.yaml:3:36: unknown backend \"nop\"\n" +
			"bad/unknown.yaml:2:36: unknown backend \"shpo\", did you mean \"shop\"?"},
	{"a loop", listenLine + "include: bad/loop.yaml\n" + routesLine,
		"bad/loop.yaml:1:26: server \"127.0.0.1:443\": would connect the edge to itself, it listens on \":443\"; name the origin's own address or another port"},
	{"a slip of the key", listenLine + "inlcude: conf.d/*.yaml\nno_sni: {backend: shop}\n",
		"k.yaml:2:1: unknown key `inlcude`, did you mean `include`?"},
	{"nothing that forwards", listenLine + "include: bad/rejects.yaml\n",
		"k.yaml:1:1: no route has a backend, and neither has `default` or `no_sni`, so that no connection could be forwarded"},
}

var includeFolder = map[string]string{
	"conf.d/a.yaml":       "backends: {shop: {servers: [10.0.0.5:443]}}\nroutes:\n  - {sni: a.example, backend: shop}\n",
	"bad/sections.yaml":   "listen: [{address: \":444\"}]\ninclude: x.yaml\nno_sni: {reject: close}\nrotues: []\nupstreams: {}\n",
	"bad/syntax.yaml":     "routes:\n  - {sni: *.example, backend: shop}\n",
	"bad/list.yaml":       "[a]\n",
	"bad/duplicates.yaml": "backends: {shop: {servers: [10.0.0.6:443]}, own: {servers: [10.0.0.7:443]}, own: {servers: [10.0.0.8:443]}}\nroutes:\n  - {sni: a.example, backend: own}\n  - {sni: C.example, backend: own}\n  - {sni: d.example, backend: own}\n  - {sni: d.example., backend: own}\n",
	"bad/unknown.yaml":    "backends: {shop: {servers: [10.0.0.5:443]}}\nroutes: [{sni: y.example, backend: shpo}]\n",
	"bad/loop.yaml":       "backends: {a: {servers: [\"127.0.0.1:443\"]}}\n",
	"bad/rejects.yaml":    "routes: [{sni: y.example, reject: alert}]\n",
}

func TestIncludeProblems(t *testing.T) {
	for _, c := range includeCases {
		t.Run(c.name, func(t *testing.T) {
			folder(t, includeFolder)
			if err := os.WriteFile("k.yaml", []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := Load("k.yaml")
			if err == nil || err.Error() != c.want {
				t.Errorf("Load(%q) =\n%v\nwant\n%s", c.text, err, c.want)
			}
		})
	}
}

// A folder that cannot be read is not a folder without files: its routes would be gone.
func TestIncludeUnreadable(t *testing.T) {
	denied := &fs.PathError{Op: "open", Path: "conf.d", Err: fs.ErrPermission}
	for _, s := range []Source{
		{ReadDir: func(string) ([]fs.DirEntry, error) { return nil, denied }},
		{ReadFile: func(string, int64) ([]byte, error) { return nil, denied }},
	} {
		folder(t, includeFolder)
		_, err := s.Parse("k.yaml", []byte(listenLine+includeLine+"routes: [{sni: z.example, backend: unknown}]\n"))
		want := "k.yaml:2:10: include \"conf.d/*.yaml\": open conf.d: permission denied; the user that runs keyhole must be able to read it"
		if err == nil || err.Error() != want {
			t.Errorf("Parse = %v, want %s", err, want)
		}
	}
}

// All files together have one bound.
func TestIncludeIsBounded(t *testing.T) {
	folder(t, map[string]string{"conf.d/a.yaml": "#aaaaaaa", "conf.d/b.yaml": "#bbbbbbb", "conf.d/c.yaml": "#ccccccc"})
	var limits []int64
	s := Source{ReadFile: func(name string, limit int64) ([]byte, error) {
		limits = append(limits, limit)
		return ReadFile(name, limit)
	}}
	text := []byte(listenLine + includeLine + routesLine)
	if _, err := s.Parse("k.yaml", text); err != nil {
		t.Fatal(err)
	}
	left := int64(MaxFile - len(text))
	if want := fmt.Sprint([]int64{left, left - 8, left - 16}); fmt.Sprint(limits) != want {
		t.Errorf("the files are read up to %v bytes, want %s", limits, want)
	}
	if _, err := ReadFile("conf.d/a.yaml", 7); err == nil {
		t.Error("ReadFile of 8 bytes with a limit of 7 = nil error, want one")
	}
	if data, err := ReadFile("conf.d/a.yaml", 8); err != nil || len(data) != 8 {
		t.Errorf("ReadFile of 8 bytes with a limit of 8 = %q, %v, want them", data, err)
	}
}

func BenchmarkInclude(b *testing.B) {
	const n = 100_000
	for _, parts := range []int{1, 1000} {
		b.Run(fmt.Sprintf("files=%d", parts), func(b *testing.B) {
			files := map[string]string{"keyhole.yaml": listenLine + includeLine + "backends:\n  shop: {servers: [10.0.0.5:443]}\n"}
			for p := range parts {
				var text strings.Builder
				text.WriteString("routes:\n")
				for i := range n / parts {
					fmt.Fprintf(&text, "  - {sni: host%d.example.com, backend: shop}\n", p*n/parts+i)
				}
				files[fmt.Sprintf("conf.d/%d.yaml", p)] = text.String()
			}
			folder(b, files)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Load("keyhole.yaml"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
