package pop3_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/protocol/protocoltest"
)

// overhear stands before a server and gives what was said to it, connection by
// connection, once all of them have ended.
func overhear(t *testing.T, port int) (before int, said func() []string) {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	var all []string
	relay := func(client net.Conn) {
		defer func() { _ = client.Close() }()
		server, err := new(net.Dialer).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(client, server)
			_ = client.Close()
		}()
		var lines strings.Builder
		for in := bufio.NewReader(client); ; {
			line, err := in.ReadString('\n')
			lines.WriteString(line)
			if err != nil {
				break
			}
			_, _ = io.WriteString(server, line)
		}
		_ = server.Close()
		mu.Lock()
		defer mu.Unlock()
		all = append(all, lines.String())
	}
	group.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			group.Go(func() { relay(client) })
		}
	})
	return ln.Addr().(*net.TCPAddr).Port, func() []string {
		_ = ln.Close()
		group.Wait()
		return all
	}
}

// There are servers that delete at QUIT whatever was fetched (RFC 1939 section 8),
// and only who stores a message knows when it may go.
func TestQuit_IsNotSaidByTheConnectionThatFetched(t *testing.T) {
	t.Parallel()
	port, said := overhear(t, replies(map[string]string{"DELE": "+OK\r\n"}).Start(t))
	r := open(t, plain(port))
	if got, err := since(t, r, 0); err != nil || len(got) != 2 {
		t.Fatalf("%q, %v", got, err)
	}
	if err := r.Dispose(protocoltest.Context(t), []uint32{1}, protocol.Disposal{Act: protocol.DisposeDelete}); err != nil {
		t.Fatal(err)
	}
	if got, err := since(t, r, 0); err != nil || len(got) != 2 {
		t.Fatalf("%q, %v", got, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	deleted := 0
	for _, each := range said() {
		if strings.Contains(each, "RETR") && strings.Contains(each, "QUIT") {
			t.Errorf("one connection said:\n%s", each)
		}
		if strings.Contains(each, "DELE 1\r\nQUIT\r\n") {
			deleted++
		}
	}
	if deleted != 1 {
		t.Errorf("%d connections deleted, want one", deleted)
	}
}

func TestDispose_DeletesTheOneThatWasFetched(t *testing.T) {
	t.Parallel()
	port, said := overhear(t, replies(map[string]string{"UIDL": "+OK\r\n1 a\r\n2 a\r\n.\r\n", "DELE": "+OK\r\n"}).Start(t))
	r := open(t, plain(port))
	if err := r.Dispose(protocoltest.Context(t), []uint32{1}, protocol.Disposal{Act: protocol.DisposeDelete}); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	if all := strings.Join(said(), ""); !strings.Contains(all, "DELE 1") || strings.Contains(all, "DELE 2") {
		t.Errorf("said:\n%s", all)
	}
}
