package protocoltest

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"
)

// Script is a server that says what it was told to: a greeting, then for each
// line that begins so (without case; for IMAP without its tag) the reply, in
// which TAG stands for the line's tag. An empty reply closes the connection, and
// one that ends in CLOSE does so after what stands before; a greeting that ends
// so is all the server ever says.
type Script struct {
	Greeting string
	Replies  map[string]string
}

// Start serves the script on loopback and gives the port.
func (s Script) Start(t testing.TB) int {
	t.Helper()
	ln := listen(t)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return port(ln)
}

func (s Script) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(Patience))
	greeting, last := strings.CutSuffix(s.Greeting, "CLOSE")
	if _, err := conn.Write([]byte(greeting)); err != nil {
		return
	}
	if half, ok := conn.(*net.TCPConn); ok && last { // it says no more, but listens: nothing that was said is lost
		_ = half.CloseWrite()
	}
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		tag, command, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " ")
		for prefix, reply := range s.Replies {
			if !strings.HasPrefix(command, prefix) && !strings.HasPrefix(tag+" "+command, prefix) {
				continue
			}
			if reply == "" {
				return
			}
			reply, last := strings.CutSuffix(reply, "CLOSE")
			if _, err := conn.Write([]byte(strings.ReplaceAll(reply, "TAG", tag))); err != nil || last {
				return
			}
		}
	}
}
