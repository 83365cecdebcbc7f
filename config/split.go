package config

import (
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"

	"keyhole/backend"
	"keyhole/config/strict"
)

// Split shares the clients of a route among backends by weight.
type Split struct {
	Backends []int // indexes in Config.Backends
	Weights  []int // of each, 0 to backend.MaxShare; at least one is above 0
	Sticky   bool  // a client address gets always the same backend
}

// BackendsOf returns the backends that a routes.Route.Backend stands for: one, those of a split, or
// none.
func (c *Config) BackendsOf(number int) []int {
	switch {
	case number < 0:
		return nil
	case number < backend.FirstSplit:
		return []int{number}
	}
	return c.Splits[number-backend.FirstSplit].Backends
}

var shareSchema = strict.Schema{
	What:     "a backend of a route",
	Want:     "a name, an address or a mapping such as {name: shop, weight: 9}",
	Keys:     []string{"name", "weight"},
	Required: []string{"name"},
	Hints: map[string]string{
		"backend": "write `name`",
		"address": "write `name`, which may be an address",
		"server":  "write `name`, which may be an address",
		"service": "write `name`",
		"percent": "write `weight`; a backend gets its share of the sum of all weights",
	},
}

// destination reads where a route sends its clients. It returns a routes.Route.Backend: -1 for a
// route without a backend, and 0 after a problem.
func (d *decoder) destination(to, sticky *yaml.Node) int {
	stays := sticky != nil && d.sticky(sticky)
	switch {
	case to == nil:
		return -1
	case to.Kind == yaml.SequenceNode:
		return max(0, d.split(to, stays))
	case to.Kind == yaml.MappingNode:
		d.WrongType(to, "`backend`", "a name, an address or a list of them")
		return 0
	case sticky != nil:
		d.Fail(sticky, "`sticky` has no effect with one backend, list several as in [{name: a, weight: 9}, {name: b, weight: 1}]")
	}
	return max(0, d.backendRef(to))
}

func (d *decoder) sticky(n *yaml.Node) bool {
	_, ok := d.Choice(n, "sticky", "client")
	return ok
}

// split reads a list of backends with weights. Routes that list the same share one Split.
func (d *decoder) split(n *yaml.Node, sticky bool) int {
	before := d.Count()
	s := Split{Sticky: sticky}
	elements := d.List(n, "backend")
	for _, e := range elements {
		i, weight, at := d.share(e)
		switch {
		case i < 0:
		case slices.Contains(s.Backends, i):
			d.Fail(at, "duplicate backend %s in one route", strict.Quote(at.Value))
		default:
			s.Backends, s.Weights = append(s.Backends, i), append(s.Weights, weight)
		}
	}
	switch {
	case d.Count() > before:
		return -1
	case slices.Max(s.Weights) == 0:
		d.Fail(n, "every backend of the route has weight 0, at least one must have more")
		return -1
	case len(s.Backends) == 1:
		return s.Backends[0]
	}
	return backend.FirstSplit + d.splitNumber(s)
}

// splitNumber returns the index of a split in config.Splits.
func (d *decoder) splitNumber(s Split) int {
	key := fmt.Sprint(s)
	i, ok := d.splits[key]
	if !ok {
		i = len(d.config.Splits)
		d.splits[key] = i
		d.config.Splits = append(d.config.Splits, s)
	}
	return i
}

// share reads one backend of a list: its index, its weight, and the node that names it. The index is
// -1 after a problem.
func (d *decoder) share(n *yaml.Node) (index, weight int, at *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		return d.backendRef(n), 1, n
	}
	if name, ok := shorthand(n); ok {
		d.Fail(n, "%s must be {name: %s, weight: %s}", shareSchema.What, name, n.Content[1].Value)
		return -1, 1, nil
	}
	index, weight = -1, 1
	for k, v := range d.Fields(n, &shareSchema) {
		switch k.Value {
		case "name":
			index, at = d.backendRef(v), v
		case "weight":
			if i, ok := d.Integer(v, k.Value, 0, backend.MaxShare); ok {
				weight = i
			}
		}
	}
	return index, weight, at
}

// shorthand returns the name of {NAME: WEIGHT}, which is one mistake.
func shorthand(n *yaml.Node) (name string, ok bool) {
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 || slices.Contains(shareSchema.Keys, n.Content[0].Value) {
		return "", false
	}
	_, ok = strict.Number(n.Content[1], 0, backend.MaxShare)
	return n.Content[0].Value, ok
}
