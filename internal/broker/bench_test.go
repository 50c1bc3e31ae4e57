package broker_test

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkLend is the hand-out of an access token from memory: flat in the
// number of mailboxes.
func BenchmarkLend(b *testing.B) {
	for _, boxes := range []int{10, 100_000} {
		b.Run(fmt.Sprintf("%d_mailboxes", boxes), func(b *testing.B) {
			h := newHouse(b)
			h.server.noRotate = true
			ids := make([]string, boxes)
			for i := range ids {
				ids[i] = fmt.Sprintf("m%06d", i)
				h.mailbox(ids[i], "contoso", "R0", time.Now())
			}
			broker := h.broker("a")
			for _, id := range ids {
				if _, _, err := broker.Lend(b.Context(), id, "mail", time.Minute); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if _, _, err := broker.Lend(b.Context(), ids[i%boxes], "mail", time.Minute); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkRenew is our share of a renewal: everything but the store and the provider.
func BenchmarkRenew(b *testing.B) {
	h := newHouse(b)
	h.server.noRotate, h.server.life = true, time.Second
	broker := h.broker("a")
	ids := make([]string, b.N)
	for i := range ids {
		ids[i] = fmt.Sprintf("m%06d", i)
		h.mailbox(ids[i], "contoso", "R0", time.Now())
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, id := range ids {
		if _, _, err := broker.Lend(b.Context(), id, "mail", 0); err != nil {
			b.Fatal(err)
		}
	}
}
