package config

import (
	"strings"
	"testing"
)

func TestSyntaxProblems(t *testing.T) { checkProblems(t, syntaxCases) }

func TestUnreadableText(t *testing.T) {
	checkProblems(t, []problemCase{
		{"UTF-16", "\xff\xfel\x00i\x00", "1:1: the file is UTF-16, save it as UTF-8"},
		{"big-endian UTF-16", "\xfe\xff\x00l\x00i", "1:1: the file is UTF-16, save it as UTF-8"},
		{"Latin-1", listenLine + "# é: \xe9\n" + routesLine, "2:6: byte 0xe9 is not UTF-8, save the file as UTF-8"},
		{"control character", listenLine + "log: \x07\n" + routesLine, "2:6: character U+0007 is not allowed in YAML"},
		{"C1 control character", listenLine + "log: \u0080\n" + routesLine, "2:6: character U+0080 is not allowed in YAML"},
		{"byte order mark inside", listenLine + "\ufeff" + routesLine, "2:1: character U+FEFF is not allowed in YAML"},
	})
}

func TestByteOrderMark(t *testing.T) { mustParse(t, "\ufeff"+listenLine+routesLine) }

func TestWindowsLineEnds(t *testing.T) {
	mustParse(t, strings.ReplaceAll(listenLine+routesLine, "\n", "\r\n"))
}

var syntaxCases = []problemCase{
	{
		"empty",
		"",
		"1:1: the configuration is empty, want at least `listen` and `routes`",
	},
	{
		"only a comment",
		"# c\n",
		"1:1: the configuration is empty, want at least `listen` and `routes`",
	},
	{
		"empty document",
		"---\n",
		"2:1: the configuration is empty, want at least `listen` and `routes`",
	},
	{
		"scalar",
		"5",
		"1:1: the configuration must be a mapping with `listen` and `routes`, got \"5\"",
	},
	{
		"list",
		"[a]",
		"1:1: the configuration must be a mapping with `listen` and `routes`, got a list",
	},
	{
		"second document",
		listenLine + "routes: [{sni: a.example, backend: \"10.0.0.5:443\"}]\n---\na: 1\n",
		`3:1: a second YAML document, want one in a file`,
	},
	{
		"second document empty",
		listenLine + "routes: [{sni: a.example, backend: \"10.0.0.5:443\"}]\n...\n---\n",
		`4:1: a second YAML document, want one in a file`,
	},
	{
		"byte order mark does not move columns",
		"\ufeffx: 1\nlisten: [{address: \":443\"}]\n" + routesLine,
		"1:1: unknown key `x`, want one of `listen`, `include`, `timeouts`, `limits`, `log`, `resolver`, `backends`, `routes`, `default`, `no_sni`",
	},
	{
		"unclosed brace",
		listenLine + "routes:\n  - {sni: a.example, backend: b\n  - {sni: c, backend: d}\n",
		`3:3: YAML syntax: did not find expected ',' or '}'`,
	},
	{
		"unclosed quote",
		listenLine + "timeouts: {hello: \"5s}\n" + routesLine,
		`2:1: YAML syntax: did not find expected ',' or '}'`,
	},
	{
		"unclosed on the first line",
		"listen: [\n",
		`2:1: YAML syntax: did not find expected node content`,
	},
	{
		"wrong indentation",
		listenLine + "timeouts:\n  hello: 5s\n connect: 3s\n" + routesLine,
		`4:2: YAML syntax: did not find expected key; is this line indented as its neighbours are?`,
	},
	{
		"wrong indentation below comments",
		"# c\n# d\nlisten: [{address: \":443\"}]\nbackends:\n  shop:\n    servers: [10.0.0.5:443]\n   retries: 2\n" + routesLine,
		`7:4: YAML syntax: did not find expected key; is this line indented as its neighbours are?`,
	},
	{
		"wrong indentation in a list",
		listenLine + "routes:\n  - {sni: a.example, backend: b}\n  sni: c.example\n",
		`4:3: YAML syntax: did not find expected '-' indicator; is this line indented as its neighbours are?`,
	},
	{
		"tab",
		listenLine + "timeouts:\n\thello: 5s\n" + routesLine,
		`3:1: a tab in the indentation, YAML wants spaces`,
	},
	{
		"tab after spaces",
		"listen:\n  - address: \":443\"\n\t  protocol: tls\n" + routesLine,
		`3:1: a tab in the indentation, YAML wants spaces`,
	},
	{
		"two keys on a line",
		listenLine + "timeouts: hello: 5s\n" + routesLine,
		`2:1: YAML syntax: mapping values are not allowed in this context; a value with a colon is quoted`,
	},
	{
		"at sign",
		listenLine + "timeouts: @x\n" + routesLine,
		`2:11: a value that begins with @ must be quoted, did you mean "@x"?`,
	},
	{
		"at sign in a list",
		listenLine + "routes:\n  - {sni: [\"@a\"], backend: b, allow: [10.0.0.0/8, @cdn.txt]}\n",
		`3:51: a value that begins with @ must be quoted, did you mean "@cdn.txt"?`,
	},
	{
		"percent sign below others",
		listenLine + "routes:\n  - sni:\n    - a\n    - %x\n",
		`5:7: a value that begins with % must be quoted, did you mean "%x"?`,
	},
	{
		"pattern without quotes and without a space before",
		listenLine + "routes: [{\"sni\":*.example.com, 'backend':b}]\n",
		`2:17: a value that begins with * must be quoted, did you mean "*.example.com"?`,
	},
	{
		"unknown alias",
		listenLine + "timeouts: *x\n" + routesLine,
		`2:11: YAML aliases are not supported, write the value out`,
	},
	{
		"unknown alias below a comment",
		"# *x\n" + listenLine + "log: {access: \"*x\", level: *x}\n" + routesLine,
		`3:28: YAML aliases are not supported, write the value out`,
	},
	{
		"pattern without quotes",
		listenLine + "routes:\n  - sni: *.example.com\n    backend: 10.0.0.5:443\n",
		`3:10: a value that begins with * must be quoted, did you mean "*.example.com"?`,
	},
	{
		"pattern without quotes in braces",
		listenLine + "routes:\n  - {sni: **.example.com, backend: 10.0.0.5:443}\n",
		`3:11: a value that begins with * must be quoted, did you mean "**.example.com"?`,
	},
	{
		"pattern without quotes in a list",
		listenLine + "routes:\n  - {sni: [*.a.example, b.example], backend: 10.0.0.5:443}\n",
		`3:12: a value that begins with * must be quoted, did you mean "*.a.example"?`,
	},
	{
		"pattern without quotes below others",
		listenLine + "routes:\n  - sni:\n      - b.example # *.c\n      - *bücher.example\n    backend: 10.0.0.5:443\n",
		`5:9: a value that begins with * must be quoted, did you mean "*bücher.example"?`,
	},
	{
		"pattern without quotes after one with",
		listenLine + "routes:\n  - {sni: \"*.é, \\\" *.y\", alpn: '*.x '' *.z', backend: **}\n",
		`3:55: a value that begins with * must be quoted, did you mean "**"?`,
	},
	{
		"pattern without quotes as a key",
		listenLine + "backends: {a: &b {}, *.example.com: 1}\n" + routesLine,
		`2:22: a value that begins with * must be quoted, did you mean "*.example.com"?`,
	},
	{
		"star without quotes on the first line",
		"listen: [{address: *:443}]\n" + routesLine,
		`1:20: "*:443" is no address, write ":443" for every address`,
	},
	{
		"star alone",
		listenLine + "routes: [{sni: *, backend: 10.0.0.5:443}]\n",
		`2:16: a value that begins with * must be quoted, did you mean "*"?`,
	},
	{
		"ampersand",
		listenLine + "log: {access: &.log}\n" + routesLine,
		`2:15: a value that begins with & must be quoted, did you mean "&.log"?`,
	},
	{
		"anchor and alias",
		listenLine + "timeouts: &x {hello: 5s}\nlog: *x\n" + routesLine,
		"2:11: YAML anchors are not supported, write the value out where it is used\n" +
			"3:6: YAML aliases are not supported, write the value out",
	},
	{
		"merge key",
		listenLine + "timeouts: {<<: {a: 1}, hello: 5s}\n" + routesLine,
		`2:12: YAML merge keys are not supported, write the keys out`,
	},
	{
		"merged backends",
		listenLine + "backends: {<<: {a: {servers: [10.0.0.5:443]}}}\n" + routesLine,
		`2:12: YAML merge keys are not supported, write the keys out`,
	},
	{
		"tag",
		listenLine + "timeouts: {hello: !!str 5s}\nlimits: {hello_bytes: !!int 65536}\n" + routesLine,
		"2:19: YAML tags are not supported, leave out \"!!str\"\n" +
			"3:23: YAML tags are not supported, leave out \"!!int\"",
	},
	{
		"key that is no word",
		listenLine + "timeouts: {[a]: 1, {b: 1}: 1}\n" + routesLine,
		"2:12: a key must be a word, got a list\n" +
			"2:20: a key must be a word, got a mapping",
	},
	{
		"alias as a key",
		listenLine + "timeouts: {hello: &x 5s, *x : 1}\n" + routesLine,
		"2:19: YAML anchors are not supported, write the value out where it is used\n" +
			"2:26: YAML aliases are not supported, write the value out",
	},
	{
		"alias bomb",
		"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
		"1:1: unknown key `a`, want one of `listen`, `include`, `timeouts`, `limits`, `log`, `resolver`, `backends`, `routes`, `default`, `no_sni`\n" +
			"1:1: missing key `listen`\n" +
			"1:1: missing key `routes`\n" +
			"1:4: YAML anchors are not supported, write the value out where it is used\n" +
			"2:1: unknown key `b`, want one of `listen`, `include`, `timeouts`, `limits`, `log`, `resolver`, `backends`, `routes`, `default`, `no_sni`\n" +
			"2:4: YAML anchors are not supported, write the value out where it is used\n" +
			"2:8: YAML aliases are not supported, write the value out\n" +
			"2:12: YAML aliases are not supported, write the value out\n" +
			"3:1: unknown key `c`, want one of `listen`, `include`, `timeouts`, `limits`, `log`, `resolver`, `backends`, `routes`, `default`, `no_sni`\n" +
			"3:5: YAML aliases are not supported, write the value out\n" +
			"3:9: YAML aliases are not supported, write the value out",
	},
	{
		"alias of itself",
		"listen: &a [*a]\n" + routesLine,
		"1:9: YAML anchors are not supported, write the value out where it is used\n" +
			"1:13: YAML aliases are not supported, write the value out",
	},
}
