package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"text/template"

	"keyhole/internal/testkit"
)

// An opensslOrigin is an openssl s_server. It serves one connection after the other.
type opensslOrigin struct {
	*origin
	*testkit.Program
}

var accepting = regexp.MustCompile(`ACCEPT (127\.0\.0\.1:\d+)`)

// startOpenSSL starts an s_server with these arguments further to the certificate. Without one that says what to
// answer, it prints what clients send.
func (w *world) startOpenSSL(kind string, args ...string) (*opensslOrigin, error) {
	o, err := w.newOrigin(kind, newRSA)
	if err != nil {
		return nil, err
	}
	args = append([]string{"s_server", "-accept", "127.0.0.1:0", "-cert", o.id.certFile, "-key", o.id.keyFile}, args...)
	cmd := exec.Command("openssl", args...)
	cmd.Dir = w.files
	p, err := testkit.Launch(cmd)
	if err != nil {
		return nil, err
	}
	m, err := p.Await(accepting)
	if err != nil {
		p.Stop()
		return nil, err
	}
	o.address = m[1]
	return &opensslOrigin{o, p}, nil
}

// opensslFor starts an s_server for one test alone, with an edge before it.
func opensslFor(t *testing.T, args ...string) (*opensslOrigin, *edge) {
	t.Helper()
	o, err := shared.startOpenSSL("openssl", args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	return o, edgeFor(t, setup{origins: []*origin{o.origin}})
}

func (w *world) startNode() error {
	o, err := w.newOrigin("node", newECDSA)
	if err != nil {
		return err
	}
	p, err := testkit.Launch(exec.Command("node", "testdata/origin.mjs", o.id.certFile, o.id.keyFile, w.files))
	if err != nil {
		return err
	}
	w.stops = append(w.stops, p.Stop)
	m, err := p.Await(regexp.MustCompile(`listening on port (\d+)`))
	if err != nil {
		return err
	}
	o.address = "127.0.0.1:" + m[1]
	w.node = o
	return nil
}

// startNginx starts one nginx with two certificates, which it picks from by the server name.
func (w *world) startNginx() (err error) {
	if w.nginxRSA, err = w.newOrigin("nginx-rsa", newRSA); err != nil {
		return err
	}
	if w.nginxECDSA, err = w.newOrigin("nginx-ecdsa", newECDSA); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	w.nginxRSA.address, w.nginxECDSA.address = l.Addr().String(), l.Addr().String()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer socket.Close()
	file, err := w.nginxConfig()
	if err != nil {
		return err
	}
	// nginx takes a listening socket from its environment, as in its own upgrade: so the port is known before, and
	// connections wait until it is ready.
	cmd := exec.Command("nginx", "-p", w.dir, "-e", "stderr", "-c", file)
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Env = append(os.Environ(), "NGINX=3;")
	// Killed, it would leave its worker behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	p, err := testkit.Launch(cmd)
	if err != nil {
		return err
	}
	w.stops = append(w.stops, p.Terminate)
	_, err = p.Await(regexp.MustCompile(`start worker process `))
	return err
}

// nginxConfig writes nginx's configuration file.
func (w *world) nginxConfig() (string, error) {
	type server struct{ ServerName, Certificate, Key string }
	var servers []server
	for _, o := range []*origin{w.nginxRSA, w.nginxECDSA} {
		servers = append(servers, server{"*." + o.domain, o.id.certFile, o.id.keyFile})
	}
	text, err := template.ParseFiles("testdata/nginx.conf.tmpl")
	if err != nil {
		return "", err
	}
	f, err := os.Create(filepath.Join(w.dir, "nginx.conf"))
	if err != nil {
		return "", err
	}
	defer f.Close()
	err = text.Execute(f, map[string]any{
		"Dir": w.dir, "Files": w.files, "Address": w.nginxRSA.address, "Servers": servers,
	})
	if err != nil {
		return "", fmt.Errorf("%s: %w", f.Name(), err)
	}
	return f.Name(), nil
}
