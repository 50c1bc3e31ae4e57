package crash_test

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// What became of the work that a drain met.
const (
	finished = "finished"  // by the process that was to end
	handedOn = "handed on" // the next one goes on at once: no lease is in its way
)

// A process that is asked to end (SIGTERM) while it works leaves nothing half
// done: what is under way is finished, or lies there for the next, whose clock is
// not ahead, although leases last for hours.
func TestDrain_LeavesNothingHalfDone(t *testing.T) {
	for _, f := range []flow{fetchFlow(), sendFlow(), deliverFlow()} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			for _, d := range databases() {
				t.Run(d.name, func(t *testing.T) {
					t.Parallel()
					l := newLane(t, f, "drain", d.make(t), filepath.Join(t.TempDir(), "keys.json"))
					l.play = f.stage(t)(l)
					l.orders.Lease, l.orders.Deadline = time.Hour, time.Hour
					switch p := l.play.(type) {
					case *receipts:
						p.patient = true
					case *letters:
						p.patient = true
					}
					table := newTable(f, finished, handedOn, failed)
					for _, point := range f.points {
						if point == anywhere {
							continue
						}
						what, err := l.drained(point)
						if err != nil {
							t.Errorf("%s: %v\n%s", point, err, l.running.end())
							l.running = nil
						}
						table.add(point, what)
					}
					l.end()
					t.Logf("SIGTERM, %s:\n%s", f.name, table)
				})
			}
		})
	}
}

// drained asks the process to end while it is at a point, and judges.
func (l *lane) drained(point string) (string, error) {
	l.kills++
	if l.running == nil {
		if err := l.next(); err != nil {
			return failed, err
		}
	}
	trial, err := l.play.begin(l.running, point, l.kills)
	if err != nil {
		return failed, err
	}
	l.running.signal(syscall.SIGTERM)
	if _, err := l.running.await("draining"); err != nil {
		return failed, err
	}
	l.play.release()
	if err := l.running.resume(); err != nil {
		return failed, err
	}
	text, err := l.running.await("drained")
	l.running.end()
	if err != nil || text != `""` {
		return failed, errors.Join(err, errors.New("the process ended badly: "+text))
	}
	what := handedOn
	done, err := trial.done()
	if err != nil {
		return failed, err
	}
	if done {
		what = finished
	}
	if point == retryStored {
		l.orders.Ahead += 2 * time.Minute // what the server put off is not due before
	}
	if err := l.next(); err != nil {
		return failed, err
	}
	if verdict, err := trial.judge(l.running); verdict != recovered || err != nil {
		return failed, errors.Join(err, errors.New("it was "+verdict))
	}
	return what, nil
}
