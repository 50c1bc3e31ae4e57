package bench_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mailgrant/mailgrant/internal/testbed/stock"
)

// callers is how many programs ask at once.
const callers = 10

// wire is a caller with a connection of its own, as small as can be: what it costs
// itself is taken from the same cores.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
}

func dialWire(b *bench, base string) *wire {
	b.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	b.must(err)
	b.Cleanup(func() { _ = conn.Close() }) // a server that has ended closed it first
	return &wire{conn: conn, in: bufio.NewReader(conn)}
}

// ask sends a request as it stands and reads the answer away.
func (w *wire) ask(request []byte) error {
	if _, err := w.conn.Write(request); err != nil {
		return err
	}
	status, length := "", 0
	for {
		line, err := w.in.ReadString('\n')
		if err != nil {
			return err
		}
		if status == "" {
			status = line
		}
		if line == "\r\n" {
			break
		}
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Content-Length") {
			if _, err := fmt.Sscan(value, &length); err != nil {
				return err
			}
		}
	}
	if _, err := w.in.Discard(length); err != nil {
		return err
	}
	if !strings.Contains(status, " 200 ") && !strings.Contains(status, " 202 ") {
		return fmt.Errorf("answered %s", strings.TrimSpace(status))
	}
	return nil
}

// ring has every caller ask for a while; it gives how many answers there were a
// second, and how long each took.
func ring(b *bench, wires []*wire, lasting time.Duration, request func(caller, i int) []byte) (rate float64, latencies []float64) {
	b.Helper()
	var mu sync.Mutex
	var group sync.WaitGroup
	var failed atomic.Pointer[error]
	began := time.Now()
	for c, w := range wires {
		group.Go(func() {
			var own []float64
			for i := 0; time.Since(began) < lasting; i++ {
				start := time.Now()
				if err := w.ask(request(c, i)); err != nil {
					failed.Store(&err)
					return
				}
				own = append(own, float64(time.Since(start)))
			}
			mu.Lock()
			defer mu.Unlock()
			latencies = append(latencies, own...)
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
	return float64(len(latencies)) / time.Since(began).Seconds(), latencies
}

func tokenRequest(key string, i int) []byte {
	path := "/v1/mailboxes/" + strings.Replace(stock.Address(i), "@", "%40", 1) + "/token"
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\n\r\n", path, key)
}

// measureTokens hands out access tokens: ten callers, each for a mailbox of its
// own, with ever more mailboxes stored; then for all mailboxes in turn.
func measureTokens(b *bench) {
	sizes := []int{10, 1000, 10_000}
	if b.long {
		sizes = append(sizes, 100_000)
	}
	pe := startPeers(b)
	var direct []*wire
	for range callers {
		direct = append(direct, dialWire(b, pe.url("")))
	}
	bare := fmt.Appendf(nil, "POST /bare HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\n\r\n", strings.Repeat("x", 47))
	first := time.Duration(0)
	for _, n := range sizes {
		h := newHouse(b, "", stock.Plan{Mailboxes: n, Sealed: n, Provider: pe.provider(), Mailbox: mailboxAt(0, pe.SMTP)})
		p := h.start()
		key := p.key("token")
		var ours []*wire
		for range callers {
			ours = append(ours, dialWire(b, p.base))
		}
		const lasting = 400 * time.Millisecond
		var latencies []float64
		var cpu, bareCPU time.Duration
		calls, bareCalls := 0, 0
		rates := takeTurns(rounds, func() float64 {
			before := p.cpu()
			rate, l := ring(b, ours, lasting, func(c, _ int) []byte { return tokenRequest(key, c) })
			cpu, calls, latencies = cpu+p.cpu()-before, calls+len(l), append(latencies, l...)
			return rate
		}, func() float64 {
			before := cpuOf(b, pe.cmd.Process.Pid)
			rate, l := ring(b, direct, lasting, func(int, int) []byte { return bare })
			bareCPU, bareCalls = bareCPU+cpuOf(b, pe.cmd.Process.Pid)-before, bareCalls+len(l)
			return rate
		})
		ratio, p99 := median(ratios(rates[0], rates[1])), time.Duration(quantile(latencies, 0.99))
		cost := each(cpu, calls)
		f := finding{
			what: thousands(n) + " mailboxes", ours: fmt.Sprintf("%s, p99 %s, %s CPU", perSecond(median(rates[0])), span(p99), span(cost)),
			direct: fmt.Sprintf("%s, %s CPU", perSecond(median(rates[1])), span(each(bareCPU, bareCalls))), ratio: times(ratio),
		}
		switch first {
		case 0:
			first = cost
			f.goal, f.met = "≥ 0.6 × a bare handler, p99 ≤ 5 ms", judge(ratio >= 0.6 && p99 <= 5*time.Millisecond)
		default:
			f.goal, f.met = "CPU flat (≤ 1.25 × the first)", judge(float64(cost) <= 1.25*float64(first))
		}
		b.found(f)

		before := p.cpu()
		rate, l := ring(b, ours, time.Second, func(c, i int) []byte { return tokenRequest(key, (c+i*callers)%n) })
		b.found(finding{what: thousands(n) + " mailboxes, each in turn", ours: fmt.Sprintf("%s, p99 %s, %s CPU", perSecond(rate), span(time.Duration(quantile(l, 0.99))), span(each(p.cpu()-before, len(l))))})
		p.stop()
	}
}
