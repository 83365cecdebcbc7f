package web_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"reflect"
	"strings"
	"testing"

	"keyhole/push/wire"
)

// fill sets every field of a frame to something that is not its zero.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case wire.Bytes, []byte:
		v.SetBytes([]byte{0xfb, 0xff, 0})
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("ä \"text\"")
	case reflect.Int, reflect.Int64:
		v.SetInt(1<<53 - 1)
	case reflect.Uint64:
		v.SetUint(1<<53 - 1)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	default:
		t.Fatalf("a frame has a field of kind %s, and fill has nothing for it", v.Kind())
	}
}

// fields are those of a frame's JSON. Bytes in standard base64 become base64url, as peer.mjs prints all bytes.
func fields(t *testing.T, text []byte) map[string]any {
	t.Helper()
	var f map[string]any
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if f["data"] == "+/8A" {
		f["data"] = "-_8A"
	}
	return f
}

func TestThePageReadsEveryFieldOfEveryFrame(t *testing.T) {
	p := startPeer(t)
	// What the page has no use for.
	unused := map[string][]string{
		"listening": {"ref"},
		"confirmed": {"limits.frame_bytes", "limits.payload_bytes", "limits.state_keys"},
	}
	for _, f := range []wire.Frame{
		&wire.Challenge{}, &wire.Confirmed{}, &wire.Listening{}, &wire.Message{}, &wire.HeartbeatReply{}, &wire.OK{},
		&wire.Drain{}, &wire.Error{},
	} {
		fill(t, reflect.ValueOf(f).Elem())
		text, err := wire.Encode(f)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		p.call(&got, "decode", string(text))
		want := fields(t, text)
		for _, name := range unused[f.Kind()] {
			if outer, inner, nested := strings.Cut(name, "."); nested {
				delete(want[outer].(map[string]any), inner)
			} else {
				delete(want, name)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("decode(%s) = %v, want %v", text, got, want)
		}
		text, err = wire.Encode(reflect.New(reflect.TypeOf(f).Elem()).Interface().(wire.Frame))
		if err != nil {
			t.Fatal(err)
		}
		if f.Kind() != "challenge" { // without versions it is none
			p.call(&got, "decode", string(text))
		}
	}
}

func TestThePageRefusesFramesThatCannotBe(t *testing.T) {
	p := startPeer(t)
	for text, want := range map[string]string{
		``:                                "bad_frame",
		`null`:                            "bad_frame",
		`[]`:                              "bad_frame",
		`{`:                               "bad_frame",
		`{"type":7}`:                      "bad_frame",
		`{"type":"hello"}`:                "unknown_frame",
		`{"type":"__proto__"}`:            "unknown_frame",
		`{"type":"drain"}`:                `bad_frame: drain: field "delay_ms": want a whole number`,
		`{"type":"drain","delay_ms":1.5}`: "bad_frame: drain",
		`{"type":"drain","delay_ms":9007199254740993}`:                          "bad_frame: drain",
		`{"type":"error","code":1,"message":""}`:                                "bad_frame: error",
		`{"type":"confirmed"}`:                                                  "bad_frame: confirmed",
		`{"type":"challenge","version":"a","versions":"a"}`:                     "bad_frame: challenge",
		`{"type":"challenge","version":"a","versions":[1]}`:                     "bad_frame: challenge",
		`{"type":"heartbeat_reply","time":1,"s_time":1,"nonce":"a=","epoch":1}`: `bad_frame: heartbeat_reply: field "nonce": not base64url`,
	} {
		p.refuses(want, "decode", text)
	}
}

func TestTheServerReadsTheFramesOfThePage(t *testing.T) {
	p := startPeer(t)
	var text string
	p.call(&text, "encode", map[string]any{
		"type": "hello", "versions": versions, "client_token": b64(make([]byte, 32)), "session": "s", "app_version": "1",
		"binding": "none",
	})
	f, err := wire.DecodeClient([]byte(text))
	want := &wire.Hello{Versions: versions, ClientToken: make([]byte, 32), Session: "s", AppVersion: "1", Binding: "none"}
	if err != nil || !reflect.DeepEqual(f, want) {
		t.Errorf("DecodeClient(%s) = %+v, %v, want %+v", text, f, err, want)
	}
}

// said is an exchange as testdata/peer.mjs takes it.
func said(x *wire.Exchange, key string) map[string]any {
	return map[string]any{
		"offered": x.Offered, "supported": x.Supported, "version": x.Version,
		"clientToken": b64(x.ClientToken), "serverToken": b64(x.ServerToken),
		"user": x.User, "device": x.Device, "app": x.App, "appVersion": x.AppVersion,
		"session": x.Session, "server": x.Server.String(), "key": key,
	}
}

func TestV5ThePageProvesTheWholeExchange(t *testing.T) {
	p, server := startPeer(t), newKey(t)
	x := &wire.Exchange{
		Offered: []string{wire.Subprotocol, "other"}, Supported: []string{wire.Subprotocol}, Version: wire.Subprotocol,
		ClientToken: make([]byte, 32), ServerToken: []byte("server token"), User: "ada ü", Device: "d", App: "a", AppVersion: "",
		Session: "session", Client: p.generate("client"), Server: server.Public(), Binding: wire.BindingNone,
	}
	proof := p.bytes("clientProof", said(x, "client"))
	if !x.VerifyClient(proof) {
		t.Fatal("VerifyClient of the page's proof = false, want true")
	}
	theirs, err := x.ServerProof(server, proof)
	if err != nil {
		t.Fatal(err)
	}
	var ok bool
	if p.call(&ok, "verifyServer", said(x, "client"), theirs, proof); !ok {
		t.Error("verifyServer in the page = false, want true")
	}
	if p.call(&ok, "verifyServer", said(x, "client"), theirs, theirs); ok {
		t.Error("verifyServer with another first confirmation = true, want false")
	}
	for _, field := range []string{"version", "user", "device", "app", "appVersion", "session"} {
		changed := said(x, "client")
		changed[field] = "changed"
		if p.call(&ok, "verifyServer", changed, theirs, proof); ok {
			t.Errorf("verifyServer with another %s = true, want false", field)
		}
	}
}

// codes are the constants of type Code in push/wire.
func codes(t *testing.T) map[wire.Code]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../wire/codes.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	all := map[wire.Code]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if value, ok := n.(*ast.ValueSpec); ok && len(value.Values) == 1 {
			if literal, ok := value.Values[0].(*ast.BasicLit); ok {
				all[wire.Code(strings.Trim(literal.Value, `"`))] = true
			}
		}
		return true
	})
	return all
}

func TestThePageKnowsWhatFollowsFromACode(t *testing.T) {
	p, all := startPeer(t), codes(t)
	if !all[wire.Draining] || len(all) < 50 {
		t.Fatalf("%d codes found in push/wire, want all of them", len(all))
	}
	source := readFile(t, "refusal.js")
	for code := range all {
		var verdict string
		p.call(&verdict, "judge", string(code))
		if mentioned := strings.Contains(source, `"`+string(code)+`"`); mentioned != (verdict != "retry") {
			t.Errorf("judge(%s) = %s, and refusal.js mentions the code: %v", code, verdict, mentioned)
		}
	}
	for code, want := range map[wire.Code]string{
		wire.BindingRequired: "giveUp", wire.TokenRevoked: "giveUp", wire.SessionRevoked: "signIn", wire.ProofInvalid: "otherKey",
		wire.TokenExpired: "tokenAgain", wire.Draining: "endOfService", wire.Replaced: "retrySlowly", wire.StoreUnavailable: "retry",
	} {
		var got string
		if p.call(&got, "judge", string(code)); got != want {
			t.Errorf("judge(%s) = %s, want %s", code, got, want)
		}
	}
	for _, list := range strings.Split(source, "[")[1:] {
		for i, text := range strings.Split(strings.Split(list, "]")[0], `"`) {
			if i%2 == 1 && !all[wire.Code(text)] {
				t.Errorf("refusal.js has the code %q, and push/wire has not", text)
			}
		}
	}
}

func TestThePageSpreadsItsAttempts(t *testing.T) {
	p := startPeer(t)
	var sums [12]float64
	const rounds = 300
	for range rounds {
		var waits []float64
		p.call(&waits, "backoff", len(sums))
		for i, wait := range waits {
			if ceiling := math.Min(500*math.Pow(2, float64(i)), 60_000); wait < 0 || wait > ceiling {
				t.Fatalf("wait %d is %v ms, want 0 to %v", i, wait, ceiling)
			}
			sums[i] += wait
		}
	}
	for i, sum := range sums {
		// The mean of 300 values that are spread evenly has a standard deviation of a thirtieth of the middle.
		middle := math.Min(500*math.Pow(2, float64(i)), 60_000) / 2
		if mean := sum / rounds; math.Abs(mean-middle) > middle/5.5 {
			t.Errorf("waits %d have the mean %v ms, want about %v", i, mean, middle)
		}
	}
}
