package convert

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// order makes choices that mean in any order what they meant in theirs. Keyhole asks for expressions
// first, in the file's order. So each gets all choices but those of the others.
func (t *tabler) order(pattern string, found []choice) (out []choice) {
	matchings := expressions(found)
	for _, c := range found {
		if len(matchings) > 1 && c.matching != "" && (c.alpn != nil || c.from != nil || c.deny != nil) {
			t.add(c.place, "%s: of several expressions the first decides, whatever the other conditions", told(pattern))
		}
	}
	for _, m := range append(matchings, "") {
		all := t.grid(pattern, slices.DeleteFunc(slices.Clone(found), func(c choice) bool { return c.matching != "" && c.matching != m }))
		for i := range all {
			all[i].matching = m
		}
		if *t.steps > maxSteps {
			return nil
		}
		out = append(out, all...)
	}
	return out
}

// expressions returns those of choices, each once.
func expressions(found []choice) (all []string) {
	for _, c := range found {
		if c.matching != "" && !slices.Contains(all, c.matching) {
			all = append(all, c.matching)
		}
	}
	return all
}

// grid makes choices of which each protocol has one for each network: that of the first choice that
// takes the two. Keyhole asks for protocols in the client's order, and then for the longest network.
func (t *tabler) grid(pattern string, found []choice) (out []choice) {
	protocols, nets := []string{""}, []netip.Prefix{}
	for _, c := range found {
		protocols, nets = append(protocols, c.alpn...), append(append(nets, c.from...), c.deny...)
	}
	protocols = dedupe(protocols)
	slices.SortFunc(nets, func(a, b netip.Prefix) int { return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits()) })
	nets = append(slices.Compact(nets), netip.Prefix{})
	*t.steps += len(found)*(len(protocols)*len(nets)+8) + 8*len(nets)
	if *t.steps > maxSteps {
		return nil
	}
	look := make([]netChoice, len(found))
	for i, c := range found {
		look[i] = netChoice{c, newNetset(c.from), newNetset(c.deny)}
	}
	var others []choice // for clients that offer none of the protocols
	said := map[string]int{}
	for i, p := range protocols {
		list := decided(look, p, nets)
		key := choices(list)
		at, known := said[key]
		switch {
		case i == 0:
			others, said[key] = list, -1
		case known && at >= 0: // another protocol has the same list
			for j := range list {
				out[at+j].alpn = append(out[at+j].alpn, p)
			}
		case !known:
			if i > 1 && p != acme && out != nil && !alone(out[0].alpn) {
				t.add(list[0].place, "%s: of several protocols, the client's first decides, not the first line", told(pattern))
			}
			said[key] = len(out)
			for _, c := range list {
				c.alpn = []string{p}
				out = append(out, c)
			}
		}
	}
	return append(out, others...)
}

// decided returns the choices for the clients that offer one protocol, in each of nets, without those
// that say what the next wider network's does. A network stands behind those that it is a part of, and
// every address, an invalid one, at the end.
func decided(found []netChoice, protocol string, nets []netip.Prefix) (list []choice) {
	first := func(p netip.Prefix) choice {
		i := slices.IndexFunc(found, func(c netChoice) bool {
			return (c.alpn == nil || slices.Contains(c.alpn, protocol)) && (c.choice.from == nil || c.from.has(p)) &&
				(c.choice.deny == nil || !c.deny.has(p))
		})
		return choice{place: found[i].place, to: found[i].to}
	}
	type network struct {
		netip.Prefix
		to target
	}
	every := first(netip.Prefix{})
	var around []network // of the one that is looked at, the widest first
	for _, p := range nets[:len(nets)-1] {
		for len(around) > 0 && !around[len(around)-1].Contains(p.Addr()) {
			around = around[:len(around)-1]
		}
		c, wider := first(p), every.to
		if len(around) > 0 {
			wider = around[len(around)-1].to
		}
		around = append(around, network{p, c.to})
		if c.to != wider {
			list = append(list, choice{place: c.place, from: []netip.Prefix{p}, to: c.to})
		}
	}
	return merged(append(list, every))
}

// A netChoice is a choice whose networks can be looked up.
type netChoice struct {
	choice
	from, deny netset
}

// A netset is a set of networks.
type netset struct {
	all  map[netip.Prefix]bool
	bits []int // the lengths of its networks
}

func newNetset(all []netip.Prefix) netset {
	s := netset{all: map[netip.Prefix]bool{}}
	for _, p := range all {
		s.all[p] = true
		if !slices.Contains(s.bits, p.Bits()) {
			s.bits = append(s.bits, p.Bits())
		}
	}
	return s
}

// has reports whether p is a part of a network of s. No network has an invalid p, every address.
func (s netset) has(p netip.Prefix) bool {
	return slices.ContainsFunc(s.bits, func(bits int) bool {
		wide, err := p.Addr().Prefix(bits)
		return err == nil && bits <= p.Bits() && s.all[wide]
	})
}

// merged joins the networks with one target, and says it as a fence if it is one: some networks, or all
// but some, are rejected.
func merged(list []choice) (out []choice) {
	for _, c := range list {
		i := slices.IndexFunc(out, func(o choice) bool { return o.to == c.to })
		if i < 0 || c.from == nil {
			out = append(out, c)
			continue
		}
		out[i].from = append(out[i].from, c.from...)
	}
	last := out[len(out)-1]
	switch {
	case len(out) == 2 && out[0].to.backend == nil:
		last.deny = out[0].from
	case len(out) == 2 && last.to.backend == nil:
		last.place, last.to, last.allow = out[0].place, out[0].to, out[0].from
	default:
		return out
	}
	return []choice{last}
}

// choices spells what a list says.
func choices(list []choice) string {
	var s strings.Builder
	for _, c := range list {
		s.WriteString(c.key() + "\n")
	}
	return s.String()
}
