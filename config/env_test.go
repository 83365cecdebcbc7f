package config

import (
	"strings"
	"testing"

	"keyhole/config/strict"
)

// env is an environment for Source.
func env(pairs ...string) func(string) (string, bool) {
	all := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return func(name string) (string, bool) {
		s, ok := all[name]
		return s, ok
	}
}

func TestEnvironment(t *testing.T) {
	s := Source{LookupEnv: env("PORT", "8443", "ORIGIN", "10.0.0.5:443", "HOST", "a.example", "TRIES", "7", "IDLE", "2m",
		"IS_BACKUP", "true", "EMPTY", "", "_x1", "b.example", "WEIGHT", "3")}
	c, err := s.Parse("k.yaml", []byte(`
listen: [{address: ":${PORT}"}]
timeouts: {idle: "${IDLE}", drain: "${EMPTY}5${EMPTY}s"}
log: {access: "/var/log/$${X}/$${${HOST}}.$HOST.log"}
backends:
  shop:
    retries: ${TRIES}
    servers:
      - ${ORIGIN}
      - {address: "10.0.0.6:${PORT}", weight: "${WEIGHT}", backup: "${IS_BACKUP}"}
routes:
  - sni: ["${HOST}", '*.${HOST}', "${_x1}"]
    backend: shop
`))
	if err != nil {
		t.Fatal(err)
	}
	b := c.Backends[0]
	for _, got := range []struct{ what, is, want string }{
		{"the listener", c.Listen[0].Address, ":8443"},
		{"timeouts.idle", c.Timeouts.Idle.String(), "2m0s"},
		{"timeouts.drain", c.Timeouts.Drain.String(), "5s"},
		{"log.access", c.Log.Access, "/var/log/${X}/${a.example}.$HOST.log"},
		{"the first server", b.Servers[0].Address, "10.0.0.5:443"},
		{"the second server", b.Servers[1].Address, "10.0.0.6:8443"},
		{"sni", strings.Join(c.Routes[0].SNI, " "), "a.example *.a.example b.example"},
	} {
		if got.is != got.want {
			t.Errorf("%s is %q, want %q", got.what, got.is, got.want)
		}
	}
	if b.Retries != 7 || b.Servers[1].Weight != 3 || b.Servers[1].Backup != 1 {
		t.Errorf("retries, weight and backup are %d, %d and %d, want 7, 3 and 1", b.Retries, b.Servers[1].Weight, b.Servers[1].Backup)
	}
}

// What a variable holds stays one value: none of these texts adds a key, an element or a type.
func TestEnvironmentInjectsNothing(t *testing.T) {
	for _, text := range []string{"10.0.0.5:443, 10.0.0.6:443", "[10.0.0.5:443]", "{address: 10.0.0.5:443}", "*x", "~", "null",
		"10.0.0.5:443\nroutes: []", "${ORIGIN}", "!!int 5", "# x"} {
		s := Source{LookupEnv: env("ORIGIN", text)}
		c, err := s.Parse("k.yaml", []byte(listenLine+"backends: {shop: {servers: [\"${ORIGIN}\"]}}\n"+routesLine))
		problems, ok := err.(Problems)
		if !ok || len(problems) != 1 || problems[0].Line != 2 || problems[0].Col != 29 {
			t.Errorf("with ORIGIN=%q Parse = %+v, %v, want one problem at 2:29", text, c, err)
		}
		if err != nil && strings.Contains(err.Error(), strict.Quote(text)) && text != "${ORIGIN}" {
			t.Errorf("with ORIGIN=%q Parse = %v, want a message that names the variable instead", text, err)
		}
	}
}

func TestEnvironmentProblems(t *testing.T) {
	const remedy = "; set it for `check` and `run` alike, or write $${ for the text ${"
	lookUp := env("BAD", "x y", "PORT", "443", "NAME", "Shop", "ONE", "a.example")
	for _, c := range []problemCase{
		{
			"not set",
			listenLine + "log: {access: \"${LOGS}\"}\nbackends:\n  a: {servers: [\"${A}:${PORT}\", \"10.0.0.1:${B}\"], retries: \"${C}\", balance: \"${D}\"}\nroutes:\n  - {sni: \"${E}\", backend: \"${F}\"}\n",
			"2:15: the environment has no variable LOGS" + remedy + "\n" +
				"4:17: the environment has no variable A" + remedy + "\n" +
				"4:33: the environment has no variable B" + remedy + "\n" +
				"4:60: the environment has no variable C" + remedy + "\n" +
				"4:77: the environment has no variable D" + remedy + "\n" +
				"6:11: the environment has no variable E" + remedy + "\n" +
				"6:28: the environment has no variable F" + remedy,
		},
		{
			"no variable",
			listenLine + "log: {access: \"${\", level: \"${}\", format: \"${A B}\"}\ntimeouts: {hello: \"${HELLO:-5s}\", idle: \"${1}\", drain: \"x${PORT\"}\n" + routesLine,
			"2:15: ${ has no }, write ${NAME} for a variable of the environment, or $${ for the text ${\n" +
				"2:28: \"${}\" is no variable, its name may hold only letters, digits and underscores; write $${ for the text ${\n" +
				"2:43: \"${A B}\" is no variable, its name may hold only letters, digits and underscores; write $${ for the text ${\n" +
				"3:19: \"${HELLO:-5s}\": a variable has no default here, write ${HELLO} and set it in the environment\n" +
				"3:41: \"${1}\" is no variable, its name may hold only letters, digits and underscores; write $${ for the text ${\n" +
				"3:56: ${ has no }, write ${NAME} for a variable of the environment, or $${ for the text ${",
		},
		{
			"shown by name",
			listenLine + "timeouts: {hello: \"${BAD}\"}\nlog: {level: \"${BAD}\"}\nlimits: {connections: \"${BAD}\"}\nbackends: {a: {servers: [\"${BAD}:${PORT}\"], balance: \"${BAD}\"}}\nroutes:\n  - {sni: \"${BAD}.example\", backend: a}\n  - {sni: \"${ONE}\", backend: \"${NAME}\"}\n",
			"2:19: bad duration \"${BAD}\" for `hello`, write a number and a unit such as 5s, 10m or 1h\n" +
				"3:14: unknown value \"${BAD}\" for `level`, want one of \"debug\", \"info\", \"warn\", \"error\"\n" +
				"4:23: `connections` must be auto or a whole number from 1 to 10000000, got \"${BAD}\"\n" +
				"5:26: server \"${BAD}:${PORT}\": host name has a character that no host name has\n" +
				"5:54: unknown value \"${BAD}\" for `balance`, want one of \"round_robin\", \"least_connections\", \"random_two\", \"client_hash\"\n" +
				"7:11: sni: pattern \"${BAD}.example\": name has a character that no host name has: labels are letters, digits, - and _\n" +
				"8:30: unknown backend \"${NAME}\"",
		},
		{
			"a key is no value",
			listenLine + "backends: {\"${NAME}\": {servers: [10.0.0.1:443]}}\n" + routesLine,
			"2:12: backend name \"${NAME}\" may hold only letters, digits, dots, underscores and hyphens",
		},
		{
			"without quotes in brackets",
			listenLine + "backends: {a: {servers: [${ORIGIN}]}}\n" + routesLine,
			"2:25: a value with ${NAME} must be quoted inside [ ] and { }",
		},
		{
			"without quotes in braces",
			"listen:\n  - {address: \":443\"}\n  - {address: :${PORT}}\n" + routesLine,
			"3:15: a value with ${NAME} must be quoted inside [ ] and { }",
		},
		{
			"without quotes in the middle of a long list",
			listenLine + "backends:\n  a:\n    servers: [\n      10.0.0.1:443,\n      \"${ONE}:443\",\n      http-${ONE}:443,\n    ]\n" + routesLine,
			"7:7: a value with ${NAME} must be quoted inside [ ] and { }",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Source{LookupEnv: lookUp}.Parse("k.yaml", []byte(c.text))
			if err == nil {
				t.Fatalf("Parse(%q) = nil error, want\n%s", c.text, c.want)
			}
			if got := strings.ReplaceAll("\n"+err.Error(), "\nk.yaml:", "\n")[1:]; got != c.want {
				t.Errorf("Parse(%q) =\n%s\nwant\n%s", c.text, got, c.want)
			}
		})
	}
}

// One pattern of two variables is one problem, which shows them by name.
func TestEnvironmentConflict(t *testing.T) {
	s := Source{LookupEnv: env("A", "a.example", "B", "A.Example")}
	_, err := s.Parse("k.yaml", []byte(listenLine+"routes:\n  - {sni: \"${A}\", backend: \"10.0.0.5:443\"}\n  - {sni: \"${B}\", backend: \"10.0.0.6:443\"}\n"))
	if want := `k.yaml:4:11: "a.example" is already routed on line 3 (written as "${B}")`; err == nil || err.Error() != want {
		t.Errorf("Parse = %v, want %s", err, want)
	}
}
