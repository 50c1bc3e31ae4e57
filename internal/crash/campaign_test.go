package crash_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/testbed"
)

// flow is a way through the product, with the points at which a process dies on it.
type flow struct {
	name   string
	points []string
	lease  time.Duration // how long what a dead process worked on is held for it
	// rooms makes what a process runs.
	rooms func(*testing.T, *ground) (rooms, error)
	// stage starts what outlives the processes of all lanes; what it gives makes a
	// lane's part of it.
	stage func(*testing.T) func(*lane) play
}

// play is what a lane does in its flow.
type play interface {
	// begin prepares what a point needs and has the process begin; it returns when
	// the process is where it is to die. n numbers the kills of the lane.
	begin(p *process, point string, n int) (*trial, error)
	// release opens everything at which the world outside has met the process.
	release()
}

// trial is one kill.
type trial struct {
	// left, where there is one, looks at what the dead process left.
	left func() error
	// done says whether nothing is left for the next process.
	done func() (bool, error)
	// judge lets the next process go on, and says what became of the work.
	judge func(next *process) (string, error)
}

// anywhere is the point that every flow has: after a random time.
const anywhere = "anywhere"

func flows() []flow { return []flow{refreshFlow(), fetchFlow(), sendFlow(), deliverFlow()} }

func flowNamed(name string) flow {
	for _, f := range flows() {
		if f.name == name {
			return f
		}
	}
	panic("there is no flow " + name)
}

// databases are those that everything is tried on.
func databases() []struct {
	name string
	make func(*testing.T) string
} {
	return []struct {
		name string
		make func(*testing.T) string
	}{
		{"SQLite", func(t *testing.T) string { return filepath.Join(t.TempDir(), "mailgrant.db") }},
		{"PostgreSQL", func(t *testing.T) string {
			if testing.Short() {
				t.Skip("PostgreSQL is left out under -short")
			}
			return testbed.StartPostgres(t).NewDatabase(t)
		}},
	}
}

// everywhere runs a test for each flow on each database, side by side.
func everywhere(t *testing.T, do func(t *testing.T, f flow, database func(*testing.T) string)) {
	for _, f := range flows() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			for _, d := range databases() {
				t.Run(d.name, func(t *testing.T) {
					t.Parallel()
					do(t, f, d.make)
				})
			}
		})
	}
}

func TestKill_AtEachPoint(t *testing.T) {
	times := 5
	if testing.Short() {
		times = 1
	}
	everywhere(t, func(t *testing.T, f flow, database func(*testing.T) string) {
		var plan []string
		for range times {
			plan = append(plan, f.points...)
		}
		campaign(t, f, plan, database)
	})
}

// TestCampaign kills MAILGRANT_KILLS times in each flow on each database, at random points.
func TestCampaign(t *testing.T) {
	kills, err := strconv.Atoi(os.Getenv("MAILGRANT_KILLS"))
	if err != nil || kills < 1 {
		t.Skip("set MAILGRANT_KILLS=500 to kill as often in each flow on each database (make crash)")
	}
	everywhere(t, func(t *testing.T, f flow, database func(*testing.T) string) {
		plan := make([]string, kills)
		for i := range plan {
			plan[i] = f.points[rand.IntN(len(f.points))]
		}
		campaign(t, f, plan, database)
	})
}

// lanes is how many kills of a campaign are under way at once, each lane with a
// database of its own.
const lanes = 2

// campaign kills as planned and prints what became of the work.
func campaign(t *testing.T, f flow, plan []string, database func(*testing.T) string) {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keys.json")
	onStage := f.stage(t)
	work := make(chan string, len(plan))
	for _, point := range plan {
		work <- point
	}
	close(work)
	table := newTable(f, recovered, named, failed)
	var wg sync.WaitGroup
	for i := range min(lanes, len(plan)) {
		l := newLane(t, f, fmt.Sprint("lane", i), database(t), keys)
		l.play = onStage(l)
		wg.Go(func() {
			for point := range work {
				table.add(point, l.kill(point))
			}
			l.end()
		})
	}
	wg.Wait()
	t.Logf("kill -9, %s:\n%s", f.name, table)
}

// lane is a database with what is needed to fill it and to look into it, and
// the process that works on it just now: each one finishes what the one before
// it left, and then meets its own end.
type lane struct {
	t       *testing.T
	flow    flow
	play    play
	orders  orders
	store   *store.Store
	keys    *seal.Keyset
	running *process
	kills   int
}

func newLane(t *testing.T, f flow, name, database, keyFile string) *lane {
	t.Helper()
	keys, err := seal.OpenKeyset(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	l := &lane{t: t, flow: f, keys: keys, orders: orders{Flow: f.name, Owner: name, Database: database, Keys: keyFile}}
	if l.store, err = store.Open(t.Context(), store.Options{URL: database}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if l.running != nil {
			l.running.end()
		}
		if err := l.store.Close(); err != nil {
			t.Error(err)
		}
	})
	now := time.Now()
	err = l.store.SaveProvider(t.Context(), connect.SaveProvider{
		Record: provider.Record{ID: event.NewID(), Name: "strict", Kind: "generic", ClientID: "crash", Version: 1, CreatedAt: now, UpdatedAt: now},
		Event:  event.New(now, event.ProviderCreated, event.System(), "The provider strict was added."),
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// next starts the process that comes after.
func (l *lane) next() error {
	o := l.orders
	o.Owner = fmt.Sprintf("%s/%d", o.Owner, l.kills)
	var err error
	l.running, err = start(l.t, o)
	return err
}

// What became of the work.
const (
	recovered = "recovered"
	named     = "named"
	failed    = "FAILED"
)

// kill lets the process die at a point, starts another, and judges.
func (l *lane) kill(point string) string {
	what, err := l.try(point)
	if err == nil {
		return what
	}
	log := ""
	if l.running != nil {
		log = l.running.end()
		l.running = nil
	}
	l.play.release()
	l.t.Errorf("%s, %s: %v\n%s", l.flow.name, point, err, log)
	return failed
}

func (l *lane) try(point string) (string, error) {
	if l.running == nil {
		if err := l.next(); err != nil {
			return failed, err
		}
	}
	l.kills++
	trial, err := l.play.begin(l.running, point, l.kills)
	if err != nil {
		return failed, err
	}
	l.running.end()
	if trial.left != nil {
		if err := trial.left(); err != nil {
			return failed, err
		}
	}
	l.play.release()
	l.orders.Ahead += l.flow.lease
	if err := l.next(); err != nil {
		return failed, err
	}
	return trial.judge(l.running)
}

// end lets the last process drain.
func (l *lane) end() {
	if l.running == nil {
		return
	}
	if err := l.running.drain(); err != nil {
		l.t.Errorf("%s: %v", l.flow.name, err)
	}
	l.running = nil
}

// reach waits until the process is where it is to die: at a seam, at a meeting
// with the world outside, or anywhere within a time.
func reach(p *process, point string, meet *rendezvous, within time.Duration) error {
	if meet != nil {
		select {
		case <-meet.reached:
			return nil
		case <-time.After(patience):
			return errors.New("the process never came")
		}
	}
	if point == anywhere {
		<-time.After(time.Duration(rand.Int64N(int64(within))))
		return nil
	}
	_, err := p.await("reached")
	if strings.HasPrefix(point, "while_") {
		<-time.After(time.Duration(rand.Int64N(int64(10 * time.Millisecond))))
	}
	return err
}

// rendezvous is where the world outside meets the process that is to die: the
// first to come closes reached and waits until it is opened.
type rendezvous struct {
	reached, opened chan struct{}
	met             atomic.Bool
	open            sync.Once
}

func newRendezvous() *rendezvous {
	return &rendezvous{reached: make(chan struct{}), opened: make(chan struct{})}
}

// meet waits at the rendezvous; whoever comes after the first passes by. There
// may be none.
func (r *rendezvous) meet() (first bool) {
	if r == nil || !r.met.CompareAndSwap(false, true) {
		return false
	}
	close(r.reached)
	<-r.opened
	return true
}

func (r *rendezvous) release() {
	if r != nil {
		r.open.Do(func() { close(r.opened) })
	}
}

// await polls until something is so.
func await(what string, so func() (bool, error)) error {
	tick := time.NewTicker(60 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for {
		ok, err := so()
		if ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-limit:
			return errors.New("waited in vain: " + what)
		}
	}
}

// table counts what became of the work, by point.
type table struct {
	flow     flow
	outcomes []string
	mu       sync.Mutex
	counts   map[string]map[string]int
}

func newTable(f flow, outcomes ...string) *table {
	return &table{flow: f, outcomes: outcomes, counts: map[string]map[string]int{}}
}

func (t *table) add(point, what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts[point] == nil {
		t.counts[point] = map[string]int{}
	}
	t.counts[point][what]++
}

func (t *table) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(point string, c map[string]int) {
		all, rest := 0, ""
		for _, what := range t.outcomes {
			all += c[what]
			rest += fmt.Sprintf("%d\t", c[what])
		}
		fmt.Fprintf(w, "%s\t%d\t%s\n", point, all, rest)
	}
	fmt.Fprintf(w, "point\ttimes\t%s\t\n", strings.Join(t.outcomes, "\t"))
	sum := map[string]int{}
	for _, point := range t.flow.points {
		for what, n := range t.counts[point] {
			sum[what] += n
		}
		line(point, t.counts[point])
	}
	line("all", sum)
	_ = w.Flush() // into memory
	return b.String()
}
