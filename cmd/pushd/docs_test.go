package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"keyhole/push/config"
)

func manual(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/pushd.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestManualNamesEveryKey takes the keys from where they are read.
func TestManualNamesEveryKey(t *testing.T) {
	source, err := os.ReadFile("../../push/config/decode.go")
	if err != nil {
		t.Fatal(err)
	}
	text, found := manual(t), 0
	for _, list := range regexp.MustCompile(`\[\]string\{("[^}]*")\}`).FindAllStringSubmatch(string(source), -1) {
		for _, key := range regexp.MustCompile(`"([a-z_]+)"`).FindAllStringSubmatch(list[1], -1) {
			found++
			if !strings.Contains(text, "`"+key[1]+"`") {
				t.Errorf("docs/pushd.md does not name `%s`", key[1])
			}
		}
	}
	if found < 45 {
		t.Errorf("push/config has %d keys and words, want 45 or more", found)
	}
}

// TestManualNamesEveryCommand takes the commands from the program's own help.
func TestManualNamesEveryCommand(t *testing.T) {
	var help strings.Builder
	if err := run(t.Context(), []string{"--help"}, strings.NewReader(""), &help, &help); err != nil {
		t.Fatal(err)
	}
	text := manual(t)
	commands := regexp.MustCompile(`(?m)^  ([a-z]+) +[A-Z]`).FindAllStringSubmatch(help.String(), -1)
	for _, c := range commands {
		if c[1] != "help" && !regexp.MustCompile("`"+c[1]+"[ `]").MatchString(text) {
			t.Errorf("docs/pushd.md does not name `%s`", c[1])
		}
	}
	if len(commands) < 10 {
		t.Errorf("the help lists %d commands, want 10 or more:\n%s", len(commands), help.String())
	}
}

// TestManualConfigurations shows that each configuration in the manual is a
// right one.
func TestManualConfigurations(t *testing.T) {
	found := 0
	for _, b := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(manual(t), -1) {
		if strings.HasPrefix(b[1], "# keyhole.yaml") {
			continue // the edge's
		}
		found++
		c, err := config.Parse("docs/pushd.md", []byte(b[1]))
		if err == nil {
			err = c.Complete()
		}
		if err != nil {
			t.Errorf("%v, in\n%s", err, b[1])
		}
	}
	if found != 2 {
		t.Errorf("%d configurations, want 2", found)
	}
}
