package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// written is all that k is configured with.
func (k kind) written(t *testing.T, s settings) string {
	t.Helper()
	s.Splice, s.HalfClose, s.NginxModule = k.splice, k.halfClose, k.module
	var all bytes.Buffer
	for _, file := range k.files {
		if err := configs.ExecuteTemplate(&all, file+".tmpl", s); err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

func TestConfigsNameAddressesAndRoutes(t *testing.T) {
	names := serverNames()
	s := settings{Dir: "/d", Listen: "127.0.0.1:1001", Origin: "127.0.0.1:1002", Names: names, MaxConn: 77, WorkerConnections: 254}
	for _, k := range kinds() {
		for _, want := range []string{s.Listen, s.Origin, names[0], names[routeCount-1]} {
			if !strings.Contains(k.written(t, s), want) {
				t.Errorf("the configuration of %s is without %s", k.name, want)
			}
		}
	}
}

func TestConfigsNameAnOriginOnAUnixSocket(t *testing.T) {
	for name, want := range map[string]string{
		"keyhole": `servers: ["unix:/d/o.sock"]`, "haproxy": "server origin unix@/d/o.sock\n", "nginx": "server unix:/d/o.sock;",
	} {
		chosen, err := choose(kinds(), name)
		if err != nil {
			t.Fatal(err)
		}
		if got := chosen[0].written(t, settings{Origin: "/d/o.sock", Unix: true}); !strings.Contains(got, want) {
			t.Errorf("the configuration of %s is without %s:\n%s", name, want, got)
		}
	}
}

func TestConfigsRouteTheBulkLoad(t *testing.T) {
	const address = "127.0.0.1:1003"
	for _, k := range kinds() {
		with, without := k.written(t, settings{Bulk: address}), k.written(t, settings{})
		for _, want := range []string{address, bulkName} {
			if !strings.Contains(with, want) || strings.Contains(without, want) {
				t.Errorf("the configuration of %s has no %s with a bulk load, or has it without one", k.name, want)
			}
		}
	}
}

// A kind and its variant differ in the one option that the variant is there for.
func TestVariantsDifferInTheirOption(t *testing.T) {
	for name, option := range map[string]string{
		"haproxy": "", "haproxy-splice": "option splice-auto", "nginx": "", "nginx-half-close": "proxy_half_close on;",
	} {
		chosen, err := choose(kinds(), name)
		if err != nil {
			t.Fatal(err)
		}
		config := chosen[0].written(t, settings{})
		for _, o := range []string{"\n    option splice-auto\n", "\n        proxy_half_close on;\n"} {
			want := option != "" && strings.Contains(o, option)
			if got := strings.Contains(config, o); got != want {
				t.Errorf("%s has %q: %v, want %v", name, strings.TrimSpace(o), got, want)
			}
		}
	}
}

// script writes a program that stands for a proxy's binary.
func script(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestNamedBinaryIsMeasured(t *testing.T) {
	for _, name := range []string{"keyhole", "before", "haproxy", "nginx"} {
		chosen, err := choose(kinds(), name)
		if err != nil {
			t.Fatal(err)
		}
		binary := script(t, `echo "version 9.9 of $0 --with-stream --with-stream_ssl_preread_module"`)
		if err := install(t.Context(), chosen, map[string]string{name: binary}, t.TempDir()); err != nil {
			t.Fatal(err)
		}
		if got := chosen[0]; got.binary != binary || !strings.Contains(got.describe(), "version 9.9 of "+binary) {
			t.Errorf("%s is %s, described as %q, want %s and its version", name, got.binary, got.describe(), binary)
		}
	}
}

func TestBinaryThatDoesNotRunIsAnError(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "prints no version",
		"echo cannot load library\nexit 3": "-v: exit status 3: cannot load library",
		"echo nginx/9":                     "is built without --with-stream_ssl_preread_module",
		"echo nginx/9 --prefix=/nowhere --with-stream=dynamic --with-stream_ssl_preread_module": "/nowhere/modules/ngx_stream_module.so",
	} {
		chosen, err := choose(kinds(), "nginx")
		if err != nil {
			t.Fatal(err)
		}
		binary := script(t, text)
		err = install(t.Context(), chosen, map[string]string{"nginx": binary}, t.TempDir())
		if err == nil || !strings.HasPrefix(err.Error(), "nginx: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("install of a binary that does %q: error is %v, want one with %q", text, err, want)
		}
	}
	chosen, err := choose(kinds(), "haproxy")
	if err != nil {
		t.Fatal(err)
	}
	err = install(t.Context(), chosen, map[string]string{"haproxy": "/nowhere/haproxy"}, t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "/nowhere/haproxy") {
		t.Errorf("install of a binary that is not there: error is %v, want one that names it", err)
	}
}
