package sni_test

import (
	"encoding/hex"
	"fmt"
	"strings"

	"keyhole/sni"
)

// A hello that arrives in two segments.
func ExampleParser() {
	hello, _ := hex.DecodeString(strings.Join([]string{
		"1603010058", "01000054", "0303" + strings.Repeat("00", 32), "00", "0002c02f", "0100", // up to extensions
		"0029", "00000015001300001073686f702e6578616d706c652e636f6d", // server_name
		"001000050003026832", "002b0003020304", // ALPN, supported_versions
	}, ""))

	var p sni.Parser
	for _, received := range [][]byte{hello[:60], hello} {
		h, err := p.Parse(received)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Printf("%s %q %#x\n", h.ServerName, h.ALPN.Strings(), h.Versions.Max())
	}
	// Output:
	// ClientHello is not complete
	// shop.example.com ["h2"] 0x304
}
