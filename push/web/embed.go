// Package web is a terminal of the push server as a page for browsers, without a build step:
//
//	http.ServeFileFS(w, r, web.Files, "terminal.html")
//
// The page wants every file of Files beside it, and the API and the WebSocket of the origin that it was loaded from. It
// has no inline script or style and loads nothing from elsewhere: the policy "default-src 'none'; script-src 'self';
// style-src 'self'; img-src 'self'; connect-src 'self'" is enough.
//
// It does all that a terminal does but one thing: no browser lets a page read the exporter of its TLS connection (RFC
// 9266), so it works only for apps whose policy waives the binding. Its private keys are WebCrypto's, in IndexedDB,
// where no script can read them; the password is not kept. One tab at a time is the terminal.
package web

import "embed"

// Files are the page, terminal.html, and what it loads, all in one folder.
//
//go:embed terminal.html terminal.css icon.svg *.js
var Files embed.FS
