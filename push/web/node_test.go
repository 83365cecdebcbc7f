package web_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"keyhole/push/web"
)

// A peer is the modules of the page, as they are embedded, in a Node process.
type peer struct {
	t   testing.TB
	in  io.WriteCloser
	out *bufio.Reader
}

// startPeer starts Node, and ends it with the test.
func startPeer(t testing.TB) *peer {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("node is not installed (%v): install Node.js 18 or later, on Debian by .ci/install-clients", err)
	}
	dir := t.TempDir()
	writeModules(t, dir)
	cmd := exec.Command(node, filepath.Join(dir, "peer.mjs"))
	var printed strings.Builder
	cmd.Stderr = &printed
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close() // its loop ends with its input
		if err := cmd.Wait(); err != nil {
			t.Errorf("node ended with %v, want success", err)
		}
		if t.Failed() {
			t.Logf("node printed:\n%s", &printed)
		}
	})
	return &peer{t, in, bufio.NewReader(out)}
}

// writeModules puts the page's modules and the script that calls them into dir.
func writeModules(t testing.TB, dir string) {
	t.Helper()
	// Without it Node takes .js for CommonJS; browsers go by type="module".
	files := map[string][]byte{"package.json": []byte(`{"type":"module"}`)}
	names, err := fs.Glob(web.Files, "*.js")
	if err != nil || len(names) == 0 {
		t.Fatalf("Glob(*.js) = %q, %v, want the modules of the page", names, err)
	}
	for _, name := range names {
		if files[name], err = web.Files.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	if files["peer.mjs"], err = os.ReadFile("testdata/peer.mjs"); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A failure is what a call threw.
type failure struct {
	Message string `json:"error"`
	Code    string `json:"code"`
}

func (f *failure) Error() string { return f.Message }

// try calls a function of testdata/peer.mjs and reads what it returns into value.
func (p *peer) try(value any, call string, args ...any) error {
	p.t.Helper()
	for i, arg := range args {
		switch arg := arg.(type) {
		case []byte:
			args[i] = b64(arg)
		case [][]byte:
			texts := make([]string, len(arg))
			for j := range arg {
				texts[j] = b64(arg[j])
			}
			args[i] = texts
		}
	}
	if args == nil {
		args = []any{}
	}
	line, err := json.Marshal(map[string]any{"call": call, "args": args})
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		p.t.Fatalf("%s: write to node: %v", call, err)
	}
	answer, err := p.out.ReadBytes('\n')
	if err != nil {
		p.t.Fatalf("%s: read from node: %v", call, err)
	}
	var reply struct {
		Value json.RawMessage `json:"value"`
		failure
	}
	if err := json.Unmarshal(answer, &reply); err != nil {
		p.t.Fatalf("%s: node answered %q: %v", call, answer, err)
	}
	if reply.Value == nil {
		return &reply.failure
	}
	if err := json.Unmarshal(reply.Value, value); err != nil {
		p.t.Fatalf("%s: node returned %s: %v", call, reply.Value, err)
	}
	return nil
}

// call is try for what has to succeed.
func (p *peer) call(value any, call string, args ...any) {
	p.t.Helper()
	if err := p.try(value, call, args...); err != nil {
		p.t.Fatalf("%s: %v", call, err)
	}
}

// bytes is call for a function that returns bytes.
func (p *peer) bytes(call string, args ...any) []byte {
	p.t.Helper()
	var text string
	p.call(&text, call, args...)
	return unb64(p.t, text)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func unb64(t testing.TB, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatalf("%q is not base64url: %v", text, err)
	}
	return b
}

// refuses checks that a call throws something with want in it.
func (p *peer) refuses(want, call string, args ...any) {
	p.t.Helper()
	var value json.RawMessage
	if err := p.try(&value, call, args...); err == nil || !strings.Contains(err.Error(), want) {
		p.t.Errorf("%s = %s, %v, want an error with %q in it", call, value, err, want)
	}
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	b, err := web.Files.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
