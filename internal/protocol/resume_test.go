package protocol_test

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/protocol/protocoltest"
	"github.com/mailgrant/mailgrant/internal/testbed"
)

// A server that was spoken to is not asked for another signature, but where its
// certificate is to be looked at, and where somebody else is to have issued it.
func TestDial_ResumesTLSSessions(t *testing.T) {
	t.Parallel()
	ca, other := testbed.NewCA(t), testbed.NewCA(t)
	certificate, key := ca.ServerPEM(t)
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	resumed := make(chan bool, 1)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s := tls.Server(conn, config)
			if s.Handshake() == nil {
				resumed <- s.ConnectionState().DidResume
				_, _ = s.Write([]byte("* OK\r\n"))
			}
			_ = s.Close()
		}
	}()
	var d protocol.Dialer
	at := protocol.Endpoint{Protocol: protocol.IMAP, Host: "localhost", Port: ln.Addr().(*net.TCPAddr).Port, TLS: protocol.TLSImplicit, CAPEM: ca.PEM, Setting: "receive"}
	meet := func(climb protocol.Climb) bool {
		t.Helper()
		c, err := d.Dial(protocoltest.Context(t), at, climb)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		if _, err := c.ReadLine(); err != nil {
			t.Fatal(err)
		}
		return <-resumed
	}
	test := protocol.Climb{Yield: func(protocol.Step) {}}
	if meet(test) || meet(protocol.Climb{}) || !meet(protocol.Climb{}) || meet(test) {
		t.Error("the first two dials and a test are to verify the certificate, the third is not")
	}
	at.CAPEM = other.PEM
	if c, err := d.Dial(protocoltest.Context(t), at, protocol.Climb{}); err == nil {
		_ = c.Close()
		t.Error("a session of before was taken for a certificate of another authority")
	}
}
