package wire

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestDecodeClientRefuses(t *testing.T) {
	deep := strings.Repeat("[", 20000) + strings.Repeat("]", 20000)
	object := strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000)
	digits := strings.Repeat("9", 5000)
	for _, c := range []struct {
		name, frame string
		want        Code
		says        string
	}{
		{"nothing", ``, BadFrame, "unexpected end"},
		{"spaces", " \n", BadFrame, "unexpected end"},
		{"null", `null`, BadFrame, `"type"`},
		{"an array", `[]`, BadFrame, `"type"`},
		{"an array of a frame", `[{"type":"ack","seq":[1]}]`, BadFrame, `"type"`},
		{"a number", `7`, BadFrame, `"type"`},
		{"a string", `"ack"`, BadFrame, `"type"`},
		{"text", `hello`, BadFrame, "invalid character"},
		{"half an object", `{"type":"ack","seq":[1]`, BadFrame, "unexpected end"},
		{"two frames", `{"type":"ack","seq":[1]}{"type":"ack","seq":[2]}`, BadFrame, "after top-level value"},
		{"a comma at the end", `{"type":"ack","seq":[1],}`, BadFrame, "invalid character"},
		{"a byte order mark", "\ufeff" + `{"type":"ack","seq":[1]}`, BadFrame, "invalid character"},
		{"a comment", `{"type":"ack"/**/}`, BadFrame, "invalid character"},
		{"not UTF-8", "{\"type\":\"listen\",\"token\":\"\xff\"}", BadFrame, "not UTF-8"},
		{"an empty object", `{}`, BadFrame, `"type"`},
		{"no type", `{"seq":[1]}`, BadFrame, `"type"`},
		{"type null", `{"type":null,"seq":[1]}`, BadFrame, "is null"},
		{"type number", `{"type":7}`, BadFrame, "is 7"},
		{"type object", `{"type":{"type":"ack"}}`, BadFrame, "want a string"},
		{"type in other case", `{"Type":"ack","seq":[1]}`, BadFrame, `"type"`},
		{"type further down", `{"a":{"type":"ack"}}`, BadFrame, `"type"`},
		{"unknown type", `{"type":"subscribe"}`, UnknownFrame, `"subscribe"`},
		{"empty type", `{"type":""}`, UnknownFrame, `""`},
		{"type in capitals", `{"type":"ACK"}`, UnknownFrame, `"ACK"`},
		{"type of the server", `{"type":"confirmed"}`, UnknownFrame, "confirmed"},
		{"two types", `{"type":"ack","type":"hello","seq":[1]}`, BadFrame, `"type" twice`},
		{"two types, one escaped", `{"type":"ack","\u0074ype":"hello"}`, BadFrame, `"type" twice`},
		{"unknown field", `{"type":"ack","seq":[1],"later":1}`, BadFrame, `unknown field "later"`},
		{"empty field", `{"type":"ack","seq":[1],"":1}`, BadFrame, `unknown field ""`},
		{"field in capitals", `{"type":"ack","SEQ":[1]}`, BadFrame, `unknown field "SEQ"`},
		{"field that folds to another", `{"type":"listen","to\u212aen":"t"}`, BadFrame, "unknown field"},
		{"a field of Go's", `{"type":"ack","Seq":[1]}`, BadFrame, `unknown field "Seq"`},
		{"a field twice", `{"type":"listen","token":"a","token":"b"}`, BadFrame, `"token" twice`},
		{"a field twice, one escaped", `{"type":"listen","token":"a","\u0074oken":"b"}`, BadFrame, `"token" twice`},
		{"unknown field within", `{"type":"heartbeat","renewal":{"later":1}}`, BadFrame, `unknown field "later"`},
		{"a field within twice", `{"type":"heartbeat","renewal":{"epoch":1,"epoch":2}}`, BadFrame, `"epoch" twice`},
		{"a type within", `{"type":"heartbeat","renewal":{"type":"ack"}}`, BadFrame, `unknown field "type"`},
		{"a state twice", `{"type":"listen","state":{"a":"1","a":"2"}}`, BadFrame, `"a" twice`},
		{"a state that is null", `{"type":"state","set":{"a":null}}`, BadFrame, `"a" is null`},
		{"a state that is a number", `{"type":"state","set":{"a":1}}`, BadFrame, "does not take this number"},
		{"states in an array", `{"type":"state","set":[]}`, BadFrame, `"set" does not take this array`},
		{"text for an array", `{"type":"ack","seq":"1"}`, BadFrame, `"seq" does not take this string`},
		{"object for an array", `{"type":"ack","seq":{"0":1}}`, BadFrame, `"seq" does not take this object`},
		{"array for an object", `{"type":"heartbeat","renewal":[]}`, BadFrame, `"renewal" does not take this array`},
		{"a negative sequence", `{"type":"ack","seq":[-1]}`, BadFrame, "does not take this number -1"},
		{"a fraction", `{"type":"ack","seq":[1.5]}`, BadFrame, "does not take this number 1.5"},
		{"an exponent", `{"type":"ack","seq":[1e3]}`, BadFrame, "does not take this number 1e3"},
		{"one past 64 bits", `{"type":"ack","seq":[18446744073709551616]}`, BadFrame, "does not take this number"},
		{"5,000 digits", `{"type":"ack","seq":[` + digits + `]}`, BadFrame, "does not take this number"},
		{"a huge exponent", `{"type":"heartbeat","sent":1e` + digits + `}`, BadFrame, "does not take this number"},
		{"one past the offset's 64 bits", `{"type":"heartbeat","offset":9223372036854775808}`, BadFrame, "does not take this number"},
		{"a leading zero", `{"type":"ack","seq":[01]}`, BadFrame, "invalid character"},
		{"bytes that are a number", `{"type":"confirm","proof":1}`, BadFrame, "does not take this number"},
		{"bytes that are an array", `{"type":"confirm","proof":[1]}`, BadFrame, "does not take this array"},
		{"bytes with padding", `{"type":"confirm","proof":"AA=="}`, BadFrame, "base64"},
		{"bytes of the other alphabet", `{"type":"confirm","proof":"+/8"}`, BadFrame, "base64"},
		{"bytes with stray bits", `{"type":"confirm","proof":"AB"}`, BadFrame, "base64"},
		{"bytes with a line break", `{"type":"confirm","proof":"AA\n"}`, BadFrame, "base64"},
		{"bytes of one character", `{"type":"confirm","proof":"A"}`, BadFrame, "base64"},
		{"arrays in arrays", deep, BadFrame, "depth"},
		{"objects in objects", object, BadFrame, "depth"},
		{"arrays in a field", `{"type":"ack","seq":` + deep + `}`, BadFrame, "depth"},
		{"objects in a field", `{"type":"state","set":` + object + `}`, BadFrame, "depth"},
		{"a long type", `{"type":"` + strings.Repeat("x", 16000) + `"}`, UnknownFrame, "xxx"},
		{"a long field", `{"type":"ack","` + strings.Repeat("x", 16000) + `":1}`, BadFrame, "xxx"},
		{"a long type that is an array", `{"type":[` + strings.Repeat("1,", 8000) + `1]}`, BadFrame, "want a string"},
		{"brackets in a name", `{"type":"ack","}]":{"[":"{"},"seq":[1]}`, BadFrame, `unknown field "}]"`},
		{"quotes in a name", `{"type":"ack","\"":"\\","seq":[1]}`, BadFrame, `unknown field "\""`},
	} {
		f, err := DecodeClient([]byte(c.frame))
		if !errors.Is(err, c.want) || f != nil || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: DecodeClient = %+v, %v, want %s of %q", c.name, f, err, c.want, c.says)
		}
		if err != nil && len(err.Error()) > 250 {
			t.Errorf("%s: the error has %d characters, want few: %.250s", c.name, len(err.Error()), err)
		}
		if c.want == BadFrame && strings.Contains(fmt.Sprint(err), "wire.") {
			t.Errorf("%s: the error %q has names of Go in it", c.name, err)
		}
	}
}

func TestDecodeClientTakes(t *testing.T) {
	for text, want := range map[string]Frame{
		` { "seq" : [ 1 , 2 ] , "type" : "ack" } ` + "\r\n\t": &Ack{Seq: []uint64{1, 2}},
		`{"\u0074ype":"\u0061ck","\u0073eq":[]}`:              &Ack{Seq: []uint64{}},
		`{"type":"ack","seq":null}`:                           &Ack{},
		`{"type":"confirm","proof":null}`:                     &Confirm{},
		`{"type":"confirm","proof":""}`:                       &Confirm{},
		`{"type":"heartbeat","renewal":null,"sent":-1}`:       &Heartbeat{Sent: -1},
		`{"type":"state","set":{"type":"}{","":"[","\"":","},"unset":["\\"]}`: &State{
			Set: map[string]string{"type": "}{", "": "[", `"`: ","}, Unset: []string{`\`}},
	} {
		if got, err := DecodeClient([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("DecodeClient(%s) = %+v, %v, want %+v", text, got, err, want)
		}
	}
}

func TestDecodeServerRefuses(t *testing.T) {
	for text, want := range map[string]Code{
		``:                                     BadFrame,
		`null`:                                 BadFrame,
		`{"type":"message","seq":"1"}`:         BadFrame,
		`{"type":"message","data":"?"}`:        BadFrame,
		`{"type":"confirmed","server_key":[]}`: BadFrame,
		`{"type":"later"}`:                     UnknownFrame,
		`{"type":"ack"}`:                       UnknownFrame,
	} {
		if f, err := DecodeServer([]byte(text)); !errors.Is(err, want) || f != nil {
			t.Errorf("DecodeServer(%s) = %+v, %v, want %s", text, f, err, want)
		}
	}
}

// FuzzDecodeClient: what is read can be written, and is then read as the same.
func FuzzDecodeClient(f *testing.F) {
	for _, frame := range frames() {
		for range 2 {
			b, err := Encode(frame)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
			fill(f, reflect.ValueOf(frame).Elem())
		}
	}
	f.Add([]byte(`{"type":"state","set":{"a":"\ud800"},"unset":[null]}`))
	f.Add([]byte(`{"type":"ack","seq":[` + strings.Repeat("[", 100)))
	f.Add([]byte(" {\"\\u0074ype\" :\"ack\",\t\"seq\":[ 1,2 ]} "))
	f.Fuzz(func(t *testing.T, b []byte) {
		first, err := DecodeClient(b)
		if err != nil {
			if !errors.Is(err, BadFrame) && !errors.Is(err, UnknownFrame) {
				t.Fatalf("DecodeClient(%q) = %v, want a named error", b, err)
			}
			return
		}
		once, err := Encode(first)
		if err != nil {
			t.Fatalf("Encode(%+v) = %v", first, err)
		}
		second, err := DecodeClient(once)
		if err != nil {
			t.Fatalf("DecodeClient(%q) = %v, want the frame of %q", once, err, b)
		}
		if twice, err := Encode(second); err != nil || !bytes.Equal(twice, once) {
			t.Fatalf("%q is written as %q and then as %q, %v", b, once, twice, err)
		}
	})
}
