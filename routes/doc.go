// Package routes finds the route of a TLS connection from what its ClientHello says: the server name, the protocols
// that the client offers, and the address that it comes from.
//
//	table, err := routes.New([]routes.Route{
//		{SNI: []string{"shop.example.com"}, Backend: 0},
//		{SNI: []string{"*.shop.example.com", "**.example.org"}, ALPN: []string{"h2"}, Backend: 1},
//	}, routes.Default{Backend: -1})
//	...
//	match := table.Lookup([]byte("Shop.Example.com."), nil, client) // the first route, routes.Matched
//
// A name's exact pattern goes first, then "*.", which stands for one label, then the longest "**." suffix, which
// stands for one label or more, then the default. Table.Explain shows the whole of it for one name.
//
// A table is immutable. A look-up allocates nothing, takes no lock, and does the same work in a table of a million
// routes as in one of ten. With a name of 24 bytes each, a million routes take 178 bytes apiece, of which 144 are the
// Route and its strings (go test -run TestTableSize -v ./routes).
//
// The package reads no configuration, knows backends only as numbers, and never sees a connection.
package routes
