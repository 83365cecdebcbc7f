package e2e

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// refusals has the test binary run another program with a system call refused: "NUMBER ERRNO".
const refusals = "KEYHOLE_E2E_REFUSE"

// refusing is the command that runs the edge with a system call answered by an error.
func refusing(t *testing.T, call uintptr, e unix.Errno) []string {
	t.Helper()
	needRoot(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{"env", fmt.Sprintf("%s=%d %d", refusals, call, uint(e)), self}
}

// runRefused installs the filter that the environment asks for, and becomes the program of the
// arguments. It returns only if it cannot.
func runRefused(asked string) error {
	var call, answer uint32
	if _, err := fmt.Sscan(asked, &call, &answer); err != nil {
		return err
	}
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of struct seccomp_data
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: call},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | answer},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	runtime.LockOSThread() // the filter is the thread's, and the program's that it becomes
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&filter)))
	if e != 0 {
		return fmt.Errorf("seccomp: %w", e)
	}
	os.Unsetenv(refusals)
	return syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
}

// Where splice is refused (gVisor, seccomp, odd file systems), bytes are copied: all arrive, both
// ways, and the log says so once.
func TestSpliceIsRefused(t *testing.T) {
	for _, e := range []unix.Errno{unix.EPERM, unix.EINVAL, unix.ENOSYS, unix.ENOMEM} {
		t.Run(unix.ErrnoName(e), func(t *testing.T) {
			t.Parallel()
			o := testkit.NewOrigin(t)
			o.Echo()
			edge := planFor(t, plan{through: refusing(t, unix.SYS_SPLICE, e), routes: route("bulk.test", o.Address())})
			const rounds = 12 // 48 MiB each way
			c := testkit.Dial(t, edge.address)
			exchange(c, helloFor(t, "bulk.test"))
			failed := make(chan error, 1)
			go func() {
				for i := range rounds {
					if _, err := c.Write(numbered(i)); err != nil {
						failed <- err
						return
					}
				}
				failed <- nil
			}()
			got := make([]byte, len(shared.blob))
			for i := range rounds {
				if n, err := io.ReadFull(c, got); err != nil {
					t.Fatalf("round %d: %d bytes came back: %v", i, n, err)
				}
				if hexSum(got) != hexSum(numbered(i)) {
					t.Fatalf("round %d: other bytes came back than were sent", i)
				}
			}
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
			c.Close()
			edge.only(t, "bulk.test", "client_closed")
			if n := strings.Count(edge.Printed(), "splice is refused here"); n != 1 {
				t.Errorf("splice was complained of %d times, want once:\n%s", n, edge.Printed())
			}
		})
	}
}

// numbered is the blob with a number at its beginning.
func numbered(i int) []byte {
	b := []byte(string(shared.blob))
	binary.BigEndian.PutUint32(b, uint32(i))
	return b
}

// Connections that the kernel refuses to hand over wait. The edge looks again each tick, and says
// so once.
func TestAcceptIsRefused(t *testing.T) {
	for _, e := range []unix.Errno{unix.ENOMEM, unix.ENOBUFS, unix.EPERM} {
		t.Run(unix.ErrnoName(e), func(t *testing.T) {
			t.Parallel()
			edge := planFor(t, plan{through: refusing(t, unix.SYS_ACCEPT4, e), routes: route("a.test", "192.0.2.1:443")})
			for range 20 {
				testkit.Dial(t, edge.address).SendBytes(helloFor(t, "a.test"))
			}
			edge.Expect(t, "the kernel refuses to accept connections")
			begin, before := time.Now(), edge.cpuTime(t)
			<-time.After(2 * time.Second)
			used, passed := edge.cpuTime(t)-before, time.Since(begin)
			t.Logf("%s of CPU in %s", used, passed)
			if used > passed/4 {
				t.Errorf("the edge used %s of CPU in %s, want next to nothing", used, passed)
			}
			if n := strings.Count(edge.Printed(), "the kernel refuses to accept connections"); n != 1 {
				t.Errorf("accept was complained of %d times, want once:\n%s", n, edge.Printed())
			}
		})
	}
}

// cpuTime is what the edge has used so far.
func (e *edge) cpuTime(t testing.TB) time.Duration {
	t.Helper()
	stat := readProc(t, e.proc("stat"))
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:]) // from the third field on
	var ticks int
	for _, f := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	const hertz = 100 // of the kernel's interface, everywhere
	return time.Duration(ticks) * time.Second / hertz
}

// Were the filter not there, the tests above would test nothing.
func TestRefusalsAreThere(t *testing.T) {
	args := append(refusing(t, unix.SYS_UNAME, unix.ENOMEM), "/bin/uname")
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Cannot allocate memory") {
		t.Errorf("uname without the call: %v, want a failure for ENOMEM: %s", err, out)
	}
}
