package config

import "testing"

func TestSettingsProblems(t *testing.T) { checkProblems(t, settingsCases) }

func TestStream(t *testing.T) {
	for file, want := range map[string]string{
		"/dev/stdout": "stdout", "/dev/fd/1": "stdout", "/proc/self/fd/1": "stdout", "/proc/thread-self/fd/1": "stdout",
		"/dev/stderr": "stderr", "/dev/./fd//2": "stderr", "/proc/self/fd/2": "stderr", "/dev/null": "off",
		"/dev/fd/3": "", "./stdout": "", "stdout": "", "/var/log/dev/stdout": "",
	} {
		if got := stream(file); got != want {
			t.Errorf("stream(%q) = %q, want %q", file, got, want)
		}
	}
}

func TestSkip(t *testing.T) {
	for text, want := range map[string]bool{"log: {skip: []}": false, "log: {skip: no_bytes}": true, "log: {skip: [no_bytes]}": true} {
		if c := mustParse(t, listenLine+text+"\n"+routesLine); c.Log.SkipNoBytes != want {
			t.Errorf("%s: SkipNoBytes = %v, want %v", text, c.Log.SkipNoBytes, want)
		}
	}
}

var settingsCases = []problemCase{
	{
		"no listen",
		routesLine,
		"1:1: missing key `listen`",
	},
	{
		"no routes",
		listenLine,
		"1:1: missing key `routes`",
	},
	{
		"unknown section",
		listenLine + "zzz: 1\nadmn: 2\n" + routesLine,
		"2:1: unknown key `zzz`, want one of `listen`, `include`, `timeouts`, `limits`, `log`, `resolver`, `backends`, `routes`, `default`, `no_sni`\n" +
			"3:1: unknown key `admn`, want one of `listen`, `include`, `timeouts`, `limits`, `log`, `resolver`, `backends`, `routes`, `default`, `no_sni`",
	},
	{
		"duplicate section",
		listenLine + "log: {level: info}\nlog: {}\n" + routesLine,
		"3:1: duplicate key `log`, first on line 2",
	},
	{
		"misspelt section is not missing too",
		"lisetn: []\n" + routesLine,
		"1:1: unknown key `lisetn`, did you mean `listen`?",
	},
	{
		"admin",
		listenLine + "admin: {address: 127.0.0.1:9180}\n" + routesLine,
		"2:1: `admin`: not supported yet",
	},
	{
		"admin without a value",
		listenLine + "admin:\n" + routesLine,
		"2:1: `admin`: not supported yet",
	},
	{
		"durations",
		listenLine + "timeouts: {hello: 5, connect: 3 sec, idle: 1d, half_close: 0s, drain: 800h}\n" + routesLine,
		"2:19: bad duration \"5\" for `hello`, did you mean \"5s\"?\n" +
			"2:31: bad duration \"3 sec\" for `connect`, did you mean \"3s\"?\n" +
			"2:44: bad duration \"1d\" for `idle`, did you mean \"24h\"?\n" +
			"2:60: `half_close` must be above 0s and at most 720h, got \"0s\"\n" +
			"2:71: `drain` must be above 0s and at most 720h, got \"800h\"",
	},
	{
		"more durations",
		listenLine + "timeouts: {hello: -5s, connect: soon, idle: , half_close: [5s], drain: \"\"}\n" + routesLine,
		"2:19: `hello` must be above 0s and at most 720h, got \"-5s\"\n" +
			"2:33: bad duration \"soon\" for `connect`, write a number and a unit such as 5s, 10m or 1h\n" +
			"2:45: `idle` has no value\n" +
			"2:59: `half_close` must be a single value, got a list\n" +
			"2:72: `drain` is empty",
	},
	{
		"words and milliseconds of HAProxy",
		listenLine + "timeouts: {connect: 5000, keepalive: 60000, client: 50s, server: 50s, tunnel: 1h}\n" + routesLine,
		"2:21: bad duration \"5000\" for `connect`, did you mean \"5s\"?\n" +
			"2:38: `keepalive` must be off or whole seconds from 1s to 9h, got \"60000\", did you mean \"1m\"?\n" +
			"2:45: unknown key `client`: write `idle`, one limit for both directions\n" +
			"2:58: unknown key `server`: write `idle`, one limit for both directions\n" +
			"2:71: unknown key `tunnel`: write `idle`, one limit for both directions",
	},
	{
		"no suggestion that is refused",
		listenLine + "timeouts: {keepalive: 1500}\nlimits: {rate_per_i: 5}\n" + routesLine,
		"2:23: `keepalive` must be off or whole seconds from 1s to 9h, got \"1500\", did you mean \"1500s\"?\n" +
			"3:10: unknown key `rate_per_i`, want one of `connections`, `hello_bytes`, `hello_memory`, `ja4`",
	},
	{
		"unreadable hello_bytes is one problem",
		listenLine + "limits: {hello_bytes: 1k, hello_memory: 2048}\n" + routesLine,
		"2:23: `hello_bytes` must be a whole number from 512 to 1048576, got \"1k\"",
	},
	{
		"keepalive",
		listenLine + "timeouts: {keepalive: 1500ms}\nroutes:\n" +
			"  - {sni: a.example, backend: \"10.0.0.5:443\", keepalive: 0s}\n  - {sni: b.example, backend: \"10.0.0.5:443\", keepalive: 10h}\n" +
			"  - {sni: c.example, backend: \"10.0.0.5:443\", keepalive: 60}\n  - {sni: d.example, backend: \"10.0.0.5:443\", keepalive: OFF}\n" +
			"  - {sni: e.example, backend: \"10.0.0.5:443\", keepalive: none}\n  - {sni: f.example, backend: \"10.0.0.5:443\", keepalive: }\n" +
			"  - {sni: g.example, backend: \"10.0.0.5:443\", keepalive: -1s}\n",
		"2:23: `keepalive` must be off or whole seconds from 1s to 9h, got \"1500ms\"\n" +
			"4:58: `keepalive` must be off or whole seconds from 1s to 9h, got \"0s\"\n" +
			"5:58: `keepalive` must be off or whole seconds from 1s to 9h, got \"10h\"\n" +
			"6:58: `keepalive` must be off or whole seconds from 1s to 9h, got \"60\", did you mean \"60s\"?\n" +
			"7:58: `keepalive` must be off or whole seconds from 1s to 9h, got \"OFF\", did you mean \"off\"?\n" +
			"8:58: `keepalive` must be off or whole seconds from 1s to 9h, got \"none\"\n" +
			"9:58: `keepalive` has no value\n" +
			"10:58: `keepalive` must be off or whole seconds from 1s to 9h, got \"-1s\"",
	},
	{
		"timeouts is a list",
		listenLine + "timeouts: [5s]\n" + routesLine,
		"2:11: `timeouts` must be a mapping such as {hello: 5s}, got a list",
	},
	{
		"timeouts is nothing",
		listenLine + "timeouts:\n" + routesLine,
		"2:10: `timeouts` must be a mapping such as {hello: 5s}, got nothing",
	},
	{
		"unknown and duplicate timeouts",
		listenLine + "timeouts:\n  hello: 5s\n  hello: 6s\n  helo: 5s\n  zzz: 1\n" + routesLine,
		"4:3: duplicate key `hello`, first on line 3\n" +
			"5:3: unknown key `helo`, did you mean `hello`?\n" +
			"6:3: unknown key `zzz`, want one of `hello`, `connect`, `idle`, `half_close`, `keepalive`, `drain`",
	},
	{
		"limits",
		listenLine + "limits: {connections: auot, connections_per_ip: 5, rate_per_ip: 10/s, hello_bytes: 100}\n" + routesLine,
		"2:23: `connections` must be auto or a whole number from 1 to 10000000, got \"auot\"\n" +
			"2:49: `connections_per_ip`: not supported yet\n" +
			"2:65: `rate_per_ip`: not supported yet\n" +
			"2:84: `hello_bytes` must be a whole number from 512 to 1048576, got \"100\"",
	},
	{
		"limits out of range",
		listenLine + "limits: {connections: 0, hello_bytes: 1048577}\n" + routesLine,
		"2:23: `connections` must be auto or a whole number from 1 to 10000000, got \"0\"\n" +
			"2:39: `hello_bytes` must be a whole number from 512 to 1048576, got \"1048577\"",
	},
	{
		"limits are plain numbers",
		listenLine + "limits: {connections: \"5\", hello_bytes: 0x1000}\n" + routesLine,
		"2:23: `connections` must be auto or a whole number from 1 to 10000000, got the quoted text \"5\"\n" +
			"2:41: `hello_bytes` must be a whole number from 512 to 1048576, got \"0x1000\"",
	},
	{
		"octal",
		listenLine + "limits: {connections: 010, hello_bytes: 65_536}\n" + routesLine,
		"2:23: `connections` must be auto or a whole number from 1 to 10000000, got \"010\"\n" +
			"2:41: `hello_bytes` must be a whole number from 512 to 1048576, got \"65_536\"",
	},
	{
		"limits are lists",
		listenLine + "limits: {connections: [auto], connections_per_ip: [0], hello_bytes: {a: 1}}\n" + routesLine,
		"2:23: `connections` must be auto or a whole number from 1 to 10000000, got a list\n" +
			"2:51: `connections_per_ip`: not supported yet\n" +
			"2:69: `hello_bytes` must be a whole number from 512 to 1048576, got a mapping",
	},
	{
		"less memory than one hello takes",
		listenLine + "limits: {hello_memory: 100000, hello_bytes: 100001}\n" + routesLine,
		"2:24: `hello_memory` must be at least `hello_bytes`, 100001, or the largest hello would never fit, got 100000",
	},
	{
		"less memory than a hello of the default size takes",
		listenLine + "limits: {hello_memory: 65535}\n" + routesLine,
		"2:24: `hello_memory` must be at least `hello_bytes`, 65536, or the largest hello would never fit, got 65535",
	},
	{
		"memory out of range",
		listenLine + "limits: {hello_memory: 64M}\n" + routesLine,
		"2:24: `hello_memory` must be a whole number from 512 to 1099511627776, got \"64M\"",
	},
	{
		"unknown limit",
		listenLine + "limits: {connection: 5}\n" + routesLine,
		"2:10: unknown key `connection`, did you mean `connections`?",
	},
	{
		"log words",
		listenLine + "log: {level: warning, format: jsn, access: stdot}\n" + routesLine,
		"2:14: unknown value \"warning\" for `level`, did you mean \"warn\"?\n" +
			"2:31: unknown value \"jsn\" for `format`, did you mean \"json\"?\n" +
			"2:44: unknown value \"stdot\" for `access`, did you mean \"stdout\"?",
	},
	{
		"log words in the wrong case",
		listenLine + "log: {level: INFO, format: xml, access: \"Off\"}\n" + routesLine,
		"2:14: unknown value \"INFO\" for `level`, did you mean \"info\"?\n" +
			"2:28: unknown value \"xml\" for `format`, want one of \"text\", \"json\"\n" +
			"2:41: unknown value \"Off\" for `access`, did you mean \"off\"?",
	},
	{
		"log without values",
		listenLine + "log: {level: , format: [text], access: \"\"}\n" + routesLine,
		"2:14: `level` has no value\n" +
			"2:24: `format` must be a single value, got a list\n" +
			"2:40: `access` is empty",
	},
	{
		"log to a directory",
		listenLine + "log: {access: logs/}\n" + routesLine,
		"2:15: `access` must name a file, \"logs/\" is a directory",
	},
	{
		"log to a zero byte",
		listenLine + "log: {access: \"./a\\0\"}\n" + routesLine,
		"2:15: `access` must name a file, \"./a\\x00\" holds a zero byte",
	},
	{
		"log to a stream by its path",
		listenLine + "log: {access: /dev/stdout}\n" + routesLine,
		"2:15: access \"/dev/stdout\": write stdout",
	},
	{
		"records to skip",
		listenLine + "log: {skip: [no_byte, idle_timeout, no_bytes, no_bytes]}\n" + routesLine,
		"2:14: unknown value \"no_byte\" for `skip`, did you mean \"no_bytes\"?\n" +
			"2:23: unknown value \"idle_timeout\" for `skip`, want \"no_bytes\"\n" +
			"2:47: duplicate reason \"no_bytes\"",
	},
	{
		"records to skip are a mapping",
		listenLine + "log: {skip: {no_bytes: true}}\n" + routesLine,
		"2:13: `skip` must be a list, got a mapping",
	},
	{
		"log is a word",
		listenLine + "log: info\n" + routesLine,
		"2:6: `log` must be a mapping such as {level: info}, got \"info\"",
	},
	{
		"unknown log key",
		listenLine + "log: {acces: off}\n" + routesLine,
		"2:7: unknown key `acces`, did you mean `access`?",
	},
	{
		"keys that are no words",
		listenLine + "log: {\"a`b\": 1, \"a\\nb\": 1}\n" + routesLine,
		"2:7: unknown key `a`b`, want one of `level`, `format`, `access`, `skip`, `ja4`\n" +
			"2:17: unknown key \"a\\nb\", want one of `level`, `format`, `access`, `skip`, `ja4`",
	},
}
