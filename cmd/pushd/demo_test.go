package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"keyhole/internal/testkit"
)

// lines passes on what a process writes, line by line, until it ends.
func lines(r io.Reader) <-chan string {
	all := make(chan string, 10_000)
	go func() {
		defer close(all)
		for s := bufio.NewScanner(r); s.Scan(); {
			all <- s.Text()
		}
	}()
	return all
}

// await returns the lines up to the one that re matches.
func await(t *testing.T, from <-chan string, re string) (seen []string) {
	t.Helper()
	late := time.After(testkit.Patience)
	for {
		select {
		case line, more := <-from:
			if !more {
				t.Fatalf("the process ended without %q after:\n%s", re, strings.Join(seen, "\n"))
			}
			seen = append(seen, line)
			if regexp.MustCompile(re).MatchString(line) {
				return seen
			}
		case <-late:
			t.Fatalf("no %q; there was:\n%s", re, strings.Join(seen, "\n"))
		}
	}
}

// shell pastes a command into bash, whose own `pushd` must not get in the way,
// and returns its standard input, output and error.
func shell(t *testing.T, command string) (in io.Writer, out, errs <-chan string) {
	t.Helper()
	cmd := exec.Command("bash", "-c", "exec env "+command)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; install bash, which the demo's commands are pasted into", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() // an error says that it has ended
		cmd.Wait()         // and this, that somebody has waited
	})
	return stdin, lines(stdout), lines(stderr)
}

// TestDemo pastes the commands that the demo prints into a shell.
func TestDemo(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatalf("%v; install curl, which the demo's commands run", err)
	}
	demo := exec.Command("pushd", "demo", "--listen", "127.0.0.1:0")
	stdout, err := demo.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { demo.Process.Kill() })
	records := lines(stdout)
	printed := strings.Join(await(t, records, `Ctrl-C ends the demo`), "\n")
	commands := regexp.MustCompile(`(?m)^    ((?:PUSHD_\w+=\S+ |curl ).*)$`).FindAllStringSubmatch(printed, -1)
	if len(commands) != 4 {
		t.Fatalf("the demo prints %d commands, want 4:\n%s", len(commands), printed)
	}

	in, messages, statuses := shell(t, commands[0][1])
	await(t, statuses, `^verified \(binding tls-exporter\)$`)
	await(t, statuses, `^listening$`)
	for i, want := range []string{`"seq":1,`, `"seq":2,`, `"seq":3`} {
		_, out, _ := shell(t, commands[i+1][1])
		await(t, out, want)
	}
	await(t, messages, `"text":"Hello, phone"`)
	if between := await(t, messages, `"text":"Hello, everybody"`); len(between) != 1 {
		t.Errorf("between two messages came %q, want none: the terminal is not on wifi", between)
	}
	io.WriteString(in, "network=wifi\n")
	await(t, messages, `"text":"A large one"`)

	ca := regexp.MustCompile(`--ca (\S+)`).FindStringSubmatch(commands[0][1])[1]
	demo.Process.Signal(os.Interrupt)
	await(t, records, ` sni=localhost .* backend=pushd .* phase=relay `)
	for range records { // until it has ended
	}
	if err := demo.Wait(); err != nil {
		t.Errorf("the demo ended with %v, want status 0", err)
	}
	if _, err := os.Stat(filepath.Dir(ca)); !os.IsNotExist(err) {
		t.Errorf("after the demo, its folder: %v, want that it is gone", err)
	}
}
