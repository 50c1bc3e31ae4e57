package acceptance_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// testNames are host names under .names.test whose addresses tests choose, and
// change at will. Every other name is looked up as it always is.
var testNames nameServer

// TestMain lets this process ask the tests' own name server; before any test
// runs, because the resolver is the process's.
func TestMain(m *testing.M) {
	if err := testNames.start(); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

type nameServer struct {
	here net.PacketConn
	mu   sync.Mutex
	of   map[string]netip.Addr
}

// set gives a name an address from now on.
func (n *nameServer) set(name, address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.of[name+"."] = netip.MustParseAddr(address)
}

func (n *nameServer) start() error {
	n.of = map[string]netip.Addr{}
	var err error
	if n.here, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
		return err
	}
	usual := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", n.here.LocalAddr().String())
	}}
	go n.serve(usual)
	return nil
}

func (n *nameServer) serve(usual *net.Resolver) {
	buffer := make([]byte, 4096)
	for {
		size, from, err := n.here.ReadFrom(buffer)
		if err != nil {
			return
		}
		asked := append([]byte(nil), buffer[:size]...)
		go func() {
			if answer, err := n.answer(usual, asked); err == nil {
				_, _ = n.here.WriteTo(answer, from)
			}
		}()
	}
}

// answer answers one question: from the table, or from what the usual resolver says.
func (n *nameServer) answer(usual *net.Resolver, asked []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(asked); err != nil {
		return nil, err
	}
	q := m.Questions[0]
	m.Response, m.Authoritative, m.RecursionAvailable, m.Additionals = true, true, true, nil
	var found []netip.Addr
	if name := strings.ToLower(q.Name.String()); strings.HasSuffix(name, ".names.test.") {
		n.mu.Lock()
		if a, ok := n.of[name]; ok {
			found = append(found, a)
		}
		n.mu.Unlock()
	} else {
		found, _ = usual.LookupNetIP(context.Background(), "ip", name) // none: it is not known
	}
	if len(found) == 0 {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, a := range found {
		header := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET}
		switch a = a.Unmap(); {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: a.As4()}})
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	return m.Pack()
}
