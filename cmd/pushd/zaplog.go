package main

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// zapLogger returns a logger for certmagic, which speaks zap, that writes to
// log. A level is lowered by one: what certmagic calls information is how it
// goes about it, step by step.
func zapLogger(log *slog.Logger) *zap.Logger { return zap.New(&slogCore{log: log}) }

// A slogCore hands the entries of zap to slog.
type slogCore struct{ log *slog.Logger }

func level(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l >= zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

func (c *slogCore) Enabled(l zapcore.Level) bool {
	return c.log.Enabled(context.Background(), level(l))
}

func (c *slogCore) With(fields []zapcore.Field) zapcore.Core {
	return &slogCore{c.log.With(attributes(fields)...)}
}

func (c *slogCore) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

func (c *slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	c.log.With("part", e.LoggerName).Log(context.Background(), level(e.Level), e.Message, attributes(fields)...)
	return nil
}

func (c *slogCore) Sync() error { return nil }

func attributes(fields []zapcore.Field) (all []any) {
	m := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(m)
	}
	for k, v := range m.Fields {
		all = append(all, slog.Any(k, v))
	}
	return all
}
