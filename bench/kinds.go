package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	subjectName = "keyhole" // the proxy that the goals are for
	beforeName  = "before"  // an older build of it
)

// A kind is a proxy that can be measured, configured in one way.
type kind struct {
	name    string
	program string   // the flag that names another binary
	note    string   // how it differs from the kind of the program's name
	files   []string // configuration files, written from configs/FILE.tmpl
	args    []string // DIR stands for the folder of files
	version []string // arguments that make it print its version, on the first line
	only    []string // the workloads in which the difference matters; nil is all

	splice    bool // HAProxy's option splice-auto
	halfClose bool // nginx's proxy_half_close

	// Set by install.
	binary  string
	printed string // its version
	module  string // nginx's stream module; "" is built in
}

// kinds are the proxies, the measured one first and then those it is compared with. A peer runs
// with its defaults and, where a default works differently from Keyhole, like for like as well.
func kinds() []kind {
	keyhole := kind{
		name: subjectName, program: "keyhole", files: []string{"keyhole.yaml"},
		args: []string{"run", "--config", "DIR/keyhole.yaml"}, version: []string{"version"},
	}
	haproxy := kind{
		name: "haproxy", program: "haproxy", files: []string{"haproxy.cfg", "haproxy.map"},
		args: []string{"-db", "-f", "DIR/haproxy.cfg"}, version: []string{"-v"},
	}
	nginx := kind{
		name: "nginx", program: "nginx", files: []string{"nginx.conf"},
		args: []string{"-e", "stderr", "-p", "DIR", "-c", "DIR/nginx.conf"}, version: []string{"-v"},
	}
	before, spliced, halfClose := keyhole, haproxy, nginx
	before.name, before.program, before.note = beforeName, "before", "an older build"
	spliced.name, spliced.splice, spliced.note = "haproxy-splice", true, "with `option splice-auto`"
	spliced.only = []string{"bulk", "fair"}
	halfClose.name, halfClose.halfClose, halfClose.note = "nginx-half-close", true, "with `proxy_half_close on`"
	halfClose.only = []string{"short", "unix"}
	return []kind{keyhole, before, haproxy, spliced, nginx, halfClose}
}

func (k kind) runs(workload string) bool { return k.only == nil || slices.Contains(k.only, workload) }

// describe is the kind's line above the table.
func (k kind) describe() string {
	line := fmt.Sprintf("- %s: %s", k.name, k.printed)
	if k.note != "" {
		line += ", " + k.note
	}
	return line
}

// install finds the chosen proxies' binaries and their versions. binaries has those of the flags,
// by program. Without one, Keyhole is built from this module, and a peer that is missing is
// installed from Debian.
func install(ctx context.Context, chosen []kind, binaries map[string]string, dir string) error {
	for i := range chosen {
		k := &chosen[i]
		switch k.binary = binaries[k.program]; {
		case k.binary != "":
		case k.program == "keyhole":
			k.binary = filepath.Join(dir, "keyhole")
			if err := command(ctx, "go", "build", "-o", k.binary, "keyhole/cmd/keyhole"); err != nil {
				return err
			}
		default:
			k.binary = k.program
			if err := installPeers(ctx, *k); err != nil {
				return err
			}
		}
		if err := k.examine(); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
	}
	return nil
}

// examine runs the binary for its version and, if it is nginx, for the place of its module.
func (k *kind) examine() error {
	out, err := exec.Command(k.binary, k.version...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil && line != "" {
		err = fmt.Errorf("%w: %s", err, line)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", k.binary, strings.Join(k.version, " "), err)
	}
	if k.printed = line; line == "" {
		return fmt.Errorf("%s %s prints no version", k.binary, strings.Join(k.version, " "))
	}
	if k.program == "nginx" {
		k.module, err = streamModule(k.binary)
	}
	return err
}

// streamModule is the file of nginx's stream module, "" when that is compiled in. nginx -V prints
// how it was built.
func streamModule(binary string) (string, error) {
	out, err := exec.Command(binary, "-V").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s -V: %w", binary, err)
	}
	options := strings.Fields(string(out))
	if !slices.Contains(options, "--with-stream_ssl_preread_module") {
		return "", fmt.Errorf("%s is built without --with-stream_ssl_preread_module", binary)
	}
	if !slices.Contains(options, "--with-stream=dynamic") {
		return "", nil
	}
	folder := "/usr/local/nginx/modules"
	for _, o := range options {
		if prefix, ok := strings.CutPrefix(o, "--prefix="); ok {
			folder = filepath.Join(prefix, "modules")
		}
	}
	for _, o := range options {
		if path, ok := strings.CutPrefix(o, "--modules-path="); ok {
			folder = path
		}
	}
	file := filepath.Join(folder, "ngx_stream_module.so")
	if _, err := os.Stat(file); err != nil {
		return "", fmt.Errorf("nginx's stream module: %w", err)
	}
	return file, nil
}

// installPeers installs the peers when k is not there, and stops the services that their packages
// start.
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
	return nil
}

// present reports whether k lacks no package. Other faults are left to examine, which names them.
func present(k kind) bool {
	if _, err := exec.LookPath(k.binary); err != nil {
		return false
	}
	if k.program != "nginx" {
		return true
	}
	_, err := streamModule(k.binary)
	return !errors.Is(err, os.ErrNotExist)
}

// command runs a program with its output on stderr, since stdout is the table's.
func command(ctx context.Context, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s %v: %w", name, args, err)
	}
	return nil
}
