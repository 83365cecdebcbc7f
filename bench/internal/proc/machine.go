package proc

import (
	"fmt"
	"os"
	"strings"

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
