package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// frames are all of both sides.
func frames() (all []Frame) {
	for _, types := range []map[string]frameType{clientFrames, serverFrames} {
		for _, t := range types {
			all = append(all, reflect.New(t.of).Interface().(Frame))
		}
	}
	return all
}

// fill sets every field in v to a value that is not its zero.
func fill(t testing.TB, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString("text of \"<&> \u2028 \U0001F511\x00")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(-1 << 31)
		if v.Kind() == reflect.Int64 {
			v.SetInt(-1 << 63)
		}
	case reflect.Uint64:
		v.SetUint(1<<64 - 1)
	case reflect.Uint8:
		v.SetUint(0xfb) // has "+" in one base64 and "-" in the other
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(0))
		fill(t, v.Index(1))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, key)
		fill(t, value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	default:
		t.Fatalf("no value for a field of type %s: teach fill", v.Type())
	}
}

// decoder is that of the side which f is sent to.
func decoder(f Frame) func([]byte) (Frame, error) {
	if _, ok := clientFrames[f.Kind()]; ok {
		return DecodeClient
	}
	return DecodeServer
}

func TestEveryFrameComesBack(t *testing.T) {
	for _, f := range frames() {
		zero := reflect.New(reflect.TypeOf(f).Elem()).Interface().(Frame)
		fill(t, reflect.ValueOf(f).Elem())
		for _, want := range []Frame{f, zero} {
			b, err := Encode(want)
			if err != nil {
				t.Errorf("Encode(%+v) = %v", want, err)
				continue
			}
			if start := `{"type":"` + want.Kind() + `"`; !json.Valid(b) || !strings.HasPrefix(string(b), start) {
				t.Errorf("Encode(%T) = %s, want JSON that starts with %s", want, b, start)
			}
			if got, err := decoder(want)(b); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s comes back as %+v, %v, want %+v", b, got, err, want)
			}
		}
	}
}

// A type with the method Kind that no table has could be sent and never read.
func TestEveryFrameIsOfOneSide(t *testing.T) {
	source, err := os.ReadFile("frames.go")
	if err != nil {
		t.Fatal(err)
	}
	var declared, known []string
	for _, m := range regexp.MustCompile(`(?m)^func \(\*(\w+)\) Kind\(\)`).FindAllSubmatch(source, -1) {
		declared = append(declared, string(m[1]))
	}
	for _, f := range frames() {
		known = append(known, reflect.TypeOf(f).Elem().Name())
	}
	slices.Sort(declared)
	slices.Sort(known)
	if !slices.Equal(declared, known) {
		t.Errorf("frames of the two sides are %q, want those of frames.go, each once: %q", known, declared)
	}
}

func TestOneSideDoesNotReadTheFramesOfTheOther(t *testing.T) {
	for _, f := range frames() {
		b, err := Encode(f)
		if err != nil {
			t.Fatal(err)
		}
		decode := DecodeClient
		if _, ok := clientFrames[f.Kind()]; ok {
			decode = DecodeServer
		}
		if got, err := decode(b); !errors.Is(err, UnknownFrame) || got != nil {
			t.Errorf("the other side reads %s as %+v, %v, want %v", b, got, err, UnknownFrame)
		}
	}
}

// TestFramesByteByByte pins what other implementations have to write.
func TestFramesByteByByte(t *testing.T) {
	offset := int64(-5)
	for _, c := range []struct {
		frame Frame
		want  string
	}{
		{&Ack{Seq: []uint64{7, 1<<64 - 1}}, `{"type":"ack","seq":[7,18446744073709551615]}`},
		{&OK{}, `{"type":"ok"}`},
		{&Hello{[]string{Subprotocol}, Bytes{0xfb, 0xff}, "s", "2.1", BindingExporter},
			`{"type":"hello","versions":["keyhole-push.v1"],"client_token":"-_8","session":"s","app_version":"2.1","binding":"tls-exporter"}`},
		{&Heartbeat{Sent: 1}, `{"type":"heartbeat","sent":1}`},
		{&Heartbeat{Sent: 1, NewKey: "k", Offset: &offset, Renewal: &Renewal{"s", 2, Bytes{0}, Bytes{1}, nil}},
			`{"type":"heartbeat","sent":1,"new_key":"k","offset":-5,"renewal":{"session":"s","epoch":2,"nonce":"AA","old_signature":"AQ","new_signature":""}}`},
		{&Message{ID: "i", Seq: 1, To: "token", Time: 2, Expires: 3, Data: []byte{0xfb, 0xff}},
			`{"type":"message","id":"i","seq":1,"to":"token","time":2,"expires":3,"data":"+/8="}`},
		{&Error{Code: BadFrame, Message: "m", Fatal: true}, `{"type":"error","code":"bad_frame","message":"m","fatal":true}`},
	} {
		if got, err := Encode(c.frame); err != nil || string(got) != c.want {
			t.Errorf("Encode(%+v) = %s, %v, want %s", c.frame, got, err, c.want)
		}
	}
}

// An offset of 0 is one, and fills the reserved field.
func TestK3OffsetOfZeroIsNotEmpty(t *testing.T) {
	for text, want := range map[string]bool{
		`{"type":"heartbeat","sent":1}`:               false,
		`{"type":"heartbeat","sent":1,"offset":null}`: false,
		`{"type":"heartbeat","sent":1,"offset":0}`:    true,
	} {
		f, err := DecodeClient([]byte(text))
		if err != nil {
			t.Errorf("DecodeClient(%s) = %v", text, err)
		} else if got := f.(*Heartbeat).Offset != nil; got != want {
			t.Errorf("DecodeClient(%s) has an offset: %v, want %v", text, got, want)
		}
	}
}

func TestEncodeRefusesANilFrame(t *testing.T) {
	if b, err := Encode((*Ack)(nil)); err == nil {
		t.Errorf("Encode of a nil *Ack = %s, want an error", b)
	}
}

func TestDecodeServerPassesOverWhatItDoesNotKnow(t *testing.T) {
	for _, f := range frames() {
		if _, ok := serverFrames[f.Kind()]; !ok {
			continue
		}
		fill(t, reflect.ValueOf(f).Elem())
		b, err := Encode(f)
		if err != nil {
			t.Fatal(err)
		}
		later := append(bytes.TrimSuffix(b, []byte("}")), `,"later":{"type":[1,{"a":"}"}]}}`...)
		if got, err := DecodeServer(later); err != nil || !reflect.DeepEqual(got, f) {
			t.Errorf("DecodeServer(%s) = %+v, %v, want %+v", later, got, err, f)
		}
	}
}
