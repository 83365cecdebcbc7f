package store

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// fullMessage has something of its own, and odd, in every field.
func fullMessage(t *testing.T) Message {
	t.Helper()
	m := Message{}
	v := reflect.ValueOf(&m).Elem()
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		switch f.Interface().(type) {
		case string:
			f.SetString(" " + name + "\r\nNats-TTL: 1s\r\n\"ü*.>\x00 ")
		case []byte:
			f.SetBytes([]byte("\x00\xff\r\n" + name))
		case time.Time:
			f.Set(reflect.ValueOf(time.Now().UTC().Truncate(time.Millisecond).Add(time.Duration(i) * time.Hour)))
		case uint64:
		default:
			t.Fatalf("field %s has a type that this test does not know", name)
		}
	}
	return m
}

func TestT3AMessageIsStoredWithAllThatItHas(t *testing.T) {
	s := open(t, Config{})
	toToken, toApp, toAll := fullMessage(t), fullMessage(t), fullMessage(t)
	toToken.Token, toToken.App, toToken.Version = hash(1), "", ""
	toApp.Token, toApp.ID = "", "another"
	toAll.Token, toAll.Version, toAll.ID = "", EveryVersion, "a third"
	for _, m := range []Message{toToken, toApp, toAll} {
		m.Seq = publish(t, s, m)
		got, err := s.Message(t.Context(), m.Seq)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("Message = %+v, %v\nwant %+v", got, err, m)
		}
		found, err := s.Backlog(t.Context(), m.target(), 0, m.Seq, 10)
		if err != nil || len(found) != 1 || !reflect.DeepEqual(found[0], m) {
			t.Errorf("Backlog = %+v, %v\nwant %+v", found, err, m)
		}
	}
}

func TestSubjectsAreHashes(t *testing.T) {
	for _, odd := range []string{"*", ">", "a.b", "", " ", "\r\n", strings.Repeat("x", 5000)} {
		for _, m := range []Message{
			{ID: odd, Token: odd + "x", Topic: odd},
			{ID: odd, App: odd, Version: odd + "1", Topic: odd},
			{ID: odd, App: odd, Version: EveryVersion, Publisher: odd},
		} {
			subject := m.Subject()
			if strings.ContainsAny(subject, "*> \r\n") || len(subject) > 100 || strings.Contains(subject, "..") {
				t.Errorf("Subject of %.20q = %.120q, want hashes", odd, subject)
			}
			if got, want := targetOf(subject), m.target(); got != want {
				t.Errorf("targetOf(%q) = %q, want %q", subject, got, want)
			}
		}
	}
}

func TestT2SubjectsOfDifferentTargetsDiffer(t *testing.T) {
	seen := map[string]Message{}
	for _, m := range []Message{
		{ID: "1", Token: hash(1)}, {ID: "1", Token: hash(2)}, {ID: "2", Token: hash(1)}, {ID: "1", Publisher: "p", Token: hash(1)},
		{ID: "p1", Token: hash(1)}, {ID: "1", Topic: "1", Token: hash(1)}, {ID: "1", Topic: "2", Token: hash(1)},
		{ID: "1", App: "a", Version: "1"}, {ID: "1", App: "a", Version: "*"}, {ID: "1", App: "a", Version: "all"}, {ID: "1", App: "b", Version: "1"},
		{ID: "1", App: "a1", Version: ""}, {ID: "1", App: "", Version: "a1"},
	} {
		if other, ok := seen[m.Subject()]; ok {
			t.Errorf("%+v and %+v have one subject", m, other)
		}
		seen[m.Subject()] = m
	}
}

func TestTheSumCoversWhatAPublisherSays(t *testing.T) {
	apart := map[string]bool{"ID": true, "Publisher": true, "Seq": true, "Published": true, "Expires": true} // the id itself, and what is new each time
	m := fullMessage(t)
	for i := range reflect.TypeFor[Message]().NumField() {
		name := reflect.TypeFor[Message]().Field(i).Name
		other := m
		switch f := reflect.ValueOf(&other).Elem().Field(i).Addr().Interface().(type) {
		case *string:
			*f += "x"
		case *[]byte:
			*f = append([]byte("x"), *f...)
		case *time.Time:
			*f = f.Add(time.Hour)
		case *uint64:
			*f++
		}
		if changed := other.sum() != m.sum(); changed == apart[name] {
			t.Errorf("sum() after a change of %s changed = %t, want %t", name, changed, !apart[name])
		}
	}
}

func TestTTLHeader(t *testing.T) {
	for _, c := range []struct {
		ttl  time.Duration
		want string
	}{{-time.Hour, "1s"}, {0, "1s"}, {time.Nanosecond, "1s"}, {time.Second, "1s"}, {1001 * time.Millisecond, "2s"}, {time.Hour, "3600s"}, {24 * time.Hour, ""}, {48 * time.Hour, ""}} {
		m := Message{ID: "1", Token: hash(1), Expires: noon.Add(c.ttl)}
		msg, err := m.encode(noon, 24*time.Hour)
		if got := msg.Header.Get(jetstream.MsgTTLHeader); err != nil || got != c.want {
			t.Errorf("TTL of a message that expires in %s = %q, %v, want %q", c.ttl, got, err, c.want)
		}
		if m.Expires.After(noon.Add(24 * time.Hour)) {
			t.Errorf("Expires of a message that expires in %s is after the retention", c.ttl)
		}
	}
}

func TestAppSubjects(t *testing.T) {
	got := AppSubjects("mail", "2.1")
	if len(got) != 2 || got[0] == got[1] || got[1] != AppSubjects("mail", "3")[1] || got[0] == AppSubjects("mail", "3")[0] {
		t.Errorf("AppSubjects(mail, 2.1) = %q, want that version's and every version's", got)
	}
	for _, filter := range got {
		if !strings.HasSuffix(filter, ".>") || !isApp(filter) {
			t.Errorf("AppSubjects has %q, want a filter below m.a", filter)
		}
	}
}

func ExampleTokenFilter() {
	fmt.Println(TokenFilter(TokenHash("a token")))
	// Output: m.t.4zFuK6_rthA6NBjod4wK3JYNQCE6A6fn9PzTQm7YB78.>
}
