package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"keyhole/push/wire"
)

// bodyLimit is the size of a JSON body in bytes, but for a publication's,
// which has room for its payload.
const bodyLimit = 16 << 10

// readJSON reads a body that is one JSON object with the fields of T and no
// others, each at most once and spelt as documented: encoding/json alone would
// take "TTL" for "ttl" and the last of two. The error wraps BadRequest, or
// PayloadTooLarge past limit.
func readJSON[T any](w http.ResponseWriter, r *http.Request, limit int) (*T, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, fmt.Errorf("%w: Content-Type is %.80q, want application/json", wire.BadRequest, r.Header.Get("Content-Type"))
	}
	b, err := readBody(w, r, limit)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(b) { // encoding/json would replace what is not
		return nil, fmt.Errorf("%w: body: not UTF-8", wire.BadRequest)
	}
	v := new(T)
	if err := checkFields(b, fieldNames(reflect.TypeFor[T]())); err != nil {
		return nil, fmt.Errorf("%w: body: %w", wire.BadRequest, err)
	}
	err = json.Unmarshal(b, v)
	var shape *json.UnmarshalTypeError
	switch {
	case errors.As(err, &shape) && shape.Field == "ttl":
		return nil, fmt.Errorf("%w: a %s is not a whole number of seconds", wire.TTLInvalid, shape.Value)
	case err != nil:
		return nil, fmt.Errorf("%w: body: %w", wire.BadRequest, plainJSON(err))
	}
	return v, nil
}

// checkFields refuses what is not one object, and a field of it that is not
// among names or comes twice.
func checkFields(b []byte, names []string) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err == io.EOF {
		return errors.New("empty, want a JSON object")
	} else if err != nil {
		return plainJSON(err)
	} else if t != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return plainJSON(err)
		}
		name, _ := t.(string) // in an object a key is a string
		switch {
		case !slices.Contains(names, name):
			return fmt.Errorf("unknown field %.40q; there are %s", name, strings.Join(names, ", "))
		case seen[name]:
			return fmt.Errorf("field %q comes twice", name)
		}
		seen[name] = true
		var skipped json.RawMessage
		if err := d.Decode(&skipped); err != nil {
			return plainJSON(err)
		}
	}
	return nil
}

// fieldNames are the names of a struct's fields in JSON.
func fieldNames(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// plainJSON says what encoding/json found without the names of Go's types.
func plainJSON(err error) error {
	var shape *json.UnmarshalTypeError
	if errors.As(err, &shape) {
		return fmt.Errorf("field %q cannot be a %s", shape.Field, shape.Value)
	}
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("unexpected end of JSON input")
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// writeJSON answers with v. A client that is gone by now is no error of ours.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
	return nil
}
