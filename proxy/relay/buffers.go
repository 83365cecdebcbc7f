package relay

import "golang.org/x/sys/unix"

const (
	// readSize is the loop's one shared buffer: what a small read can move,
	// and the most that one direction can hold in user memory.
	readSize = 64 << 10
	// pipeSize is asked for each pipe. 64 KiB pipes cost 1.6 times as much
	// per byte.
	pipeSize = 1 << 20
	// maxPipes bounds a loop's pipes, lent or free; a direction that finds
	// none copies instead.
	maxPipes  = 32
	freePipes = 8
	freeBytes = 1 << 20 // kept in free blocks by each loop
)

// A block holds bytes that were read and could not be written yet, or the
// beginning of a hello.
type block struct {
	buf      []byte
	off, end int // buf[off:end] is waiting
}

func (b *block) bytes() []byte { return b.buf[b.off:b.end] }

// blockSizes are the classes that are pooled; a larger block (a hello limit
// above 64 KiB) is left to the garbage collector.
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
		return &block{buf: make([]byte, s)}
	}
	p.lent += size
	return &block{buf: make([]byte, size)}
}

func (p *blocks) put(b *block) {
	p.lent -= len(b.buf)
	b.off, b.end = 0, 0
	for i, s := range blockSizes {
		if len(b.buf) == s && p.kept+s <= freeBytes {
			p.free[i] = append(p.free[i], b)
			p.kept += s
		}
	}
}

// hold copies waiting bytes into a block.
func (p *blocks) hold(waiting []byte) *block {
	b := p.get(len(waiting))
	b.end = copy(b.buf, waiting)
	return b
}

// grow moves b's bytes into a larger block when it is full.
func (p *blocks) grow(b *block) *block {
	if b.end < len(b.buf) {
		return b
	}
	size := 2 * len(b.buf)
	for _, s := range blockSizes {
		if s > len(b.buf) {
			size = s
			break
		}
	}
	g := p.get(size)
	g.end = copy(g.buf, b.bytes())
	p.put(b)
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
	free []*pipe
	open int
}

// get lends a pipe, or returns nil when there is none to be had.
func (p *pipes) get() *pipe {
	if n := len(p.free); n > 0 {
		x := p.free[n-1]
		p.free = p.free[:n-1]
		return x
	}
	if p.open >= maxPipes {
		return nil
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC) != nil {
		return nil
	}
	p.open++
	x := &pipe{r: int32(fds[0]), w: int32(fds[1]), size: 64 << 10}
	// Refused past fs.pipe-user-pages-soft: a smaller pipe works as well, slower.
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
