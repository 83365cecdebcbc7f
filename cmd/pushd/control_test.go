package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"keyhole/push/config"
)

// Over an external store nothing locks the folder but the socket itself.
func TestControlSocketOfAnotherIsKept(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, controlSocket))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n := &node{config: &config.Config{Data: dir}}
	if err := n.listenControl(); err == nil || !strings.Contains(err.Error(), "another pushd runs on the data folder "+dir) {
		t.Errorf("listenControl beside another = %v, want an error that names the folder", err)
	}
	if conn, err := net.Dial("unix", filepath.Join(dir, controlSocket)); err != nil {
		t.Errorf("afterwards the other's socket: %v, want that it answers", err)
	} else {
		conn.Close()
	}
}
