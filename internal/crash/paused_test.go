package crash_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/sandbox/exchange"
)

// A process that is stopped over its lease, and woken after another has taken
// over, overwrites nothing and doubles nothing.
func TestPausedProcess_ChangesNothingWhenItWakes(t *testing.T) {
	for _, c := range []struct {
		name string
		flow flow
		try  func(*testing.T, *lane)
	}{
		{"refresh", refreshFlow(), pausedRefresh},
		{"fetch", fetchFlow(), func(t *testing.T, l *lane) { pausedFetch(t, l, false) }},
		{"fetch, and wins the lease back", fetchFlow(), func(t *testing.T, l *lane) { pausedFetch(t, l, true) }},
		{"send, before the message", sendFlow(), func(t *testing.T, l *lane) { pausedSend(t, l, beforeEnterData, 1) }},
		{"send, in the middle of the message", sendFlow(), func(t *testing.T, l *lane) { pausedSend(t, l, dataOnWire, 1) }},
		{"send, before the end of the message", sendFlow(), func(t *testing.T, l *lane) { pausedSend(t, l, messageRead, 2) }},
		{"send, before the reply", sendFlow(), func(t *testing.T, l *lane) { pausedSend(t, l, replyOnWire, 1) }},
		{"deliver, before the call", deliverFlow(), func(t *testing.T, l *lane) { pausedDeliver(t, l, afterClaim) }},
		{"deliver, before the answer", deliverFlow(), func(t *testing.T, l *lane) { pausedDeliver(t, l, answerOnWire) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, d := range databases() {
				t.Run(d.name, func(t *testing.T) {
					t.Parallel()
					l := newLane(t, c.flow, "paused", d.make(t), filepath.Join(t.TempDir(), "keys.json"))
					l.play = c.flow.stage(t)(l)
					must(t, l.next())
					c.try(t, l)
				})
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// overtake stops the process and starts the one that takes over. A process that
// is stopped within a transaction of SQLite keeps the file locked, and nobody can
// take over: so the lock is ours when it stops.
func (l *lane) overtake() (first, second *process) {
	l.t.Helper()
	first = l.running
	l.t.Cleanup(func() { first.end() })
	db, _ := l.store.Database()
	lock, err := db.BeginTx(l.t.Context(), nil)
	must(l.t, err)
	first.signal(syscall.SIGSTOP)
	must(l.t, await("the process stands still", func() (bool, error) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", first.cmd.Process.Pid))
		_, state, _ := strings.Cut(string(stat), ") ")
		return strings.HasPrefix(state, "T"), err
	}))
	must(l.t, lock.Rollback())
	l.orders.Ahead += l.flow.lease
	l.kills++
	must(l.t, l.next())
	return first, l.running
}

func pausedRefresh(t *testing.T, l *lane) {
	r := l.play.(*renewals)
	id, err := r.grant(&family{lenient: true})
	must(t, err)
	must(t, l.running.order(order{MailboxID: id, Callers: 1, Point: answerReceived}))
	must(t, reach(l.running, answerReceived, nil, 0))
	first, second := l.overtake()
	var out lent
	must(t, second.order(order{MailboxID: id, Callers: 1}))
	must(t, second.outcome(&out))
	if out.Lent["access-"+id+".2"] != 1 {
		t.Errorf("the successor was lent %v, faults %v", out.Lent, out.Faults)
	}
	before, err := l.store.Grant(t.Context(), id)
	must(t, err)
	must(t, first.wake(l.flow.lease))
	must(t, first.resume())
	out = lent{}
	must(t, first.outcome(&out))
	if out.Lent["access-"+id+".2"] != 1 {
		t.Errorf("the woken process lent %v, faults %v, not what its successor stored", out.Lent, out.Faults)
	}
	after, err := l.store.Grant(t.Context(), id)
	must(t, err)
	if after.Candidate.IsZero() {
		t.Error("the late answer was not kept")
	}
	after.Candidate, after.SecretsVersion = before.Candidate, before.SecretsVersion
	if !reflect.DeepEqual(before, after) {
		t.Errorf("the woken process changed the grant:\n%+v\n%+v", before, after)
	}
	events, err := l.store.Events(t.Context(), event.Filter{Patterns: []event.Pattern{event.Pattern(event.GrantLateAnswer)}, Limit: 10})
	if err != nil || len(events) != 1 {
		t.Errorf("%d events of a late answer, %v", len(events), err)
	}
	if n := r.server.requests(id); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// pausedFetch stops a process with messages in its hands. It may win the lease
// back, when the one that has taken over is gone.
func pausedFetch(t *testing.T, l *lane, wins bool) {
	i := l.play.(*receipts).inbox(protocol.DisposeMarkSeen)
	must(t, i.deliver(100, 100, 100, 100, 100))
	must(t, i.watch(l.running, beforeKeep))
	must(t, reach(l.running, beforeKeep, nil, 0))
	first, second := l.overtake()
	must(t, i.arrived())
	if wins {
		must(t, second.drain())
	}
	must(t, first.wake(l.flow.lease))
	if wins {
		must(t, first.order(order{MailboxID: i.box.ID}))
		must(t, await("the lease is won back", func() (bool, error) {
			db, _ := l.store.Database()
			var owner string
			err := db.QueryRowContext(t.Context(), "SELECT lease_owner FROM watches WHERE mailbox_id = $1", i.box.ID).Scan(&owner)
			return owner != "", err
		}))
	}
	must(t, first.resume())
	if !wins { // else what it had in its hands is given up unseen
		_, err := first.await("fenced")
		must(t, err)
	}
	must(t, i.deliver(100))
	must(t, i.arrived())
	must(t, i.exact())
	must(t, first.drain())
}

func pausedSend(t *testing.T, l *lane, point string, times int) {
	p := l.play.(*letters)
	v, err := p.letter(true)
	must(t, err)
	switch point {
	case dataOnWire:
		v.order.Size = 8 << 20 // more than the wire takes in
		p.meet = p.out.arm(1<<20, true, false)
	case replyOnWire:
		p.meet = p.up.meetAtPoint(v.box.Address, exchange.FaultSMTPDataBeforeReply)
	}
	o := v.order
	o.Point = point
	must(t, l.running.order(o))
	must(t, reach(l.running, point, p.meet, 0))
	first, _ := l.overtake()
	before, err := v.settled()
	must(t, err)
	must(t, first.wake(l.flow.lease))
	if p.meet == nil {
		must(t, first.resume())
	}
	p.release()
	_, err = first.await("fenced")
	must(t, err)
	must(t, first.drain())
	after, err := v.settled()
	must(t, err)
	doubled, err := l.store.Events(t.Context(), event.Filter{MailboxIDs: []string{v.box.ID}, Patterns: []event.Pattern{event.Pattern(event.SubmissionDoubled)}, Limit: 10})
	must(t, err)
	marks := times - 1
	if n := v.taken(after); n != times || after.State != outbox.Sent || after.PossiblyDuplicated != (marks > 0) || len(doubled) != marks {
		t.Errorf("the server took it %d times; it is %s, possibly duplicated: %v, with %d events; want %d times", n, after.State, after.PossiblyDuplicated, len(doubled), times)
	}
	after.PossiblyDuplicated = before.PossiblyDuplicated
	if !reflect.DeepEqual(before, after) {
		t.Errorf("the woken process changed the submission:\n%+v\n%+v", before, after)
	}
}

func pausedDeliver(t *testing.T, l *lane, point string) {
	d := l.play.(*deliveries)
	h, err := d.hooked()
	must(t, err)
	var meet *rendezvous
	if point == answerOnWire {
		meet = newRendezvous()
		h.processed = meet
	}
	o := h.order
	o.Point, o.Events = point, 3
	must(t, l.running.order(o))
	must(t, reach(l.running, point, meet, 0))
	must(t, await("all three are written", func() (bool, error) {
		written, err := l.store.Events(t.Context(), event.Filter{MailboxIDs: []string{o.MailboxID}, Limit: 10})
		return len(written) == 3, err
	}))
	first, second := l.overtake()
	_, err = h.judge(second)
	must(t, err)
	must(t, first.wake(l.flow.lease))
	repeats := 0
	if meet == nil {
		must(t, first.resume())
	} else {
		repeats = 1 // the receiver had the call, and nobody heard its answer
		d.release()
		_, err := first.await("fenced")
		must(t, err)
	}
	must(t, first.drain())
	must(t, h.exact(t.Context()))
	if n := len(h.came); n != 4+repeats {
		t.Errorf("four events came in %d calls: the woken process has delivered what was not its own any more", n)
	}
}
