package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"keyhole/cmd/internal/cli"
	"keyhole/config"
	"keyhole/proxy"
	"keyhole/proxy/relay"
)

const root = "../.."

// documents returns the text of each document, by its path from the root of the repository.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			name, err := filepath.Rel(root, f)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = read(t, name)
		}
	}
	for _, name := range []string{"README.md", "docs/configuration.md", "docs/operations.md", "docs/routing.md"} {
		if all[name] == "" {
			t.Errorf("%s is missing or empty", name)
		}
	}
	return all
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	block = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")
	shown = regexp.MustCompile(`(?m)^\$ (?:(\w+)=(\S+) )?keyhole (explain|check) ?(.*)\n((?:[^$\n].*\n)+)`)
	named = regexp.MustCompile(`^# ([\w./]+\.(?:yaml|txt))\n`)
	link  = regexp.MustCompile(`\]\(([^):#]+)(#[^)]*)?\)`)
)

// TestDocumentsRun shows that the examples in the documents are right. A whole configuration has no
// problem, unless its first line is "# NAME.yaml". `keyhole explain` and `keyhole check`, perhaps
// with a variable of the environment before them, print the lines below them, with the last
// configuration above in keyhole.yaml, and the named ones in NAME.yaml.
func TestDocumentsRun(t *testing.T) {
	ran := 0
	for name, text := range documents(t) {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			for _, b := range block.FindAllStringSubmatch(text, -1) {
				switch b[1] {
				case "yaml", "text":
					keep(t, name, b[2])
				case "console":
					for _, c := range shown.FindAllStringSubmatch(b[2], -1) {
						if c[1] != "" {
							t.Setenv(c[1], c[2])
						}
						runShown(t, append([]string{c[3]}, strings.Fields(c[4])...), c[5])
						os.Unsetenv(c[1])
						ran++
					}
				}
			}
		})
	}
	if ran == 0 {
		t.Error("no document shows `keyhole explain`")
	}
}

// keep writes a configuration from a document to its file, unless it is only a part of one.
func keep(t *testing.T, document, text string) {
	t.Helper()
	file := "keyhole.yaml"
	if n := named.FindStringSubmatch(text); n != nil {
		file = n[1]
	} else if !strings.HasPrefix(text, "listen:") {
		return
	} else if _, err := config.Parse(document, []byte(text)); err != nil {
		t.Error(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func runShown(t *testing.T, args []string, want string) {
	t.Helper()
	for i := range args {
		args[i] = strings.Trim(args[i], "'")
	}
	var out bytes.Buffer
	err := run(context.Background(), args, &out, &out)
	if err != nil {
		fmt.Fprintln(&out, cli.Message("keyhole", err))
	}
	if out.String() != want {
		t.Errorf("keyhole %q prints\n%s\nwant\n%s", args, &out, want)
	}
}

// TestDocumentsLink shows that relative links lead somewhere.
func TestDocumentsLink(t *testing.T) {
	for name, text := range documents(t) {
		for _, l := range link.FindAllStringSubmatch(text, -1) {
			to := filepath.Join(root, filepath.Dir(name), l[1])
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s: %v", name, l[1], err)
			}
		}
	}
}

// TestEveryKeyIsDocumented takes the keys from the example, which has all.
func TestEveryKeyIsDocumented(t *testing.T) {
	keys := regexp.MustCompile(`(?m)^\s*(?:# ?)?(?:- )?\{?([a-z_]+):(?:\s|$)|[{,] ?([a-z_]+): `)
	text := read(t, "docs/configuration.md")
	found := 0
	for _, m := range keys.FindAllStringSubmatch(read(t, "config.example.yaml"), -1) {
		key := m[1] + m[2]
		switch key {
		case "shop", "mail", "type", "interval", "timeout", "rise", "fall", "failures", "within", "for", "auto":
			continue // names of backends, what `health` and `eject` hold, and a value
		}
		found++
		if !strings.Contains(text, "`"+key+"`") {
			t.Errorf("docs/configuration.md does not mention `%s`", key)
		}
	}
	if found < 25 {
		t.Errorf("config.example.yaml has %d keys, want 25 or more", found)
	}
}

// TestEveryReasonIsDocumented is for reasons and phases.
func TestEveryReasonIsDocumented(t *testing.T) {
	text := read(t, "docs/operations.md")
	for r := proxy.NoReason + 1; r <= proxy.Killed; r++ {
		if !strings.Contains(text, "\n| `"+r.String()+"` |") {
			t.Errorf("docs/operations.md does not list the reason `%s`", r)
		}
	}
	for p := relay.PhaseAdmit; p <= relay.PhaseRelay; p++ {
		if !strings.Contains(text, "\n| `"+p.String()+"` |") {
			t.Errorf("docs/operations.md does not list the phase `%s`", p)
		}
	}
}

// TestNamedTestsExist shows that every test that docs/architecture.md names exists.
func TestNamedTestsExist(t *testing.T) {
	var tests strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		tests.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(read(t, "docs/architecture.md"), -1)
	if len(names) == 0 {
		t.Error("docs/architecture.md names no test")
	}
	for _, n := range names {
		if !strings.Contains(tests.String(), "\nfunc "+n[1]+"(") {
			t.Errorf("docs/architecture.md names %s, which does not exist", n[1])
		}
	}
}
