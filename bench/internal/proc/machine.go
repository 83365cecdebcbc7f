package proc

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Machine is the processor's and the kernel's name.
func Machine() string {
	cpu := "an unnamed processor"
	info, err := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); err == nil && ok && strings.TrimSpace(key) == "model name" {
			cpu = strings.TrimSpace(value)
			break
		}
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return cpu
	}
	return fmt.Sprintf("%s, Linux %s", cpu, unix.ByteSliceToString(uts.Release[:]))
}

// RaiseDescriptors raises the limit of this process, and of those it starts, to the highest there
// is; it is an error when that is less than need.
func RaiseDescriptors(need int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	if limit.Max < uint64(need) {
		return fmt.Errorf("descriptor limit is %d, want %d: raise it with ulimit -Hn", limit.Max, need)
	}
	// Not unix.Setrlimit: this one also keeps the runtime from giving children the limit it found
	// at its start.
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("setrlimit: %w", err)
	}
	return nil
}

// FreeAddr is an address of 127.0.0.1 without a listener.
func FreeAddr() (netip.AddrPort, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort(), nil
}
