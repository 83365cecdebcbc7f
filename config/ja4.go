package config

import (
	"gopkg.in/yaml.v3"

	"keyhole/config/strict"
	"keyhole/routes"
	"keyhole/sni"
)

var ja4Schema = strict.Schema{
	What: "`ja4`",
	Want: "a mapping such as {deny: [t13d1516h2_8daaf6152771_02713d6af862]}",
	Keys: []string{"allow", "deny"},
}

// fingerprints reads the lists of a route, or those of all; nil is none.
func (d *decoder) fingerprints(n *yaml.Node) *routes.Fingerprints {
	var allow, deny []sni.JA4
	before := d.Count()
	at := n
	for k, v := range d.Fields(n, &ja4Schema) {
		switch k.Value {
		case "allow":
			allow = d.ja4s(v, k.Value)
		case "deny":
			deny, at = d.ja4s(v, k.Value), v
		}
	}
	switch {
	case d.Count() > before:
		return nil
	case allow == nil && deny == nil:
		d.Fail(n, "`ja4` has no effect without `allow` or `deny`")
		return nil
	}
	f, err := routes.NewFingerprints(allow, deny)
	if err != nil {
		d.Fail(at, "ja4 %v", err)
	}
	return f
}

// ja4s reads a list of JA4s.
func (d *decoder) ja4s(n *yaml.Node, key string) (all []sni.JA4) {
	seen := map[sni.JA4]bool{}
	for e, s := range d.Texts(n, key) {
		j, err := routes.ParseJA4(s)
		switch {
		case err != nil:
			d.Fail(e, "%s %s %v", key, strict.Quote(s), err)
		case seen[j]:
			d.Fail(e, "duplicate JA4 %s", strict.Quote(s))
		default:
			seen[j] = true
			all = append(all, j)
		}
	}
	return all
}
