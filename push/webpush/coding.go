package webpush

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Sizes of the content coding "aes128gcm", in bytes (RFC 8188 section 2).
const (
	saltSize   = 16
	fixedSize  = saltSize + 4 + 1 // salt, record size, length of the key id
	tagSize    = 16
	minRecord  = tagSize + 2 // a delimiter and one byte: smaller ones are invalid
	usedRecord = 4096        // what senders write, and larger where the one record is
)

// Delimiters between content and padding (RFC 8188 section 2).
const (
	delimiter     = 1
	lastDelimiter = 2
)

// ErrDecrypt is wrapped where a body is well formed, and was not encrypted for this key and secret, or was changed.
var ErrDecrypt = errors.New("not encrypted for this key, or changed on the way")

// header is what a body begins with.
type header struct {
	salt, keyID []byte
	recordSize  uint32
}

// parseHeader returns the header and the records after it.
func parseHeader(body []byte) (header, []byte, error) {
	if len(body) < fixedSize {
		return header{}, nil, fmt.Errorf("body of %d bytes ends in its header of %d or more", len(body), fixedSize)
	}
	h := header{salt: body[:saltSize], recordSize: binary.BigEndian.Uint32(body[saltSize:])}
	end := fixedSize + int(body[fixedSize-1])
	switch {
	case len(body) < end:
		return header{}, nil, fmt.Errorf("body of %d bytes ends in its header of %d", len(body), end)
	case h.recordSize < minRecord:
		return header{}, nil, fmt.Errorf("record size is %d, want %d or more", h.recordSize, minRecord)
	}
	h.keyID = body[fixedSize:end]
	return h, body[end:], nil
}

func (h header) append(b []byte) []byte {
	b = append(b, h.salt...)
	b = binary.BigEndian.AppendUint32(b, h.recordSize)
	b = append(b, byte(len(h.keyID)))
	return append(b, h.keyID...)
}

// A coder seals and opens the records of one body.
type coder struct {
	aead  cipher.AEAD
	nonce [12]byte
}

// newCoder derives the content key and nonce from the input keying material (RFC 8188 sections 2.2 and 2.3).
func newCoder(ikm, salt []byte) (*coder, error) {
	prk, err := hkdf.Extract(sha256.New, ikm, salt)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Expand(sha256.New, prk, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Expand(sha256.New, prk, "Content-Encoding: nonce\x00", len(coder{}.nonce))
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	c := &coder{nonce: [12]byte(nonce)}
	c.aead, err = cipher.NewGCM(block)
	return c, err
}

// nonceOf is the nonce of one record; its number counts from 0. A body has fewer than 2^32, so that the first 4 bytes
// of the nonce never change.
func (c *coder) nonceOf(record uint32) []byte {
	nonce := c.nonce
	tail := nonce[8:]
	binary.BigEndian.PutUint32(tail, binary.BigEndian.Uint32(tail)^record)
	return nonce[:]
}

// open returns the content of every record. A body cut off between two records is refused: the last of them says that
// it is.
func (c *coder) open(records []byte, size uint32) ([]byte, error) {
	if len(records) == 0 {
		return nil, errors.New("body ends before its first record")
	}
	content := make([]byte, 0, len(records))
	for number := uint32(0); len(records) > 0; number++ {
		record := records[:min(uint64(len(records)), uint64(size))]
		records = records[len(record):]
		start := len(content)
		var err error
		if content, err = c.aead.Open(content, c.nonceOf(number), record, nil); err != nil {
			return nil, fmt.Errorf("record %d: %w", number, ErrDecrypt)
		}
		end, err := unpad(content[start:], len(records) == 0)
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", number, err)
		}
		content = content[:start+end]
	}
	return content, nil
}

// unpad returns the length of the content, without the delimiter and the zeros after it.
func unpad(record []byte, last bool) (int, error) {
	end := len(record) - 1
	for end >= 0 && record[end] == 0 {
		end--
	}
	switch {
	case end < 0:
		return 0, errors.New("no delimiter in front of the padding")
	case last && record[end] == delimiter:
		return 0, errors.New("last record says that more follow: the body is cut off")
	case !last && record[end] == lastDelimiter:
		return 0, errors.New("bytes after the record that says it is the last")
	case record[end] > lastDelimiter:
		return 0, fmt.Errorf("delimiter is %d, want %d or %d", record[end], delimiter, lastDelimiter)
	}
	return end, nil
}
