package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// document is the table under what one must know to read it: the command, the machine, the versions.
func (b *bench) document(args []string) string {
	var names, versions []string
	for _, k := range b.proxies {
		names = append(names, k.name)
		versions = append(versions, "- "+k.printVersion())
	}
	command := strings.Join(append([]string{"go run ./bench"}, args...), " ")
	return fmt.Sprintf("Printed by `%s` on %s; proxy on core %d, load and origin on core %d, rounds: %d.%s\n\n%s\n\n%s",
		command, machine(), b.cores.proxy, b.cores.load, b.plan.rounds, b.quietness(),
		strings.Join(versions, "\n"), b.results.table(metrics(b.plan), names))
}

// quietness says what round trips take with no proxy between: a p99 of milliseconds there means that something else
// had the cores, and that the figures are of that.
func (b *bench) quietness() string {
	if len(b.direct) == 0 {
		return ""
	}
	var p50, p99 []float64
	for _, d := range b.direct {
		p50, p99 = append(p50, micros(d.p50)), append(p99, micros(d.p99))
	}
	return fmt.Sprintf(" Without a proxy, round trips at half load take %s µs (p50) and %s µs (p99).",
		number(median(p50)), number(median(p99)))
}

// machine is the processor's and the kernel's name.
func machine() string {
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
