package backend

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	resolvConf   = "/etc/resolv.conf"
	confFor      = 5 * time.Second // how long what it says is remembered
	defaultTry   = 2 * time.Second
	otherFamily  = time.Second // how long one family's addresses wait for the other's
	tries        = 2           // of all name servers
	udpSize      = 1232        // of an answer, without fragments (DNS flag day 2020)
	perFamily    = maxAddresses / 2
	localResolve = "127.0.0.1:53" // without a resolv.conf, as in resolv.conf(5)
)

// DNS asks the name servers of /etc/resolv.conf, and tells for how long an answer holds, which
// package net does not. It asks for a name as it is: neither the search list nor /etc/hosts counts,
// which are the machine's, while the name is a client's. The zero value works.
type DNS struct {
	Servers []string      // IP:port each; nil: those of /etc/resolv.conf
	Try     time.Duration // for one question to one of them; 0: 2 s

	mu     sync.Mutex
	read   time.Time
	listed []string
}

// Lookup is as Lookups.Lookup. A family that fails, or has no answer, does not take away the other's
// addresses: there are name servers that ignore questions for IPv6.
func (d *DNS) Lookup(ctx context.Context, host string, f Family) (Answer, error) {
	types := map[Family][]uint16{NoFamily: {dns.TypeA, dns.TypeAAAA}, IPv4: {dns.TypeA}, IPv6: {dns.TypeAAAA}}[f]
	answers, errs := make([]Answer, len(types)), make([]error, len(types))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for i, t := range types {
		wg.Go(func() {
			if answers[i], errs[i] = d.ask(ctx, host, t); errs[i] == nil {
				time.AfterFunc(otherFamily, cancel)
			}
		})
	}
	wg.Wait()
	all, err := Answer{TTL: maxTTL}, ErrNoAddress
	for i, a := range answers {
		switch {
		case errs[i] == nil:
			all.Addrs = append(all.Addrs, a.Addrs[:min(len(a.Addrs), perFamily)]...)
			all.TTL = min(all.TTL, a.TTL)
		case errs[i] != ErrNoAddress:
			err = errs[i]
		}
	}
	if len(all.Addrs) > 0 {
		return all, nil
	}
	return all, err
}

// ask asks one name server after the other until one knows the name or knows that there is none.
func (d *DNS) ask(ctx context.Context, host string, t uint16) (Answer, error) {
	var last error
	for range tries {
		for _, server := range d.servers() {
			r, err := d.exchange(ctx, server, host, t)
			if ctx.Err() != nil {
				return Answer{}, ctx.Err()
			}
			if err != nil {
				last = err
				continue
			}
			switch r.Rcode {
			case dns.RcodeSuccess:
				return read(r, t)
			case dns.RcodeNameError:
				return Answer{}, ErrNoAddress
			}
			last = fmt.Errorf("name server %s answers %s", server, dns.RcodeToString[r.Rcode])
		}
	}
	return Answer{}, last
}

// exchange asks by UDP, and by TCP when the answer did not fit.
func (d *DNS) exchange(ctx context.Context, server, host string, t uint16) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(host), t)
	m.SetEdns0(udpSize, false)
	r, err := d.exchangeBy(ctx, "udp", server, m)
	if err == nil && r.Truncated {
		r, err = d.exchangeBy(ctx, "tcp", server, m)
	}
	if err != nil {
		return nil, err
	}
	if !r.Response || len(r.Question) != 1 || r.Question[0].Qtype != t || !strings.EqualFold(r.Question[0].Name, m.Question[0].Name) {
		return nil, fmt.Errorf("name server %s answers another question", server)
	}
	return r, nil
}

// exchangeBy closes the socket when ctx ends: the client goes by deadlines of its own.
func (d *DNS) exchangeBy(ctx context.Context, network, server string, m *dns.Msg) (*dns.Msg, error) {
	c := &dns.Client{Net: network, UDPSize: udpSize, Timeout: cmp.Or(d.Try, defaultTry)}
	conn, err := c.DialContext(ctx, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	r, _, err := c.ExchangeWithConn(m, conn)
	return r, err
}

// read returns the addresses in an answer. Its TTL is the least of all records that led to them.
func read(r *dns.Msg, t uint16) (Answer, error) {
	a := Answer{TTL: maxTTL}
	for _, rr := range r.Answer {
		a.TTL = min(a.TTL, time.Duration(rr.Header().Ttl)*time.Second)
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A.To4()
		case *dns.AAAA:
			ip = rr.AAAA
		}
		if addr, ok := netip.AddrFromSlice(ip); ok && rr.Header().Rrtype == t {
			a.Addrs = append(a.Addrs, addr)
		}
	}
	if len(a.Addrs) == 0 {
		return a, ErrNoAddress
	}
	return a, nil
}

// servers returns the name servers to ask. A file that cannot be read any more changes nothing.
func (d *DNS) servers() []string {
	if len(d.Servers) > 0 {
		return d.Servers
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.read) < confFor {
		return d.listed
	}
	d.read = time.Now()
	if c, err := dns.ClientConfigFromFile(resolvConf); err == nil && len(c.Servers) > 0 {
		d.listed = nil
		for _, s := range c.Servers {
			d.listed = append(d.listed, net.JoinHostPort(s, c.Port))
		}
	}
	if d.listed == nil {
		d.listed = []string{localResolve}
	}
	return d.listed
}
