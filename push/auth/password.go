package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// maxPassword is in bytes: nobody types more, and hashing is paid for by the
// byte.
const maxPassword = 1024

// A phc is a password as it is stored: the parameters and the result of
// Argon2id (RFC 9106).
type phc struct {
	memory  uint32 // KiB
	time    uint32 // passes
	threads uint8
	salt    []byte
	hash    []byte
}

// standard are the parameters of new hashes: the second of those that OWASP's
// password storage cheat sheet recommends, since the first takes 46 MiB for
// every attempt.
var standard = phc{memory: 19 << 10, time: 2, threads: 1}

const (
	saltBytes = 16
	hashBytes = 32
)

// HashPassword returns the PHC string of a password, for store.User: Argon2id
// with 19 MiB and two passes.
func HashPassword(pw string) (string, error) {
	if err := checkPassword(pw); err != nil {
		return "", err
	}
	p := standard
	p.salt = make([]byte, saltBytes)
	rand.Read(p.salt)
	p.hash = argon2.IDKey([]byte(pw), p.salt, p.time, p.memory, p.threads, hashBytes)
	return p.String(), nil
}

func checkPassword(pw string) error {
	if pw == "" {
		return errors.New("password is empty")
	}
	if len(pw) > maxPassword {
		return fmt.Errorf("password has %d bytes, want at most %d", len(pw), maxPassword)
	}
	return nil
}

func (p phc) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, p.memory, p.time, p.threads, b64.EncodeToString(p.salt), b64.EncodeToString(p.hash))
}

// parsePHC reads what HashPassword wrote, or another tool with parameters
// within bounds that no login can hurt the server with.
func parsePHC(s string) (p phc, err error) {
	part := strings.Split(s, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" || part[2] != "v="+strconv.Itoa(argon2.Version) {
		return p, errors.New("password hash is not $argon2id$v=19$..., set the password anew")
	}
	b64 := base64.RawStdEncoding
	_, err = fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &p.memory, &p.time, &p.threads)
	if err == nil {
		p.salt, err = b64.DecodeString(part[4])
	}
	if err == nil {
		p.hash, err = b64.DecodeString(part[5])
	}
	if err != nil || p.String() != s { // Sscanf and base64 let more pass than was written
		return p, errors.New("password hash is damaged, set the password anew")
	}
	if p.memory < 8 || p.memory > 256<<10 || p.time < 1 || p.time > 16 || p.threads < 1 || p.threads > 16 ||
		len(p.salt) < 8 || len(p.salt) > 64 || len(p.hash) < 16 || len(p.hash) > 64 {
		return p, errors.New("password hash has parameters out of bounds, set the password anew")
	}
	return p, nil
}

// kdf is argon2.IDKey, or one that counts.
type kdf func(password, salt []byte, time, memory uint32, threads uint8, keyLen uint32) []byte

// matches runs the function once, whatever the outcome.
func (p phc) matches(run kdf, pw string) bool {
	got := run([]byte(pw), p.salt, p.time, p.memory, p.threads, uint32(len(p.hash)))
	return subtle.ConstantTimeCompare(got, p.hash) == 1
}
