package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A kind is a proxy that can be measured.
type kind struct {
	name    string
	binary  string
	files   []string // configuration files, written from configs/FILE.tmpl
	args    []string // DIR stands for the folder of files
	version []string // arguments that make it print its version, on the first line
}

// kinds are the proxies, the measured one first and then those it is held against.
func kinds() []kind {
	return []kind{
		{
			name:    "keyhole",
			files:   []string{"keyhole.yaml"},
			args:    []string{"run", "--config", "DIR/keyhole.yaml"},
			version: []string{"version"},
		},
		{
			name:    "haproxy",
			binary:  "haproxy",
			files:   []string{"haproxy.cfg", "haproxy.map"},
			args:    []string{"-db", "-f", "DIR/haproxy.cfg"},
			version: []string{"-v"},
		},
		{
			name:    "nginx",
			binary:  "nginx",
			files:   []string{"nginx.conf"},
			args:    []string{"-e", "stderr", "-p", "DIR", "-c", "DIR/nginx.conf"},
			version: []string{"-v"},
		},
	}
}

// printVersion is the first line of what the binary says of itself.
func (k kind) printVersion() string {
	out, err := exec.Command(k.binary, k.version...).CombinedOutput()
	if err != nil {
		return k.name + ", version unknown"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// install makes sure that the chosen proxies are there: HAProxy and nginx from Debian when missing, Keyhole built from
// this module unless a binary is given. It returns the kinds with their binaries.
func install(ctx context.Context, chosen []kind, keyhole, dir string) ([]kind, error) {
	for i, k := range chosen {
		switch {
		case k.name != "keyhole":
			if err := installPeers(ctx, k); err != nil {
				return nil, err
			}
		case keyhole != "":
			chosen[i].binary = keyhole
		default:
			chosen[i].binary = filepath.Join(dir, "keyhole")
			if err := command(ctx, "go", "build", "-o", chosen[i].binary, "keyhole/cmd/keyhole"); err != nil {
				return nil, err
			}
		}
	}
	return chosen, nil
}

// installPeers installs the peers when k is not there, and stops the services that their packages start.
func installPeers(ctx context.Context, k kind) error {
	if present(k) {
		return nil
	}
	err := command(ctx, "apt-get", "install", "-y", "--no-install-recommends", "haproxy", "nginx", "libnginx-mod-stream")
	if err != nil {
		return fmt.Errorf("%w; run apt-get update, or install haproxy, nginx and libnginx-mod-stream by hand", err)
	}
	for _, service := range []string{"haproxy", "nginx"} {
		if err := command(ctx, "service", service, "stop"); err != nil {
			fmt.Fprintf(os.Stderr, "service %s was not stopped: %v\n", service, err)
		}
	}
	if !present(k) {
		return fmt.Errorf("%s is not there after its installation", k.name)
	}
	return nil
}

func present(k kind) bool {
	if _, err := exec.LookPath(k.binary); err != nil {
		return false
	}
	return k.name != "nginx" || nginxModule() != ""
}

// nginxModule is the path of nginx's stream module as Debian installs it, or "".
func nginxModule() string {
	const path = "/usr/lib/nginx/modules/ngx_stream_module.so"
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return ""
	}
	return path
}

// command runs one with its output on stderr, since stdout is the table's.
func command(ctx context.Context, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s %v: %w", name, args, err)
	}
	return nil
}
