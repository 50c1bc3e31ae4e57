package egress_test

import (
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/egress"
)

// TestPool_IsBounded has records edited a thousand times: the connections of what
// they trusted before are closed, and those of what is in use are kept.
func TestPool_IsBounded(t *testing.T) {
	t.Parallel()
	var opened, open atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			opened.Add(1)
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	s.StartTLS()
	defer s.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	pool := egress.NewPool(egress.Options{})
	call := func(trust string) {
		t.Helper()
		c, err := pool.Client(trust)
		if err != nil {
			t.Fatal(err)
		}
		if err := get(t, c, s.URL); err != nil {
			t.Fatal(err)
		}
	}
	const edits = 300
	for i := range edits {
		call(ca) // in use all the time
		call(fmt.Sprintf("the %d. edition\n%s", i, ca))
	}
	if n := opened.Load(); n != edits+1 {
		t.Errorf("%d connections were made, want one for each trust: %d", n, edits+1)
	}
	for deadline := time.Now().Add(time.Minute); open.Load() > 100; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are still open", open.Load())
		}
	}
	if _, err := pool.Client("no certificate"); err == nil {
		t.Error("a trust without a certificate was taken")
	}
	before := opened.Load()
	if call(ca); opened.Load() != before {
		t.Error("the client that is in use lost its connection")
	}
}
