// Package wire is the protocol between a terminal and the push server: its
// frames, the names of its errors, and what the mutual verification signs.
//
//	b, err := wire.Encode(&wire.Ack{Seq: []uint64{7}}) // {"type":"ack","seq":[7]}
//	f, err := wire.DecodeClient(b)                      // *wire.Ack
//
// The server reads strictly, since a field that it does not know is a promise
// that it would not keep; the client ignores what it does not know, so that a
// server may say more than before within one version. The package moves no
// bytes and keeps no state; docs/push-protocol.md is its text for people.
package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

// Bytes are written as base64url without padding (RFC 4648 section 5).
type Bytes []byte

// MarshalText returns b in base64url.
func (b Bytes) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, b), nil
}

// UnmarshalText reads what MarshalText wrote and no more: with line breaks or
// stray bits, two texts would be names of one token.
func (b *Bytes) UnmarshalText(text []byte) error {
	if bytes.ContainsAny(text, "\r\n") {
		return errors.New("line break in base64url")
	}
	raw, err := base64.RawURLEncoding.Strict().AppendDecode(nil, text)
	if err != nil {
		return fmt.Errorf("want base64url without padding: %w", err)
	}
	*b = raw
	return nil
}

// Encode returns f as one JSON object whose first field is "type".
func Encode(f Frame) ([]byte, error) {
	body, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("%s frame: %w", f.Kind(), err)
	}
	if body[0] != '{' {
		return nil, fmt.Errorf("%s frame: a nil pointer", f.Kind())
	}
	b := append(make([]byte, 0, len(body)+len(f.Kind())+len(`{"type":"",`)), `{"type":"`...)
	b = append(append(b, f.Kind()...), '"')
	if len(body) > len("{}") {
		b = append(b, ',')
	}
	return append(b, body[1:]...), nil
}

// DecodeClient reads a frame that a client sent. An error wraps BadFrame or
// UnknownFrame.
func DecodeClient(b []byte) (Frame, error) {
	return decode(b, clientFrames, true)
}

// DecodeServer reads a frame that a server sent. An error wraps BadFrame or
// UnknownFrame.
func DecodeServer(b []byte) (Frame, error) {
	return decode(b, serverFrames, false)
}

// The frames of each side, by what their "type" says.
var (
	clientFrames = frameTypes(&Hello{}, &Confirm{}, &Listen{}, &State{}, &Ack{}, &Heartbeat{})
	serverFrames = frameTypes(&Challenge{}, &Confirmed{}, &Listening{}, &Message{}, &HeartbeatReply{}, &OK{}, &Drain{}, &Error{})
)

type frameType struct {
	of    reflect.Type
	shape *shape // with "type"
}

func frameTypes(frames ...Frame) map[string]frameType {
	types := make(map[string]frameType)
	for _, f := range frames {
		of := reflect.TypeOf(f).Elem()
		s := shapeOf(of)
		s.fields["type"] = nil
		types[f.Kind()] = frameType{of, s}
	}
	return types
}

func decode(b []byte, types map[string]frameType, strict bool) (Frame, error) {
	if err := checkJSON(b); err != nil {
		return nil, fmt.Errorf("%w: %w", BadFrame, err)
	}
	kind, err := kindOf(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", BadFrame, err)
	}
	t, ok := types[kind]
	if !ok {
		return nil, fmt.Errorf("%w: type %.40q", UnknownFrame, kind)
	}
	if strict {
		if err := t.shape.check(b); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", BadFrame, kind, err)
		}
	}
	f := reflect.New(t.of).Interface().(Frame)
	if err := json.Unmarshal(b, f); err != nil { // no field is called "type": it is passed over
		return nil, fmt.Errorf("%w: %s: %s", BadFrame, kind, plain(err))
	}
	return f, nil
}

// checkJSON demands one JSON value in UTF-8; encoding/json would replace bytes
// that are something else.
func checkJSON(b []byte) error {
	if !utf8.Valid(b) {
		return errors.New("not UTF-8")
	}
	if json.Valid(b) {
		return nil
	}
	var value json.RawMessage
	return json.Unmarshal(b, &value) // for what is wrong, and where
}

// kindOf reads the field "type" of valid JSON.
func kindOf(b []byte) (kind string, err error) {
	for name, value := range members(b) {
		if name != "type" {
			continue
		}
		if value[0] != '"' {
			return "", fmt.Errorf(`field "type" is %.40s, want a string`, value)
		}
		return unquote(value), nil
	}
	return "", errors.New(`want an object with a field "type"`)
}

// plain says what encoding/json found without the names of Go's types, and in
// few words whatever the frame has: the other side and the log get to read it.
func plain(err error) string {
	var shape *json.UnmarshalTypeError
	if errors.As(err, &shape) {
		return fmt.Sprintf("field %.40q does not take this %.40s", shape.Field, shape.Value)
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}
