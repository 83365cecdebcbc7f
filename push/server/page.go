package server

import (
	"net/http"

	"keyhole/push/web"
)

// pagePolicy lets the page load what it comes with and connect to its own
// server, and nothing else.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// pageRoutes registers the terminal in a browser: every file of it by its
// name, and the page itself at the root as well.
func (s *Server) pageRoutes(mux *http.ServeMux) {
	files, _ := web.Files.ReadDir(".") // it is in the program: this cannot fail
	for _, f := range files {
		mux.Handle("/"+f.Name(), s.endpoints(map[string]endpoint{"GET": servePage(f.Name())}))
	}
	mux.Handle("/{$}", s.endpoints(map[string]endpoint{"GET": servePage("terminal.html")}))
}

// servePage answers with a file that is embedded in the program.
func servePage(file string) endpoint {
	return func(w http.ResponseWriter, r *http.Request) error {
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		http.ServeFileFS(w, r, web.Files, file)
		return nil
	}
}
