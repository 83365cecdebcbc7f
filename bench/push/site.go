package main

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"text/template"

	"keyhole/bench/internal/proc"
)

// host is the name that the edge routes and the certificate is for.
const host = "push.bench.example"

// The configurations, to be read beside the figures.
//
//go:embed configs/*.tmpl
var configFiles embed.FS

var configs = template.Must(template.ParseFS(configFiles, "configs/*.tmpl"))

// A site is the edge and pushd behind it, on loopback.
type site struct {
	dir                 string // of everything
	keyhole, pushd      string // binaries
	Edge, Origin, Admin netip.AddrPort
	Terminals           int

	origin, edge *process // nil: not running
}

// newSite builds both programs, unless a binary is given, and writes their
// configurations into dir.
func newSite(ctx context.Context, dir string, o options) (*site, error) {
	pushd, err := filepath.Abs(cmp.Or(o.pushd, filepath.Join(dir, "pushd")))
	if err != nil {
		return nil, err
	}
	s := &site{dir: dir, keyhole: filepath.Join(dir, "keyhole"), pushd: pushd, Terminals: o.plan.terminals}
	if err := build(ctx, s.keyhole, "keyhole/cmd/keyhole"); err != nil {
		return nil, err
	}
	if o.pushd == "" {
		if err := build(ctx, s.pushd, "keyhole/cmd/pushd"); err != nil {
			return nil, err
		}
	}
	for _, addr := range []*netip.AddrPort{&s.Edge, &s.Origin, &s.Admin} {
		if *addr, err = proc.FreeAddr(); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"keyhole.yaml", "pushd.yaml"} {
		var b bytes.Buffer
		if err := configs.ExecuteTemplate(&b, name+".tmpl", s); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func build(ctx context.Context, binary, pkg string) error {
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, pkg).CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w: %s", pkg, err, bytes.TrimSpace(out))
	}
	return nil
}

// Connections is what the edge is configured for: terminals, publishers, and
// those that set terminals up.
func (s *site) Connections() int { return s.Terminals + 500 }

// Folders of the store: as it was after the set-up, and the copy that runs.
const (
	pristine = "population"
	running  = "data"
)

// fresh puts a copy of the store as it was after the set-up in place of the
// one that ran before.
func (s *site) fresh() error {
	to := filepath.Join(s.dir, running)
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-a", filepath.Join(s.dir, pristine), to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy the store: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// start runs pushd on the folder data, and the edge before it, and returns
// when both answer.
func (s *site) start(ctx context.Context, data string) (err error) {
	if s.origin, err = start(s.dir, "pushd", s.pushd, "serve", "--config", "pushd.yaml", "--data", data); err != nil {
		return err
	}
	if err := s.origin.await(ctx, s.ready); err != nil {
		return err
	}
	return s.startEdge(ctx)
}

func (s *site) startEdge(ctx context.Context) (err error) {
	if s.edge, err = start(s.dir, "keyhole", s.keyhole, "run", "--config", "keyhole.yaml"); err != nil {
		return err
	}
	return s.edge.await(ctx, func() error {
		c, err := net.Dial("tcp4", s.Edge.String())
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// stop ends what runs.
func (s *site) stop() {
	for _, p := range []*process{s.edge, s.origin} {
		if p != nil {
			p.stop()
		}
	}
	s.edge, s.origin = nil, nil
}

// command runs pushd for the operator and returns what it prints.
func (s *site) command(ctx context.Context, password string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, s.pushd, args...)
	c.Env = append(os.Environ(), "PUSHD_PASSWORD="+password)
	out, err := c.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("pushd %v: %w: %s", args, err, bytes.TrimSpace(out))
	}
	return string(bytes.TrimSpace(out)), nil
}

// ready asks pushd whether a message can be stored.
func (s *site) ready() error {
	_, err := s.admin("/readyz")
	return err
}

func (s *site) admin(path string) ([]byte, error) {
	resp, err := http.Get("http://" + s.Admin.String() + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.200s", path, resp.Status, b)
	}
	return b, err
}
