package store

import (
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"
)

// natsLog passes the embedded server's warnings and errors on. The rest says on
// each start that it starts, which is of no use to an operator of pushd.
type natsLog struct {
	log    *slog.Logger
	failed func(error) // told of the errors of writes
}

func (l natsLog) Warnf(format string, v ...any)  { l.log.Warn("store: " + fmt.Sprintf(format, v...)) }
func (l natsLog) Fatalf(format string, v ...any) { l.log.Error("store: " + fmt.Sprintf(format, v...)) }
func (l natsLog) Noticef(string, ...any)         {}
func (l natsLog) Debugf(string, ...any)          {}
func (l natsLog) Tracef(string, ...any)          {}

func (l natsLog) Errorf(format string, v ...any) {
	l.log.Error("store: " + fmt.Sprintf(format, v...))
	for _, arg := range v {
		if err, ok := arg.(error); ok && writeFailed(err) {
			l.failed(err)
		}
	}
}

// handlers log what happens to a connection.
func handlers(log *slog.Logger) []nats.Option {
	return []nats.Option{
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("store: disconnected", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("store: connected again", "server", nc.ConnectedServerName())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("store: connection", "error", err)
		}),
	}
}
