// Package backend keeps pools of origin servers and picks one of them for each connection.
//
//	pool, err := backend.New(backend.Config{
//		Name:    "shop",
//		Servers: []backend.ServerConfig{{Address: "10.0.0.5:443", Weight: 2}, {Address: "origin.internal:443"}},
//		Balance: backend.LeastConnections,
//	})
//	resolver := &backend.Resolver{Pools: []*backend.Pool{pool}}
//	resolver.Resolve(ctx)
//	go resolver.Run(ctx)
//
//	e := pool.Pick(client, nil) // nil: no server is left
//	defer e.Release()           // dial e.AddrPort, or e.Path; if that fails, Pick again with e in tried
//
// The configuration lists servers. An endpoint is one address of a server: an IP:port or unix:PATH
// server has one endpoint, a host:port server has one for every address of its name. The endpoints
// of a server share its weight evenly. A name of weight 4 with two addresses takes as much load as
// one address of weight 4, so an answer that grows or shrinks moves no load between servers. If two
// servers have the same address, the pool has two endpoints for it.
//
// A server may stand for every name that a client can ask for. [Pool.Find] returns the pool of one
// name, which is an ordinary one, once a [Lookups] has resolved it ([Pool.Ask]).
//
// Pick reads an immutable snapshot through an atomic pointer. It takes no lock, allocates nothing
// and never waits. A [Resolver] resolves the names, and publishes new snapshots.
//
// The package does not dial. The caller says which endpoints it tried, and how long a dial took
// ([Endpoint.Connected]) or waited in vain ([Pool.TimedOut]).
package backend

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Config describes a pool.
type Config struct {
	Name           string         // for errors and logs
	Servers        []ServerConfig // one or more
	Balance        Balance        // zero: RoundRobin
	Retries        int            // how many more servers a connection tries after the first; zero: none
	MaxConnections int            // open connections to each address of each server; zero: no limit
	ProxyProtocol  ProxyProtocol  // the header that the servers expect; zero: none

	// Of a pool whose server is {sni}: which addresses a name may lead to, of which family, and what
	// resolves it; nil is a Lookups of its own.
	To      Fence
	Family  Family
	Lookups *Lookups
}

// ServerConfig describes a server of a pool.
type ServerConfig struct {
	// Address is IP:port, [IPv6]:port, host:port or unix:PATH, as address.ParseServer reads them.
	// The search list of the system applies to a host name without a final dot. The port may be
	// "listen", see Endpoint.At. A server at {sni}:port or {sni}.suffix:port is the only one of its
	// pool, see Pool.Find.
	Address string
	Weight  int // share of the load against the other servers of its rank, 1 to 256; zero: 1
	Backup  int // rank: used only when no server of a lower one can be, 0 to 100; zero: goes first
}

// The largest numbers of a ServerConfig.
const (
	MaxWeight = 256
	MaxBackup = 100
)

// check reports the first setting of c that is out of range. It does not look at the servers.
func (c *Config) check() error {
	switch {
	case len(c.Servers) == 0:
		return errors.New("no servers, list one or more")
	case int(c.Balance) >= len(balances):
		return fmt.Errorf("unknown balance %d, want %s", c.Balance, balanceNames())
	case c.Retries < 0:
		return fmt.Errorf("retries %d is negative, want 0 or more", c.Retries)
	case int(c.ProxyProtocol) >= len(proxyProtocols):
		return fmt.Errorf("unknown proxy_protocol %d, want off, v1 or v2", c.ProxyProtocol)
	case c.MaxConnections < 0:
		return fmt.Errorf("max_connections %d is negative, want 0 (no limit) or more", c.MaxConnections)
	}
	return nil
}

// Balance is the way a pool chooses among its servers.
type Balance uint8

const (
	// RoundRobin takes the servers in turn. In a round each has as many turns as its weight says,
	// spread evenly. The first turn of a pool is random, so that several edges do not march in
	// step.
	RoundRobin Balance = iota

	// LeastConnections takes the endpoint with the fewest open connections for its weight,
	// including the new one. Among equals it takes a random one.
	LeastConnections

	// RandomTwo draws two different endpoints by weight and takes the less loaded one. With
	// LeastConnections several edges, which do not know each other's counts, may all choose the
	// same server; with RandomTwo they do not.
	RandomTwo

	// ClientHash sends a client always to the same address of the same server while that is there,
	// on every edge alike. A server that comes or goes moves only its own clients. The client's
	// port does not count, and neither do the low 64 bits of an IPv6 address, which a host can
	// change at will.
	ClientHash
)

var balances = [...]string{
	RoundRobin:       "round_robin",
	LeastConnections: "least_connections",
	RandomTwo:        "random_two",
	ClientHash:       "client_hash",
}

// BalanceWords returns the words that ParseBalance takes.
func BalanceWords() []string { return slices.Clone(balances[:]) }

// ParseBalance reads one of BalanceWords. The empty string is RoundRobin, the default.
func ParseBalance(s string) (Balance, error) {
	if s == "" {
		return RoundRobin, nil
	}
	if i := slices.Index(balances[:], s); i >= 0 {
		return Balance(i), nil
	}
	return 0, fmt.Errorf("unknown balance %q, want %s", s, balanceNames())
}

// String spells the balance as the configuration does.
func (b Balance) String() string {
	if int(b) < len(balances) {
		return balances[b]
	}
	return fmt.Sprintf("Balance(%d)", uint8(b))
}

// balanceNames lists the balances for an error message: "a, b or c".
func balanceNames() string {
	last := len(balances) - 1
	return strings.Join(balances[:last], ", ") + " or " + balances[last]
}
