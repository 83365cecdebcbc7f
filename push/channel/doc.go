// Package channel keeps the live connections of one push server and delivers
// to them: what is published now, what was stored while the terminal was away,
// and what had to wait until its state matched.
//
//	r := channel.New(channel.Config{Store: st, Node: "a"})
//	sub, err := st.Subscribe(ctx, r) // every message, in the order of its sequence
//	r.Follow(sub)
//	c, err := r.Register(ctx, attributes, sink) // who is there
//	err = c.Listen(ctx, tokenHash, state)       // deliver to sink from here on
//	err = c.SetState(map[string]string{"network": "wifi"}, nil)
//	err = c.Ack([]uint64{7})
//	c.Close("the terminal has gone")
//
// # Delivery
//
// A channel has three feeds: its token, its app, and its app in its version.
// Of each it knows a position: every message up to there was considered, that
// is sent, held because its condition is false, or passed over because it has
// expired or was acknowledged before. Messages come to a feed in two ways. A
// channel that keeps up takes them from the subscription. One that is behind,
// as each is at first, takes them from the store: it is registered before it
// asks how far the subscription has come, so whatever is published meanwhile is
// in the store up to there or is offered to it afterwards, and what comes both
// ways is known by its position. Being behind is also what happens to a channel
// whose terminal does not acknowledge: at most Window messages are on their
// way, and what comes while they are is read from the store later.
//
// A message stays stored until it is acknowledged, so it is sent at least once,
// and again only on another connection of the terminal; it has the same id each
// time. Messages of one feed go out in their order, except for one that was
// held: that one goes out when a state report makes its condition true.
//
// A channel that has nothing to send has no goroutine, no timer and no buffer.
//
// # What it does not do
//
// It checks no credential and no token: who calls Listen has done so. It
// encodes, encrypts and writes nothing: that is the Sink's. It limits what is
// on this node, and knows of others only what the store tells it.
package channel
