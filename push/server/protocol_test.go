package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"keyhole/push/keys"
	"keyhole/push/wire"
)

// protocolDoc is docs/push-protocol.md, whose promises are tested here.
func protocolDoc(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "push-protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// chapter is the text from a heading to the next of its level or above.
func chapter(t *testing.T, text, heading string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, "\n"+heading+"\n")
	if !found {
		t.Fatalf("docs/push-protocol.md has no %q", heading)
	}
	level := len(heading) - len(strings.TrimLeft(heading, "#"))
	if end := regexp.MustCompile(fmt.Sprintf(`(?m)^#{1,%d} `, level)).FindStringIndex(rest); end != nil {
		rest = rest[:end[0]]
	}
	return rest
}

// rows are the cells of a text's table rows, but for headings.
func rows(text string) (all [][]string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		all = append(all, cells)
	}
	return all
}

// quoted is what a cell has between backticks, "" if that is not all of it.
func quoted(cell string) string {
	inner, ok := strings.CutPrefix(cell, "`")
	if inner, ends := strings.CutSuffix(inner, "`"); ok && ends {
		return inner
	}
	return ""
}

// A documented frame is one section of the document.
type documentedFrame struct {
	fields   map[string]bool // by name, those under another with a dot; whether it is always there
	examples []string
}

var jsonBlock = regexp.MustCompile("(?s)```json\n(.*?)\n```")

func documentedFrames(t *testing.T, text, heading string) map[string]documentedFrame {
	t.Helper()
	frames := map[string]documentedFrame{}
	for _, section := range strings.Split(chapter(t, text, heading), "\n### ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		f := documentedFrame{fields: map[string]bool{}}
		for _, row := range rows(text) {
			if field := quoted(row[0]); field != "" {
				f.fields[field] = strings.HasPrefix(row[2], "always")
			}
		}
		for _, m := range jsonBlock.FindAllStringSubmatch(text, -1) {
			f.examples = append(f.examples, m[1])
		}
		frames[name] = f
	}
	return frames
}

// The frames of package wire, by what Kind returns in its source.
func kindsOfWire(t *testing.T) map[string]bool {
	t.Helper()
	kinds := map[string]bool{}
	for _, file := range parseWire(t) {
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Name.Name != "Kind" || f.Recv == nil {
				continue
			}
			literal := f.Body.List[0].(*ast.ReturnStmt).Results[0].(*ast.BasicLit)
			kind, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			kinds[kind] = true
		}
	}
	return kinds
}

// The codes of package wire.
func codesOfWire(t *testing.T) []string {
	t.Helper()
	var codes []string
	for _, file := range parseWire(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if of, ok := v.Type.(*ast.Ident); ok && of.Name == "Code" {
				code, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				codes = append(codes, code)
			}
			return true
		})
	}
	slices.Sort(codes)
	return codes
}

func parseWire(t *testing.T) (files []*ast.File) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("..", "wire", "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("source of package wire: %v, %v", names, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

// fieldsOf are the names of a struct's fields in JSON, those of structs in it
// with a dot, and whether each is always written.
func fieldsOf(of reflect.Type, under string) map[string]bool {
	all := map[string]bool{}
	for f := range of.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		all[under+name] = !strings.Contains(options, "omitempty")
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			for name, always := range fieldsOf(inner, under+name+".") {
				all[name] = always && inner == f.Type
			}
		}
	}
	return all
}

func TestDocumentedFrames(t *testing.T) {
	text := protocolDoc(t)
	undocumented := kindsOfWire(t)
	for _, side := range []struct {
		heading string
		decode  func([]byte) (wire.Frame, error)
		server  bool
	}{
		{"## The frames of a terminal", wire.DecodeClient, false},
		{"## The frames of the server", wire.DecodeServer, true},
	} {
		for name, doc := range documentedFrames(t, text, side.heading) {
			if !undocumented[name] {
				t.Errorf("frame %s is documented, and there is none", name)
			}
			delete(undocumented, name)
			if len(doc.examples) == 0 {
				t.Errorf("frame %s has no example", name)
			}
			for _, example := range doc.examples {
				f, err := side.decode([]byte(example))
				if err != nil || f.Kind() != name {
					t.Errorf("example of %s: %v, %v\n%s", name, f, err, example)
					continue
				}
				wantSameFields(t, f, example)
				wantFields(t, name, doc.fields, fieldsOf(reflect.TypeOf(f).Elem(), ""), side.server)
			}
		}
	}
	if len(undocumented) > 0 {
		t.Errorf("frames without a section: %v", slices.Sorted(maps.Keys(undocumented)))
	}
}

// wantSameFields wants an example to come out as it went in.
func wantSameFields(t *testing.T, f wire.Frame, example string) {
	t.Helper()
	again, err := wire.Encode(f)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := anyJSON(t, again), anyJSON(t, []byte(example)); !reflect.DeepEqual(got, want) {
		t.Errorf("example of %s comes out as\n%s, want\n%s", f.Kind(), again, example)
	}
}

func anyJSON(t *testing.T, b []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// wantFields compares a table with a struct. What a terminal may leave out is
// the server's to say, frame by frame; what the server leaves out is in the
// struct's tags, and those under an optional field are in the field's.
func wantFields(t *testing.T, frame string, documented, there map[string]bool, server bool) {
	t.Helper()
	if got, want := slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(there)); !slices.Equal(got, want) {
		t.Errorf("fields of %s are documented as %v, want %v", frame, got, want)
	}
	for name, always := range there {
		if server && documented[name] != always {
			t.Errorf("field %s of %s: always there is documented as %t, want %t", name, frame, documented[name], always)
		}
	}
}

// Every code is in one of the three places, with what the program does.
func TestDocumentedCodes(t *testing.T) {
	errorsChapter := chapter(t, protocolDoc(t), "## Errors")
	var documented []string
	for _, row := range rows(errorsChapter) {
		code := quoted(row[0])
		switch {
		case code == "":
		case len(row) == 4: // the server's
			documented = append(documented, code)
			how, known := frameRefusals[wire.Code(code)]
			if want := map[bool]string{true: "yes", false: "no"}[how.status != 0]; !known || row[1] != want {
				t.Errorf("code %s: fatal is documented as %q, want %q (known to the server: %t)", code, row[1], want, known)
			}
		default: // the terminal's
			documented = append(documented, code)
			if _, known := frameRefusals[wire.Code(code)]; known {
				t.Errorf("code %s is documented as found by the terminal, and the server sends it", code)
			}
		}
	}
	_, requests, _ := strings.Cut(errorsChapter, "And these belong to requests")
	for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(requests, -1) {
		documented = append(documented, m[1])
		if _, known := refusals[wire.Code(m[1])]; !known {
			t.Errorf("code %s is documented as of requests, and none is answered with it", m[1])
		}
	}
	slices.Sort(documented)
	if want := codesOfWire(t); !slices.Equal(documented, want) {
		t.Errorf("codes documented:\n%v, want\n%v", documented, want)
	}
}

// The statuses of closes are in the text, and nowhere else.
func TestDocumentedCloseStatuses(t *testing.T) {
	text := strings.Join(strings.Fields(chapter(t, protocolDoc(t), "## The connection")), " ")
	for code, how := range frameRefusals {
		named := regexp.MustCompile(fmt.Sprintf("%d for [^0-9]*`%s`", how.status, code)).MatchString(text)
		if other := how.status != 0 && how.status != 1008; named != other {
			t.Errorf("close status %d of %s: documented by name is %t, want %t", how.status, code, named, other)
		}
	}
}

func TestDocumentedLimits(t *testing.T) {
	l := Limits{}.withDefaults()
	want := map[string]int{
		"limits.frame_bytes": l.FrameBytes, "limits.payload_bytes": l.PayloadBytes, "limits.state_keys": l.StateKeys, "limits.window": l.Window,
	}
	for _, row := range rows(chapter(t, protocolDoc(t), "## Limits")) {
		n, known := want[quoted(row[2])]
		if digits := strings.ReplaceAll(strings.Fields(row[1] + " .")[0], ",", ""); known && digits != strconv.Itoa(n) {
			t.Errorf("%s is documented as %s, want %d", row[2], row[1], n)
		}
		delete(want, quoted(row[2]))
	}
	if len(want) > 0 {
		t.Errorf("limits without a row: %v", want)
	}
}

// The bytes that are signed, made here from the document's words alone, have the
// digests that the document gives, and are what package wire checks.
func TestV5DocumentedSignatures(t *testing.T) {
	given := map[string]string{}
	for _, row := range rows(chapter(t, protocolDoc(t), "### To check an implementation")) {
		context, _, _ := strings.Cut(strings.TrimPrefix(row[0], "`"), "`")
		given[context] = quoted(row[1])
	}
	client, server, next := scalars(1, 2), scalars(3, 4), scalars(5, 6)
	x := wire.Exchange{
		Offered: []string{"keyhole-push.v1"}, Supported: []string{"keyhole-push.v1"}, Version: "keyhole-push.v1",
		ClientToken: count(0, 32), ServerToken: count(32, 32), User: "ann", Device: "phone-1", App: "mail", AppVersion: "2.1",
		Session: "SESSION", Client: client.Public(), Server: server.Public(), Binding: "tls-exporter", Exporter: count(64, 32),
	}
	one := append([]byte{0, 0, 0, 15}, "keyhole-push.v1"...)
	transcript := [][]byte{
		one, one, []byte("keyhole-push.v1"), count(0, 32), count(32, 32), []byte("ann"), []byte("phone-1"), []byte("mail"), []byte("2.1"),
		[]byte("SESSION"), client.Public().Bytes(), server.Public().Bytes(), []byte("tls-exporter"), count(64, 32),
	}
	renewal := [][]byte{
		[]byte("SESSION"), next.Public().Bytes(), binary.BigEndian.AppendUint64(nil, 21600000), {0, 0, 0, 0, 0, 0, 0, 1}, count(0, 16),
	}
	sign := func(scalar byte, context string, parts ...[]byte) []byte {
		digest := sha256.Sum256(message(context, parts))
		if got := hex.EncodeToString(digest[:]); given[context] != got {
			t.Errorf("digest of %q is documented as %q, want %q", context, given[context], got)
		}
		return signBy(t, scalar, digest)
	}
	if proof := sign(1, "keyhole-push.v1 client confirmation", transcript...); !x.VerifyClient(proof) {
		t.Error("the client's proof by the document is not accepted")
	}
	if proof := sign(3, "keyhole-push.v1 server confirmation", append(transcript, count(96, 64))...); !x.VerifyServer(proof, count(96, 64)) {
		t.Error("the server's proof by the document is not accepted")
	}
	tag := sha256.Sum256(message("keyhole-push.v1 binding", [][]byte{count(0, 32), count(32, 32), count(64, 32)}))
	if got := hex.EncodeToString(tag[:]); given["keyhole-push.v1 binding"] != got || !bytes.Equal(tag[:], x.BindingTag()) {
		t.Errorf("binding tag is documented as %q, want %q, and %x by the program", given["keyhole-push.v1 binding"], got, x.BindingTag())
	}
	oldSig, newSig := sign(1, "keyhole-push.v1 renewal old", renewal...), sign(5, "keyhole-push.v1 renewal new", renewal...)
	if !keys.VerifyRenewal(client.Public(), next.Public(), "SESSION", 21600000, 1, count(0, 16), oldSig, newSig) {
		t.Error("a renewal by the document is not accepted")
	}
	if !server.Public().VerifyServerKey(next.Public(), sign(3, "keyhole-push.v1 server key", next.Public().Bytes())) {
		t.Error("a server key by the document is not accepted")
	}
	for text, key := range map[string]*keys.Private{"client key": client, "server key": server, "new client key": next} {
		if !strings.Contains(protocolDoc(t), "| "+text+" | ") || !strings.Contains(protocolDoc(t), "`"+key.Public().KID().String()+"` |") {
			t.Errorf("id of the %s is not documented as %s", text, key.Public().KID())
		}
	}
}

// message is what is signed, by the section "What is signed".
func message(context string, parts [][]byte) []byte {
	b := append([]byte(context), 0)
	for _, p := range parts {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(p))), p...)
	}
	return b
}

func signBy(t *testing.T, scalar byte, digest [32]byte) []byte {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), append(make([]byte, 31), scalar))
	if err != nil {
		t.Fatal(err)
	}
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signature
}

func scalars(sign, seal byte) *keys.Private {
	b := make([]byte, 64)
	b[31], b[63] = sign, seal
	k, err := keys.ParsePrivate(b)
	if err != nil {
		panic(err)
	}
	return k
}

// count is n bytes, from and up.
func count(from byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = from + byte(i)
	}
	return b
}
