package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"keyhole/push/wire"
)

// A middleman ends TLS between terminals and the site with the site's own certificate, as somebody who has stolen its
// key would. It reads every frame, and may change it.
type middleman struct {
	t       *testing.T
	site    *pushSite
	address string
	edit    func(wire.Frame) // before it is passed on; may be nil

	relays sync.WaitGroup

	mu    sync.Mutex
	heard []wire.Frame // both ways
	texts [][]byte     // the same, as they came
	more  chan struct{}
}

// middleman starts one, until the test ends.
func (s *pushSite) middleman(edit func(wire.Frame)) *middleman {
	s.t.Helper()
	m := &middleman{t: s.t, site: s, edit: edit, more: make(chan struct{})}
	target, err := url.Parse(s.url())
	if err != nil {
		s.t.Fatal(err)
	}
	requests := &httputil.ReverseProxy{Transport: s.http().Transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}}
	ctx, cancel := context.WithCancel(context.Background())
	mux := http.NewServeMux()
	mux.Handle("/", requests)
	mux.HandleFunc("/v1/terminal", func(w http.ResponseWriter, r *http.Request) {
		m.relays.Add(1)
		defer m.relays.Done()
		m.relay(ctx, w, r)
	})
	server := httptest.NewUnstartedServer(mux)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{s.node.origin.id.Certificate}, MinVersion: tls.VersionTLS13}
	server.StartTLS()
	m.address = server.Listener.Addr().String()
	s.t.Cleanup(func() { cancel(); server.Close(); m.relays.Wait() })
	return m
}

// dial is a Config.Dial that leads to the middleman.
func (m *middleman) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, m.address)
}

// relay passes frames on in both directions until one side closes, and says to the other what it said.
func (m *middleman) relay(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	down, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wire.Subprotocol}})
	if err != nil {
		return
	}
	defer down.CloseNow()
	up, _, err := websocket.Dial(ctx, m.site.url()+"/v1/terminal", &websocket.DialOptions{
		HTTPClient: m.site.http(), Subprotocols: []string{wire.Subprotocol},
	})
	if err != nil {
		return
	}
	defer up.CloseNow()
	down.SetReadLimit(1 << 20)
	up.SetReadLimit(1 << 20)
	var both sync.WaitGroup
	both.Go(func() { m.pass(ctx, down, up, wire.DecodeClient) })
	both.Go(func() { m.pass(ctx, up, down, wire.DecodeServer) })
	both.Wait()
}

func (m *middleman) pass(ctx context.Context, from, to *websocket.Conn, decode func([]byte) (wire.Frame, error)) {
	for {
		_, b, err := from.Read(ctx)
		if closed, ok := errors.AsType[websocket.CloseError](err); ok {
			to.Close(closed.Code, closed.Reason)
		}
		if err != nil {
			to.CloseNow()
			return
		}
		f, err := decode(b)
		if err != nil {
			m.t.Errorf("the middleman cannot read %q: %v", b, err)
			return
		}
		m.hear(f, b)
		if m.edit != nil {
			m.edit(f)
			b, _ = wire.Encode(f) // it was JSON before
		}
		if to.Write(ctx, websocket.MessageText, b) != nil {
			from.CloseNow()
		}
	}
}

func (m *middleman) hear(f wire.Frame, text []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard = append(m.heard, f)
	m.texts = append(m.texts, text)
	close(m.more)
	m.more = make(chan struct{})
}

// frames are what has been said in frames of one kind, once there are n.
func frames[F wire.Frame](m *middleman, n int) (found []F) {
	m.t.Helper()
	end := late()
	for {
		m.mu.Lock()
		found = found[:0]
		for _, f := range m.heard {
			if f, ok := f.(F); ok {
				found = append(found, f)
			}
		}
		more := m.more
		m.mu.Unlock()
		if len(found) >= n {
			return found
		}
		select {
		case <-more:
		case <-end:
			m.t.Fatalf("the middleman has heard %d frames of %T, want %d", len(found), found, n)
		}
	}
}

// overheard reports whether any frame has had this in it.
func (m *middleman) overheard(what string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Contains(bytes.Join(m.texts, []byte("\n")), []byte(what))
}

// A tap passes on the bytes of connections to the edge, and keeps a copy.
type tap struct {
	address string

	mu       sync.Mutex
	up, down [][]byte // of each connection
}

// tap starts one, until the test ends.
func (s *pushSite) tap() *tap {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	tp := &tap{address: l.Addr().String()}
	var tasks sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	s.t.Cleanup(func() { l.Close(); cancel(); tasks.Wait() })
	tasks.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() { tp.relay(ctx, down, s.address) })
		}
	})
	return tp
}

func (tp *tap) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, tp.address)
}

func (tp *tap) relay(ctx context.Context, down net.Conn, address string) {
	defer down.Close()
	up, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer up.Close()
	defer context.AfterFunc(ctx, func() { down.Close(); up.Close() })()
	tp.mu.Lock()
	i := len(tp.up)
	tp.up, tp.down = append(tp.up, nil), append(tp.down, nil)
	tp.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { io.Copy(tapWriter{up, tp, &tp.up, i}, down); up.Close() })
	both.Go(func() { io.Copy(tapWriter{down, tp, &tp.down, i}, up); down.Close() })
	both.Wait()
}

type tapWriter struct {
	io.Writer
	tap  *tap
	copy *[][]byte
	i    int
}

func (w tapWriter) Write(b []byte) (int, error) {
	w.tap.mu.Lock()
	(*w.copy)[w.i] = append((*w.copy)[w.i], b...)
	w.tap.mu.Unlock()
	return w.Writer.Write(b)
}

// copies are the bytes of each connection so far, each in one direction.
func (tp *tap) copies() (all [][]byte) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	for _, half := range [][][]byte{tp.up, tp.down} {
		for _, b := range half {
			all = append(all, bytes.Clone(b))
		}
	}
	return all
}
