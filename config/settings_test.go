package config

import "testing"

func TestSettingsProblems(t *testing.T) { checkProblems(t, settingsCases) }

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
		"2:1: unknown key `zzz`, want one of `listen`, `admin`, `timeouts`, `limits`, `log`, `backends`, `routes`, `default`\n" +
			"3:1: unknown key `admn`, did you mean `admin`?",
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
			"6:3: unknown key `zzz`, want one of `hello`, `connect`, `idle`, `half_close`, `drain`",
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
		"2:7: unknown key `a`b`, want one of `level`, `format`, `access`\n" +
			"2:17: unknown key \"a\\nb\", want one of `level`, `format`, `access`",
	},
}
