package condition

import (
	"fmt"
	"testing"
)

func mustParse(t testing.TB, s string) Condition {
	t.Helper()
	c, err := Parse(s)
	if err != nil {
		t.Fatalf("Parse(%q): %v", s, err)
	}
	return c
}

// phone is what a terminal reports in most of the tests.
var phone = map[string]string{
	"network": "wifi", "foreground": "true", "battery": "80", "app_version": "2.10", "note": "", "city": "São Paulo",
	"a.b-c_1": "x",
}

func TestP5AConditionHoldsForTheStatesItDescribes(t *testing.T) {
	for _, c := range []struct {
		condition string
		want      bool
	}{
		{"", true},
		{"network=wifi", true},
		{"network=WIFI", false},
		{"network=cellular", false},
		{"network!=cellular", true},
		{"network!=wifi", false},
		{"app_version>=2.1", true},
		{"network=wifi,app_version>=2.1", true},
		{"network=wifi,app_version>=3", false},
		{"network=cellular,app_version>=2.1", false},
		{"foreground=true,battery>20,network=wifi", true},
		{"battery<80", false},
		{"battery<=80", true},
		{"battery>80", false},
		{"battery>=80", true},
		{"battery>9", true}, // as a number, not as text
		{"battery=080", false},
		{"battery>=080,battery<=080", true},
		{"network", true},
		{"!network", false},
		{"note", true}, // reported, and empty
		{"!note", false},
		{`note=""`, true},
		{`note!=""`, false},
		{`city="São Paulo"`, true},
		{"a.b-c_1=x", true},
		{"network>=1", false}, // not comparable
		{"network<1", false},
		{"note<1", false},
	} {
		if got := mustParse(t, c.condition).Match(phone); got != c.want {
			t.Errorf("Parse(%q).Match(%v) = %v, want %v", c.condition, phone, got, c.want)
		}
	}
}

// TestP5NothingHoldsForAnUnknownKeyButItsAbsence: of what is not reported nothing is known, so != does not hold either.
func TestP5NothingHoldsForAnUnknownKeyButItsAbsence(t *testing.T) {
	for _, state := range []map[string]string{nil, {"other": "1"}} {
		for _, term := range []string{"k", "k=1", "k!=1", "k<1", "k<=1", "k>1", "k>=1"} {
			if mustParse(t, term).Match(state) {
				t.Errorf("Parse(%q).Match(%v) = true, want false", term, state)
			}
		}
		if !mustParse(t, "!k").Match(state) {
			t.Errorf("Parse(\"!k\").Match(%v) = false, want true", state)
		}
	}
}

func TestP5EveryOperatorFollowsTheOrder(t *testing.T) {
	for _, c := range []struct {
		value, than                    string
		less, lessOrEqual, moreOrEqual bool
	}{
		{"1", "2", true, true, false},
		{"2", "2", false, true, true},
		{"3", "2", false, false, true},
	} {
		for operator, want := range map[string]bool{
			"<": c.less, "<=": c.lessOrEqual, ">": !c.lessOrEqual, ">=": c.moreOrEqual,
		} {
			text := "k" + operator + c.than
			if got := mustParse(t, text).Match(map[string]string{"k": c.value}); got != want {
				t.Errorf("Parse(%q).Match(k=%s) = %v, want %v", text, c.value, got, want)
			}
		}
	}
}

// ascending are texts of which each comes before the next.
var ascending = [][]string{
	{"-12345678901234567890123", "-10", "-2", "0", "7", "10", "+11", "99999999999999999998", "99999999999999999999"},
	{"0.9", "1", "1.0.1", "2.1-alpha", "2.1", "2.9", "2.10", "2.10.1", "10.0"},
	// The order of Semantic Versioning 2.0.0 section 11.4, with its own example.
	{
		"1.0.0-1", "1.0.0-2", "1.0.0-10", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2",
		"1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1-rc1", "1.0.1",
	},
}

func TestCompareOrdersNumbersAndVersions(t *testing.T) {
	for _, list := range ascending {
		for i, a := range list {
			for j, b := range list {
				want := max(-1, min(1, i-j))
				if got, ok := compare(a, b); got != want || !ok {
					t.Errorf("compare(%q, %q) = %d, %v, want %d, true", a, b, got, ok, want)
				}
			}
		}
	}
}

func TestCompareTakesTheseForEqual(t *testing.T) {
	for _, c := range [][2]string{
		{"2.1", "2.1.0"}, {"2", "2.0.0"}, {"2.1-rc1", "2.1.0-rc1"}, {"v2.1", "2.1"}, {"2.1+build.7", "2.1"}, {"2.01", "2.1"},
		{"007", "7"}, {"+7", "7"}, {"-0", "0"}, {"-00", "+0"}, {"1-0", "1.0-00"},
	} {
		for _, pair := range [][2]string{c, {c[1], c[0]}} {
			if got, ok := compare(pair[0], pair[1]); got != 0 || !ok {
				t.Errorf("compare(%q, %q) = %d, %v, want 0, true", pair[0], pair[1], got, ok)
			}
		}
	}
}

func TestCompareRefusesWhatIsNeitherNumberNorVersion(t *testing.T) {
	for _, s := range []string{
		"", "wifi", "v", "-", "+", "1.", ".1", "1..2", "1.x", "1,5", "1-", "1-rc..1", "1-rc_1", "-1.5", " 1", "1 ", "1e3", "0x1", "٣",
	} {
		for _, pair := range [][2]string{{s, "1"}, {"1", s}, {s, s}, {s, "1.0"}} {
			if _, ok := compare(pair[0], pair[1]); ok {
				t.Errorf("compare(%q, %q) = _, true, want false", pair[0], pair[1])
			}
		}
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	state := map[string]string{"network": "wifi", "version": "2.1.0-rc.1+b", "battery": "00080", "big": "123456789012345678901234567890"}
	c := mustParse(t, `network=wifi,network!="a b",version>2.1.0-rc.0,version<=v2.1,battery>=80,big>-5,network,!absent`)
	if !c.Match(state) {
		t.Fatalf("Parse(%q).Match(%v) = false, want true: every term is to be measured", c, state)
	}
	if got := testing.AllocsPerRun(100, func() { c.Match(state) }); got != 0 {
		t.Errorf("Match allocates %v times, want 0", got)
	}
}

func TestTheZeroConditionHoldsForAll(t *testing.T) {
	var zero Condition
	if !zero.IsZero() || zero.String() != "" || !zero.Match(nil) {
		t.Errorf("zero Condition: IsZero %v, String %q, Match %v, want true, \"\", true", zero.IsZero(), zero, zero.Match(nil))
	}
	if c := mustParse(t, "network"); c.IsZero() {
		t.Errorf("Parse(\"network\").IsZero() = true, want false")
	}
}

func BenchmarkMatch(b *testing.B) {
	c := mustParse(b, "network=wifi,foreground=true,app_version>=2.1")
	b.ReportAllocs()
	for b.Loop() {
		if !c.Match(phone) {
			b.Fatal("Match = false, want true")
		}
	}
}

func ExampleParse() {
	c, err := Parse(`network = wifi, app_version >= 2.1`)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c, c.Match(map[string]string{"network": "wifi", "app_version": "2.10"}))
	_, err = Parse("network=wifi and battery>20")
	fmt.Println(err)
	// Output:
	// network=wifi,app_version>=2.1 true
	// condition, column 14: "a" after a term; write a comma between two terms, or quotes around the value
}
