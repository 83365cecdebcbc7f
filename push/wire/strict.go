package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"strings"
)

// A shape is the names that a JSON object may have, each with the shape of the
// objects under it: nil for what is no object, or is not read by name.
type shape struct {
	fields map[string]*shape
	any    bool // every name, as in a map
}

func shapeOf(t reflect.Type) *shape {
	switch t.Kind() {
	case reflect.Pointer:
		return shapeOf(t.Elem())
	case reflect.Map:
		return &shape{any: true}
	case reflect.Struct:
		s := &shape{fields: make(map[string]*shape)}
		for _, field := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			s.fields[name] = shapeOf(field.Type)
		}
		return s
	}
	return nil
}

// check refuses what encoding/json lets pass in b, which is valid JSON: names
// that s does not have, names that differ only in case, and one name twice.
// There the last would win, while another reader may take the first. A null in
// a map is refused too, since it would be an empty text.
func (s *shape) check(b []byte) error {
	if s == nil {
		return nil
	}
	seen := make(map[string]bool)
	for name, value := range members(b) {
		inner, known := s.fields[name]
		switch {
		case !known && !s.any:
			return fmt.Errorf("unknown field %.40q", name)
		case seen[name]:
			return fmt.Errorf("field %.40q twice", name)
		case s.any && value[0] == 'n':
			return fmt.Errorf("field %.40q is null", name)
		}
		seen[name] = true
		if err := inner.check(value); err != nil {
			return err
		}
	}
	return nil
}

// members yields the names and values of an object in their order. b is valid
// JSON; when it is no object, it has no members.
func members(b []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		rest, ok := bytes.CutPrefix(bytes.TrimLeft(b, space), []byte("{"))
		for ok {
			rest = bytes.TrimLeft(rest, space+",")
			if rest[0] == '}' {
				return
			}
			n := valueEnd(rest)
			name := unquote(rest[:n])
			rest = bytes.TrimLeft(rest[n:], space+":")
			n = valueEnd(rest)
			ok = yield(name, rest[:n])
			rest = rest[n:]
		}
	}
}

const space = " \t\r\n" // RFC 8259 section 2

// valueEnd is the length of the value that valid JSON starts with.
func valueEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i += stringEnd(b[i:]) - 1
		case '{', '[':
			depth++
			continue
		case '}', ']':
			if depth--; depth < 0 {
				return i
			}
		case ',':
			if depth == 0 {
				return i
			}
			continue
		default: // part of a number or a word, or between values
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(b)
}

// stringEnd is the length of the string that valid JSON starts with.
func stringEnd(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

func unquote(b []byte) (s string) {
	if !bytes.ContainsRune(b, '\\') {
		return string(b[1 : len(b)-1])
	}
	json.Unmarshal(b, &s) // a valid string, which it checked before
	return s
}
