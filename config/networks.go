package config

import (
	"bytes"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"keyhole/config/strict"
)

// maxBadLines is how many problems of one list of networks are reported: a file of another kind has
// one in each line.
const maxBadLines = 10

// networkFile reads the file of networks that `@NAME` stands for: one network or address a line,
// comments from # on. Each file is read once, and all lists that name it share its networks.
func (d *decoder) networkFile(n *yaml.Node, key, name string) []netip.Prefix {
	file := beside(d.File, name)
	if name == "" || strings.ContainsRune(name, 0) {
		d.Fail(n, "%s %s: names no file, write %s", key, strict.Quote("@"+name), strict.Quote("@networks.txt"))
		return nil
	}
	if list, ok := d.networks[file]; ok {
		if list == nil {
			d.FailedBefore()
		}
		return list
	}
	data, err := d.read(file)
	if err != nil {
		d.Fail(n, "%s %s: %v", key, strict.Quote("@"+name), err)
		return nil
	}
	d.In(file, func() { d.networks[file] = d.parseNetworks(data) })
	return d.networks[file]
}

// parseNetworks reads the text of File, and returns nil after a problem. A file without a network is a problem: it may be one that is
// being written, and an empty list lets nobody in, or keeps nobody out.
func (d *decoder) parseNetworks(data []byte) []netip.Prefix {
	list := make([]netip.Prefix, 0, bytes.Count(data, []byte("\n"))+1)
	before, line := d.Count(), 0
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	for text := range bytes.Lines(data) {
		line++
		text, _, _ = bytes.Cut(text, []byte("#"))
		word := bytes.TrimSpace(text)
		if len(word) == 0 {
			continue
		}
		p, wrong := parseNetwork(string(word))
		if wrong == "" {
			list = append(list, p)
			continue
		}
		if d.Count() == before+maxBadLines {
			d.FailAt(line, 1, "and further lines that hold no network")
			break
		}
		col := utf8.RuneCount(text[:bytes.Index(text, word)]) + 1
		d.FailAt(line, col, "%s: %s", strict.Quote(string(word)), wrong)
	}
	if len(list) == 0 && d.Count() == before {
		d.FailAt(1, 1, "the file has no network; list one or more, or leave the file out of the configuration")
	}
	if d.Count() > before {
		return nil
	}
	return once(list)
}

// parseNetwork reads a network or an address, or says what is wrong with it.
func parseNetwork(s string) (p netip.Prefix, wrong string) {
	p, ok := parsePrefix(s)
	switch {
	case !ok && isPath(s):
		return p, "not an address or a network, did you mean " + strict.Quote("@"+s) + ", those in a file?"
	case !ok:
		return p, "not an address or a network, write 192.0.2.7 or 192.0.2.0/24"
	case p != p.Masked():
		return p, "has bits set beyond its length, did you mean " + strict.Quote(p.Masked().String()) + "?"
	}
	return p, ""
}

// join returns the networks of all lists, each once. It does not copy one that is all.
func join(lists [][]netip.Prefix) []netip.Prefix {
	if len(lists) == 1 {
		return lists[0]
	}
	return once(slices.Concat(lists...))
}

// once sorts networks and leaves out those that are there already.
func once(list []netip.Prefix) []netip.Prefix {
	slices.SortFunc(list, netip.Prefix.Compare)
	return slices.Compact(list)
}

// listKey tells lists of networks apart without reading them: many routes have the same.
func (d *decoder) listKey(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	elements := n.Content
	if n.Kind == yaml.ScalarNode {
		elements = []*yaml.Node{n}
	}
	var b strings.Builder
	for _, e := range elements {
		b.WriteByte(' ')
		if name, ok := strings.CutPrefix(e.Value, "@"); ok {
			b.WriteString("@" + beside(d.File, name))
		} else {
			b.WriteString(e.Value)
		}
	}
	return b.String()
}

// isPath reports whether somebody means a file who left out the @.
func isPath(s string) bool {
	ext := filepath.Ext(s)
	return strings.HasPrefix(s, "/") || strings.HasPrefix(s, ".") ||
		slices.Contains([]string{".txt", ".lst", ".list", ".acl", ".conf", ".netset"}, ext)
}

// parsePrefix reads a network or a single address. A mapped IPv4 network, ::ffff:192.0.2.0/120,
// becomes the IPv4 network: a client's address is unmapped.
func parsePrefix(s string) (netip.Prefix, bool) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), err == nil && a.Zone() == ""
	}
	p, err := netip.ParsePrefix(s)
	if err == nil && p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, err == nil
}
