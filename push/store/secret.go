package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const secretSize = 32

// keys are what the secret is used for, each apart.
type keys struct {
	seal  cipher.AEAD // of the key ring
	token []byte      // of message tokens
	check string      // tells one secret from another, and nothing of it
}

func deriveKeys(secret []byte) (keys, error) {
	var k keys
	sealKey, err := hkdf.Key(sha256.New, secret, nil, "keyhole-push.v1 key ring", 32)
	if err != nil {
		return k, fmt.Errorf("secret: %w", err)
	}
	block, err := aes.NewCipher(sealKey)
	if err != nil {
		return k, fmt.Errorf("secret: %w", err)
	}
	if k.seal, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return k, fmt.Errorf("secret: %w", err)
	}
	if k.token, err = hkdf.Key(sha256.New, secret, nil, "keyhole-push.v1 message token", 32); err != nil {
		return k, fmt.Errorf("secret: %w", err)
	}
	check, err := hkdf.Key(sha256.New, secret, nil, "keyhole-push.v1 check", 16)
	k.check = base64.RawURLEncoding.EncodeToString(check)
	return k, err
}

// checkSecret refuses a secret other than the one that the records were made
// with: it would give every terminal another token.
func (s *Store) checkSecret(ctx context.Context) error {
	_, err := s.put(ctx, records, "secret", []byte(s.keys.check), create, 0)
	if !errors.Is(err, ErrExists) {
		return err
	}
	made, err := s.get(ctx, records, "secret")
	if err != nil || string(made.data) == s.keys.check {
		return err
	}
	where := "give all nodes the same secret"
	if s.local != nil {
		where = "put the secret of its back-up into " + filepath.Join(s.cfg.Dir, secretFile)
	}
	return fmt.Errorf("%s was made with another secret: %s", s.place(), where)
}

const secretFile = "secret"

// secretOf reads the secret of a data folder, or makes it.
func secretOf(dir string) ([]byte, error) {
	path := filepath.Join(dir, secretFile)
	secret, err := ReadSecret(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	secret = make([]byte, secretSize)
	rand.Read(secret)
	return secret, writeSecret(path, secret)
}

// ReadSecret returns the 32 bytes that a file holds: as they are, or in base64
// of either alphabet and with or without padding, as
// `head -c 32 /dev/urandom | base64` writes them and the file of a data folder
// has them.
func ReadSecret(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	if len(text) == secretSize {
		return text, nil
	}
	digits := strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(strings.TrimSpace(string(text)), "="))
	secret, err := base64.RawURLEncoding.DecodeString(digits)
	if err != nil || len(secret) != secretSize {
		return nil, fmt.Errorf("secret: %s is not %d bytes, nor as many in base64: put it back from a back-up", path, secretSize)
	}
	return secret, nil
}

// writeSecret never leaves half a secret under path.
func writeSecret(path string, secret []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), secretFile+".*")
	if err != nil {
		return fmt.Errorf("secret: %w", err)
	}
	_, err = fmt.Fprintln(f, base64.StdEncoding.EncodeToString(secret))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("secret: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes the names in dir durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("secret: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
