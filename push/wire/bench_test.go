package wire

import "testing"

// A message of 1 KiB, as it goes to a terminal.
func BenchmarkEncodeMessage(b *testing.B) {
	m := &Message{
		ID: "0123456789abcdef", Seq: 123456, To: "token", Time: 1772366400123, Expires: 1774958400123,
		Data: make([]byte, 1024), ContentType: "application/json",
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Encode(m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeAck(b *testing.B) {
	ack := []byte(`{"type":"ack","seq":[123456]}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeClient(ack); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkClientProof(b *testing.B) {
	client, server := generate(b), generate(b)
	e := newExchange(client, server)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.ClientProof(client); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyClient(b *testing.B) {
	client, server := generate(b), generate(b)
	e := newExchange(client, server)
	proof, _ := sign(b, e, client, server)
	b.ReportAllocs()
	for b.Loop() {
		if !e.VerifyClient(proof) {
			b.Fatal("VerifyClient = false, want true")
		}
	}
}
