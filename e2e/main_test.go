// Package e2e holds no code but tests: they put the real binary between real origins and real clients. Behind the edge
// stand openssl s_server, Go, Node, PostgreSQL and an nginx with two certificates, each with a key of its own; before
// it come curl, openssl s_client, GnuTLS, Node, Java, Python, Go, Chromium, psql and psycopg2. Every client verifies
// the certificate that it is shown, and every test compares it with the origin's, and reads the record that the edge
// wrote of the connection.
//
//	.ci/install-clients                            # the programs that the tests run
//	go test ./e2e
//	KEYHOLE_BUILD_FLAGS=-race go test ./e2e        # the edge with the race detector
//
// Each test asks for names of its own below an origin's domain, "curl-http2.go.example", and so finds its own records
// while others run beside it. A program that is missing is a failure, which says how to install it. Some tests make
// network namespaces or filter system calls, and fail for anybody but root.
//
// How fast the edge is, and what it does under load, is measured elsewhere.
package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestMain(m *testing.M) {
	if asked := os.Getenv(refusals); asked != "" {
		fmt.Fprintln(os.Stderr, "e2e:", runRefused(asked))
		os.Exit(1)
	}
	status, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		status = 1
	}
	os.Exit(status)
}

// runAll runs the tests in the world that they share.
func runAll(m *testing.M) (status int, err error) {
	// Where Debian has nginx and PostgreSQL's server, and a user's path may not look.
	servers, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return 1, err
	}
	os.Setenv("PATH", strings.Join(append([]string{os.Getenv("PATH"), "/usr/sbin"}, servers...), ":"))
	if err := missingPrograms(os.Environ()); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "keyhole-e2e-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	w, err := newWorld(dir)
	if err != nil {
		return 1, err
	}
	defer w.stop()
	shared = w
	return m.Run(), nil
}

// missingPrograms returns an error with the command that installs what the tests need and env's path does not have.
func missingPrograms(env []string) error {
	check := exec.Command("/bin/sh", "../.ci/install-clients", "--check")
	check.Env = env
	out, err := check.Output()
	if _, missing := errors.AsType[*exec.ExitError](err); missing && len(out) > 0 {
		return fmt.Errorf("programs are missing; install them with: %s", strings.TrimSpace(string(out)))
	}
	return err
}

func TestMissingProgramsAreNamedWithTheirRemedy(t *testing.T) {
	err := missingPrograms([]string{"PATH=" + t.TempDir()})
	if err == nil {
		t.Fatal("missingPrograms() = nil with nothing in the path, want an error")
	}
	for _, want := range []string{"apt-get install -y curl openssl", " gnutls-bin ", " chromium"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missingPrograms() = %q, want %q in it", err, want)
		}
	}
}

// watchSources reads the folders of the module, once. `go test` keeps a result until something changes that a test has
// read, and it neither sees what the edge is built from, nor what is read before the first test.
var watchSources = sync.OnceValue(func() error {
	return filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == ".git" {
			return fs.SkipDir
		}
		return err
	})
})

// buildKeyhole compiles the edge into dir and returns its path.
func buildKeyhole(dir string) (string, error) {
	binary := filepath.Join(dir, "keyhole")
	args := []string{"build", "-o", binary}
	args = append(args, strings.Fields(os.Getenv("KEYHOLE_BUILD_FLAGS"))...)
	out, err := exec.Command("go", append(args, "keyhole/cmd/keyhole")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build keyhole/cmd/keyhole: %w\n%s", err, out)
	}
	return binary, nil
}
