package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"keyhole/push/wire"
)

// Times for one request of the API: to read its body, and to answer. A
// publish is tried again for this long while a cluster elects a leader.
const (
	readTimeout   = 10 * time.Second
	answerTimeout = 15 * time.Second
)

// An endpoint answers one method of one path. What it returns as an error is
// answered by refuse, and it has written nothing then.
type endpoint func(w http.ResponseWriter, r *http.Request) error

// A route is one line of the API.
type route struct {
	method, path string // path is a pattern of http.ServeMux, without a method
	handle       endpoint
}

func (s *Server) routes() []route {
	return []route{
		{"POST", "/v1/login", s.login},
		{"DELETE", "/v1/session", s.logout},
		{"POST", "/v1/tokens", s.messageToken},
		{"GET", "/v1/messages", s.pull},
		{"POST", "/v1/messages", s.publish},
		{"POST", "/v1/messages/ack", newAcks(s).ack},
		{"POST", "/push/{token}", s.webPush},
	}
}

// apiRoutes registers the API, Web Push and the page. What no route matches is
// refused as JSON too, since a client that reads JSON sees it.
func (s *Server) apiRoutes(mux *http.ServeMux) {
	s.handle(mux, s.routes())
	s.pageRoutes(mux)
	mux.Handle("/v1/terminal", s.endpoints(map[string]endpoint{"GET": nil})) // GET has a pattern of its own
	mux.Handle("/", s.endpoints(nil))
}

// handle registers routes, the methods of one path together.
func (s *Server) handle(mux *http.ServeMux, routes []route) {
	paths := map[string]map[string]endpoint{}
	for _, r := range routes {
		if paths[r.path] == nil {
			paths[r.path] = map[string]endpoint{}
		}
		paths[r.path][r.method] = r.handle
	}
	for path, methods := range paths {
		mux.Handle(path, s.endpoints(methods))
	}
}

// endpoints answers a path by method. No methods at all: the path is unknown.
func (s *Server) endpoints(methods map[string]endpoint) http.Handler {
	allow := allowed(methods)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setDeadlines(w)
		h := methods[r.Method]
		if r.Method == http.MethodHead {
			h = methods[http.MethodGet] // net/http sends no body
		}
		switch {
		case methods == nil:
			s.refuse(w, r, fmt.Errorf("%w: no such path as %.80q; docs/push-api.md has all", wire.NotFound, r.URL.Path))
		case h == nil:
			w.Header().Set("Allow", allow)
			s.refuse(w, r, fmt.Errorf("%w: %.20q; this path takes %s", wire.MethodNotAllowed, r.Method, allow))
		default:
			s.answer(w, r, h)
		}
	})
}

// allowed is the header Allow (RFC 9110 section 10.2.1) of a path.
func allowed(methods map[string]endpoint) string {
	var names []string
	for m := range methods {
		if names = append(names, m); m == http.MethodGet {
			names = append(names, http.MethodHead)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// setDeadlines bounds what a slow client costs. A deadline is this request's:
// on the same connection a terminal may be next, which has none.
func setDeadlines(w http.ResponseWriter) {
	c := http.NewResponseController(w)
	now := time.Now() // of the kernel's clock, not of Config.Now
	_ = c.SetReadDeadline(now.Add(readTimeout))
	_ = c.SetWriteDeadline(now.Add(readTimeout + 2*answerTimeout))
}

// answer runs an endpoint.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, h endpoint) {
	ctx, cancel := context.WithTimeout(r.Context(), answerTimeout)
	defer cancel()
	w.Header().Set("Cache-Control", "no-store")
	if err := h(w, r.WithContext(ctx)); err != nil {
		s.refuse(w, r, err)
	}
}

// readBody reads a whole body of at most limit bytes. Past it the connection
// is closed after the answer, so that an endless body costs no more.
func readBody(w http.ResponseWriter, r *http.Request, limit int) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limit)))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, fmt.Errorf("%w: the body has more than %d bytes", wire.PayloadTooLarge, limit)
	case err != nil:
		return nil, fmt.Errorf("%w: read the body: %v", wire.BadRequest, err)
	}
	return b, nil
}
