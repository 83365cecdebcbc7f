package server

import (
	"fmt"
	"mime"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"keyhole/push/webpush"
	"keyhole/push/wire"
)

// Limits of a publication's fields, in bytes.
const (
	maxName        = 128 // of an app; as of a login's
	maxVersion     = 64
	maxTopic       = 32 // RFC 8030 section 5.4
	maxID          = 64
	maxContentType = 128
)

// urgencies are those of RFC 8030 section 5.3.
var urgencies = []string{"very-low", "low", "normal", "high"}

// checkAddress wants a token, or an app and a version of it.
func checkAddress(q *publishRequest) error {
	switch {
	case q.Token == "" && q.App == "":
		return fmt.Errorf("%w: there is neither token nor app, want one of them", wire.BadRequest)
	case q.Token != "" && (q.App != "" || q.Version != ""):
		return fmt.Errorf("%w: there are both token and app or version, want token alone, or app and version", wire.BadRequest)
	case q.Token != "":
		return nil
	case q.Version == "":
		return fmt.Errorf(`%w: version is missing; "*" is every version`, wire.BadRequest)
	}
	if err := checkText("app", q.App, maxName); err != nil {
		return err
	}
	return checkText("version", q.Version, maxVersion)
}

func checkData(q *publishRequest) error {
	if (q.Data == nil) == (q.Text == nil) {
		return fmt.Errorf("%w: want one of data (base64) and text", wire.BadRequest)
	}
	return nil
}

// checkHeaders checks what goes along with the data.
func checkHeaders(q *publishRequest) error {
	switch {
	case len(q.Topic) > maxTopic || strings.ContainsFunc(q.Topic, notBase64URL):
		return fmt.Errorf("%w: topic is %.40q, want at most %d letters, digits, - and _", wire.BadRequest, q.Topic, maxTopic)
	case q.Urgency != "" && !slices.Contains(urgencies, q.Urgency):
		return fmt.Errorf("%w: urgency is %.40q, want one of %s", wire.BadRequest, q.Urgency, strings.Join(urgencies, ", "))
	case q.ContentEncoding != "" && q.ContentEncoding != webpush.Aes128gcm:
		return fmt.Errorf("%w: content_encoding is %.40q, want none or %s", wire.BadRequest, q.ContentEncoding, webpush.Aes128gcm)
	case len(q.ID) > maxID || strings.ContainsFunc(q.ID, func(r rune) bool { return r != '.' && notBase64URL(r) }):
		return fmt.Errorf("%w: id is %.70q, want at most %d letters, digits, dots, - and _", wire.BadRequest, q.ID, maxID)
	case q.ContentType == "":
		return nil
	}
	if err := checkText("content_type", q.ContentType, maxContentType); err != nil {
		return err
	}
	if _, _, err := mime.ParseMediaType(q.ContentType); err != nil {
		return fmt.Errorf("%w: content_type is %.80q, want a media type as text/plain", wire.BadRequest, q.ContentType)
	}
	return nil
}

// checkText wants 1 to limit bytes of printable UTF-8.
func checkText(what, text string, limit int) error {
	switch {
	case text == "" || len(text) > limit:
		return fmt.Errorf("%w: %s has %d bytes, want 1 to %d", wire.BadRequest, what, len(text), limit)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("%w: %s is %.80q, want printable characters alone", wire.BadRequest, what, text)
	}
	return nil
}

func notBase64URL(r rune) bool {
	return (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
}
