package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shared is the world that the tests have in common.
var shared *world

// A world is one edge with the origins behind it.
type world struct {
	dir     string
	keyhole string // the edge's binary
	files   string // the folder that the origins serve
	blob    []byte // of the file blob in it
	ca      *authority
	edge    *edge

	openssl, node, nginxRSA, nginxECDSA *origin
	golang                              *goOrigin

	stops []func()
}

// newWorld starts everything, with its files in dir.
func newWorld(dir string) (_ *world, err error) {
	w := &world{dir: dir, files: filepath.Join(dir, "files"), blob: randomBytes(4 << 20)}
	defer func() {
		if err != nil {
			w.stop()
		}
	}()
	if w.keyhole, err = buildKeyhole(dir); err != nil {
		return nil, err
	}
	if w.ca, err = newAuthority(dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(w.files, 0o700); err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{"blob": w.blob, "sample": w.sample(), "greeting": []byte(greeting)} {
		if err := os.WriteFile(filepath.Join(w.files, name), content, 0o600); err != nil {
			return nil, err
		}
	}
	if err := w.startOrigins(); err != nil {
		return nil, err
	}
	if w.edge, err = w.startEdge(setup{origins: w.origins()}); err != nil {
		return nil, err
	}
	w.stops = append(w.stops, w.edge.Stop)
	return w, nil
}

func (w *world) startOrigins() (err error) {
	if w.golang, err = w.startGo("go", nil); err != nil {
		return err
	}
	w.stops = append(w.stops, w.golang.close)
	p, err := w.startOpenSSL("openssl", "-WWW")
	if err != nil {
		return err
	}
	w.openssl = p.origin
	w.stops = append(w.stops, p.Stop)
	if err := w.startNode(); err != nil {
		return err
	}
	return w.startNginx()
}

// origins are all of them, each with a key of its own.
func (w *world) origins() []*origin {
	return []*origin{w.openssl, w.golang.origin, w.node, w.nginxRSA, w.nginxECDSA}
}

// stop ends what was started, the last first.
func (w *world) stop() {
	for i := len(w.stops) - 1; i >= 0; i-- {
		w.stops[i]()
	}
}

// sample is the file of that name, for clients that are slow.
func (w *world) sample() []byte { return w.blob[:256<<10] }

// greeting is the file of that name, for clients whose output is read as text.
const greeting = "A greeting from behind the edge."

// An origin is a TLS server that the edge knows the names of, and nothing else.
type origin struct {
	kind    string // its backend's name
	domain  string // it has every name below this one
	id      identity
	address string
}

// newOrigin issues the certificate of an origin that has no address yet.
func (w *world) newOrigin(kind string, key newKey) (*origin, error) {
	o := &origin{kind: kind, domain: kind + ".example"}
	var err error
	o.id, err = w.ca.issue(kind, key, "*."+o.domain)
	return o, err
}

// host returns a name of the origin that belongs to the test alone.
func (o *origin) host(t *testing.T) string {
	label := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, strings.TrimPrefix(t.Name(), "Test"))
	if len(label) > 63 {
		t.Fatalf("%q is %d bytes long, and a label takes 63: give the test a shorter name", label, len(label))
	}
	return label + "." + o.domain
}

// randomBytes returns n bytes that no compression makes less, the same in every run.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte([]byte("keyhole end-to-end test material"))).Read(b)
	return b
}

// eachOrigin runs f as a parallel subtest for every shared origin.
func eachOrigin(t *testing.T, f func(t *testing.T, o *origin)) {
	for _, o := range shared.origins() {
		t.Run(o.kind, func(t *testing.T) {
			t.Parallel()
			f(t, o)
		})
	}
}

// If two origins had one key, a client that reached the wrong one could not tell.
func TestOriginsHaveKeysOfTheirOwn(t *testing.T) {
	owner := make(map[string]string)
	for _, o := range shared.origins() {
		pin := o.id.keyPin()
		if other, taken := owner[pin]; taken {
			t.Errorf("the origins %s and %s have one key", other, o.kind)
		}
		owner[pin] = o.kind
	}
	if len(owner) != 5 {
		t.Errorf("%d keys, want 5", len(owner))
	}
}
