package e2e

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"

	"golang.org/x/net/websocket"
)

// A goOrigin is an HTTP server of this process: the one origin that can be asked what it saw. It serves HTTP/2 and
// HTTP/1.1.
type goOrigin struct {
	*origin
	server  *http.Server
	files   string
	reports chan report

	mu     sync.Mutex
	hellos map[string][]tls.CurveID // the groups that each client address offered
	visits []visit
}

// A visit is one request.
type visit struct {
	Host    string // the server name of its connection
	Client  string // as the origin sees it: an address of the edge
	Proto   string
	Offered []tls.CurveID
	Group   tls.CurveID // that the key exchange took
}

// A report is what a page found out in a browser.
type report struct {
	host string // the server name of the connection that brought it
	body []byte
}

// startGo starts an origin; with handler nil it has the pages below.
func (w *world) startGo(kind string, handler http.Handler) (*goOrigin, error) {
	base, err := w.newOrigin(kind, newECDSA)
	if err != nil {
		return nil, err
	}
	o := &goOrigin{origin: base, files: w.files, hellos: make(map[string][]tls.CurveID), reports: make(chan report, 8)}
	if handler == nil {
		handler = o.pages()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o.address = l.Addr().String()
	o.server = &http.Server{
		Handler:   o.noting(handler),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{o.id.Certificate}, GetConfigForClient: o.note},
		ErrorLog:  log.New(io.Discard, "", 0), // handshakes that tests mean to fail
	}
	go o.server.ServeTLS(l, "", "") // ends with close
	return o, nil
}

func (o *goOrigin) close() { o.server.Close() }

// goFor starts a Go origin for one test alone, with an edge before it.
func goFor(t *testing.T, s setup, handler http.Handler) (*goOrigin, *edge) {
	t.Helper()
	o, err := shared.startGo("go", handler)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.close)
	s.origins = append(s.origins, o.origin)
	return o, edgeFor(t, s)
}

// pages is what the origin serves: the files, /sum (the SHA-256 of what is posted), /browser (a page that reports), /echo
// (a WebSocket) and /report.
func (o *goOrigin) pages() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServer(http.Dir(o.files)))
	mux.HandleFunc("POST /sum", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		if _, err := io.Copy(sum, r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		io.WriteString(w, hex.EncodeToString(sum.Sum(nil)))
	})
	mux.HandleFunc("GET /browser", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "testdata/browser.html")
	})
	mux.Handle("GET /echo", websocket.Handler(func(c *websocket.Conn) {
		for {
			var message string
			if websocket.Message.Receive(c, &message) != nil {
				return // the page has closed it
			}
			if websocket.Message.Send(c, message) != nil {
				return
			}
		}
	}))
	mux.HandleFunc("POST /report", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			body = fmt.Appendf(nil, "report: %v", err)
		}
		o.reports <- report{r.TLS.ServerName, body}
	})
	return mux
}

// note keeps what a hello offers, until the first request says whose it was.
func (o *goOrigin) note(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hellos[hello.Conn.RemoteAddr().String()] = slices.Clone(hello.SupportedCurves)
	return nil, nil // go on with the server's own
}

// noting keeps a visit of every request.
func (o *goOrigin) noting(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.visits = append(o.visits, visit{
			Host: r.TLS.ServerName, Client: r.RemoteAddr, Proto: r.Proto,
			Offered: o.hellos[r.RemoteAddr], Group: r.TLS.CurveID,
		})
		o.mu.Unlock()
		h.ServeHTTP(w, r)
	})
}

// visitsOf removes and returns the requests on connections for a server name. A request is there before its answer.
func (o *goOrigin) visitsOf(name string) (found []visit) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.visits = slices.DeleteFunc(o.visits, func(v visit) bool {
		if v.Host == name {
			found = append(found, v)
		}
		return v.Host == name
	})
	return found
}
