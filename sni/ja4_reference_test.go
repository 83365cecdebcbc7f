package sni

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// referenceJA4 computes the fingerprint of a handshake message that Parse reads. It is written from
// FoxIO's text alone, as a plain list of what that says.
func referenceJA4(message []byte) string {
	b := message[4+2+32:]
	version := fmt.Sprintf("%x", message[4:6])
	_, b = field(b, 1) // session_id
	list, b := field(b, 2)
	suites := withoutGreaseText(list)
	_, b = field(b, 1) // compression_methods
	extensions, _ := field(b, 2)
	var types, hashed, signed []string
	named, protocol := "i", "00"
	for len(extensions) > 0 {
		typ := fmt.Sprintf("%x", extensions[:2])
		var data []byte
		data, extensions = field(extensions[2:], 2)
		if isGreaseText(typ) {
			continue
		}
		types = append(types, typ)
		switch typ {
		case "0000":
			named = "d"
		case "0010":
			list, _ := field(data, 2)
			protocol = referenceProtocol(list)
		case "002b":
			list, _ := field(data, 1)
			version = slices.Max(append(withoutGreaseText(list), ""))
		case "000d":
			if list, _ := field(data, 2); list != nil {
				signed = withoutGreaseText(list)
			}
		}
		if typ != "0000" && typ != "0010" {
			hashed = append(hashed, typ)
		}
	}
	slices.Sort(suites)
	slices.Sort(hashed)
	last := strings.Join(hashed, ",")
	if len(signed) > 0 {
		last += "_" + strings.Join(signed, ",")
	}
	names := map[string]string{
		"0304": "13", "0303": "12", "0302": "11", "0301": "10", "0300": "s3", "0002": "s2",
		"feff": "d1", "fefd": "d2", "fefc": "d3",
	}
	if version = names[version]; version == "" {
		version = "00"
	}
	return fmt.Sprintf("t%s%s%02d%02d%s_%s_%s", version, named, min(len(suites), 99), min(len(types), 99), protocol,
		referenceHash(strings.Join(suites, ",")), referenceHash(last))
}

// field returns what is behind a length of size bytes, and the rest; nil if it is cut short.
func field(b []byte, size int) (data, rest []byte) {
	if len(b) < size {
		return nil, nil
	}
	n := 0
	for _, c := range b[:size] {
		n = n<<8 + int(c)
	}
	if len(b) < size+n {
		return nil, nil
	}
	return b[size : size+n], b[size+n:]
}

func referenceProtocol(list []byte) string {
	for len(list) > 0 {
		var name []byte
		name, list = field(list, 1)
		digits := hex.EncodeToString(name)
		if isGreaseText(digits) {
			continue
		}
		const alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		ends := string(name[:1]) + string(name[len(name)-1:])
		if strings.Trim(ends, alphanumeric) != "" {
			return digits[:1] + digits[len(digits)-1:]
		}
		return ends
	}
	return "00"
}

func withoutGreaseText(list []byte) (all []string) {
	for ; len(list) >= 2; list = list[2:] {
		if s := hex.EncodeToString(list[:2]); !isGreaseText(s) {
			all = append(all, s)
		}
	}
	return all
}

func isGreaseText(digits string) bool {
	return len(digits) == 4 && digits[:2] == digits[2:] && digits[1] == 'a'
}

func referenceHash(text string) string {
	if text == "" {
		return "000000000000"
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:12]
}
