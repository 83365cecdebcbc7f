package relay

// Reason says how the engine saw a connection end. A session has reasons of
// its own for the connections that it rejects.
type Reason uint8

// The reasons, by the step of a connection's life that they end.
const (
	NoReason         Reason = iota
	Rejected                // the session said so, and knows why
	NoDescriptor            // the process has no descriptor left
	NoResources             // the kernel has no memory, or lets the user watch no more descriptors
	ClientGone              // the client ended before the session had decided
	HelloTimeout            // the first bytes did not suffice in time
	HelloMemory             // unfinished hellos hold too much memory together, and this one is the oldest
	ClientClosed            // both sides ended in order, the client first
	OriginClosed            // the same, the origin first
	ClientReset             // the client reset the connection
	OriginReset             // the origin did
	ClientLost              // the client does not answer any more (keep-alive, or bytes without acknowledgement)
	OriginLost              // the origin does not
	IdleTimeout             // no byte moved
	HalfCloseTimeout        // no byte moved after one side had ended
	Drained                 // open when Shutdown's patience ended
	Killed                  // open at Close
)

var reasonNames = [...]string{
	"none", "rejected", "no descriptor", "no resources", "client gone", "hello timeout", "hello memory",
	"client closed", "origin closed", "client reset", "origin reset", "client lost", "origin lost",
	"idle timeout", "half-close timeout", "drained", "killed",
}

// String is for messages; records have names of their own.
func (r Reason) String() string { return reasonNames[r] }

// Phase is the step that a connection had reached.
type Phase uint8

// The phases, in order.
const (
	PhaseAdmit Phase = iota
	PhaseHello
	PhaseDecide
	PhaseDial
	PhaseRelay
)

var phaseNames = [...]string{"admit", "hello", "decide", "dial", "relay"}

func (p Phase) String() string { return phaseNames[p] }
