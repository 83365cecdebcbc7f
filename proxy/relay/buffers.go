package relay

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// readSize is the loop's one shared buffer: what a small read can move,
	// and the most that one direction can hold in user memory.
	readSize = 64 << 10
	// pipeSize is asked for each pipe. 64 KiB pipes cost 1.6 times as much
	// per byte.
	pipeSize = 1 << 20
	// maxPipes is the default bound of a loop's pipes, lent or free; a
	// direction that finds none copies instead.
	maxPipes  = 32
	freePipes = 8
	freeBytes = 1 << 20 // kept in free blocks by each loop
)

// A block holds bytes that were read and could not be written yet, or the
// beginning of a hello.
type block struct {
	buf      []byte
	off, end int  // buf[off:end] is waiting
	mapped   bool // buf is not the heap's

	owner        *Conn  // of an unfinished hello
	older, newer *block // in the list of those
}

func (b *block) bytes() []byte { return b.buf[b.off:b.end] }

// blockSizes are the classes that are pooled; a larger block is for a hello
// limit above 64 KiB.
var blockSizes = [...]int{4 << 10, 16 << 10, readSize}

// blocks is a loop's pool of blocks.
type blocks struct {
	free [len(blockSizes)][]*block
	kept int // bytes in free
	lent int // bytes in blocks that are out
}

func (p *blocks) get(size int) *block {
	for i, s := range blockSizes {
		if size > s {
			continue
		}
		p.lent += s
		if n := len(p.free[i]); n > 0 {
			b := p.free[i][n-1]
			p.free[i] = p.free[i][:n-1]
			p.kept -= s
			return b
		}
		return newBlock(s)
	}
	p.lent += size
	return newBlock(size)
}

func (p *blocks) put(b *block) {
	p.lent -= len(b.buf)
	b.off, b.end = 0, 0
	for i, s := range blockSizes {
		if len(b.buf) == s && p.kept+s <= freeBytes {
			p.free[i] = append(p.free[i], b)
			p.kept += s
			return
		}
	}
	b.unmap()
}

func (p *blocks) closeAll() {
	for i, free := range p.free {
		for _, b := range free {
			b.unmap()
		}
		p.free[i] = nil
	}
	p.kept = 0
}

// newBlock takes a block's bytes from the kernel, where unmap gives them back.
// Clients decide how many blocks there are: on the heap, the memory of a flood
// would stay with the process until the collector had scavenged it. The bytes
// come from the heap after all when the kernel allows the process no further
// mapping (vm.max_map_count).
func newBlock(size int) *block {
	at, _, e := unix.RawSyscall6(unix.SYS_MMAP, 0, uintptr(size),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uintptr(0), 0)
	if e != 0 {
		return &block{buf: make([]byte, size)}
	}
	// Reading the address through a pointer tells vet that it is not the heap's.
	return &block{buf: unsafe.Slice(*(**byte)(unsafe.Pointer(&at)), size), mapped: true}
}

func (b *block) unmap() {
	if b.mapped {
		unix.RawSyscall(unix.SYS_MUNMAP, uintptr(unsafe.Pointer(unsafe.SliceData(b.buf))), uintptr(len(b.buf)), 0)
	}
	b.buf = nil
}

// hold copies waiting bytes into a block, one piece behind the other.
func (p *blocks) hold(waiting ...[]byte) *block {
	size := 0
	for _, w := range waiting {
		size += len(w)
	}
	b := p.get(size)
	for _, w := range waiting {
		b.end += copy(b.buf[b.end:], w)
	}
	return b
}

// grow returns a larger block with b's bytes; b is the caller's to put back.
func (p *blocks) grow(b *block) *block {
	size := 2 * len(b.buf)
	for _, s := range blockSizes {
		if s > len(b.buf) {
			size = s
			break
		}
	}
	g := p.get(size)
	g.end = copy(g.buf, b.bytes())
	return g
}

// A pipe carries spliced bytes from socket to socket inside the kernel.
type pipe struct {
	r, w   int32
	size   int
	queued int // bytes inside
}

// pipes is a loop's pool of pipes.
type pipes struct {
	free  []*pipe
	open  int
	most  int  // that may be open
	never bool // splice cannot work on this machine
}

// get lends a pipe, or returns nil when there is none to be had.
func (p *pipes) get() *pipe {
	if p.never {
		return nil
	}
	if n := len(p.free); n > 0 {
		x := p.free[n-1]
		p.free = p.free[:n-1]
		return x
	}
	if p.open >= p.most {
		return nil
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC) != nil {
		return nil
	}
	p.open++
	x := &pipe{r: int32(fds[0]), w: int32(fds[1]), size: 64 << 10}
	// Refused past fs.pipe-user-pages-soft: a smaller pipe still works, at more CPU per byte.
	if n, err := unix.FcntlInt(uintptr(x.w), unix.F_SETPIPE_SZ, pipeSize); err == nil {
		x.size = n
	}
	return x
}

// put takes a pipe back. One with bytes inside would give them to the next
// borrower, so it is closed.
func (p *pipes) put(x *pipe) {
	if x.queued == 0 && len(p.free) < freePipes {
		p.free = append(p.free, x)
		return
	}
	sysClose(x.r)
	sysClose(x.w)
	p.open--
}

func (p *pipes) closeAll() {
	for _, x := range p.free {
		sysClose(x.r)
		sysClose(x.w)
		p.open--
	}
	p.free = nil
}
