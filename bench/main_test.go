package bench_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/cli"
)

// The environment by which a run is shaped, and by which this binary knows that
// it was started as another process of one. None is a
// setting of the product, which would refuse to start.
const (
	envRows    = "BENCH_ROWS"
	envLong    = "BENCH_LONG"
	envProfile = "BENCH_PROFILE"
	envRole    = "BENCH_ROLE"
	envTLS     = "BENCH_TLS"
)

func TestMain(m *testing.M) {
	switch os.Getenv(envRole) {
	case "peers":
		os.Exit(runPeers(os.Getenv(envTLS)))
	case "serve":
		os.Exit(runProduct())
	}
	os.Exit(m.Run())
}

// runProduct is the product in this binary, for the sake of its profiles.
func runProduct() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	stem := filepath.Join(os.Getenv(envProfile), strconv.Itoa(os.Getpid()))
	cpu, err := os.Create(stem + ".cpu")
	if err == nil {
		err = pprof.StartCPUProfile(cpu)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	heap := make(chan os.Signal, 1)
	signal.Notify(heap, syscall.SIGUSR1)
	go func() {
		for range heap {
			for _, kind := range []string{"heap", "goroutine"} {
				if f, err := os.Create(stem + "." + kind); err == nil {
					_ = pprof.Lookup(kind).WriteTo(f, 0)
					_ = f.Close()
				}
			}
		}
	}()
	code := cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ())
	pprof.StopCPUProfile()
	_ = cpu.Close()
	return code
}

// row is a goal, or a few that are measured together.
type row struct {
	name string
	run  func(*bench)
}

// rows lists what can be measured, cheapest first.
func rows() []row {
	return []row{
		{"build", measureBuild},
		{"tokens", measureTokens},
		{"refresh", measureRefresh},
		{"arrival", measureArrival},
		{"listing", measureListing},
		{"submissions", measureSubmissions},
		{"watched", measureWatched},
		{"pages", measurePages},
	}
}

// bench is one run.
type bench struct {
	*testing.T
	long bool
	out  table
	name string // of the row
}

// TestBench measures; it is skipped where nobody asks for it.
func TestBench(t *testing.T) {
	wanted := os.Getenv(envRows)
	if wanted == "" {
		t.Skip("run by make bench")
	}
	pick, err := regexp.Compile(wanted)
	if err != nil {
		t.Fatal(err)
	}
	var all table
	began := time.Now()
	for _, r := range rows() {
		if !pick.MatchString(r.name) {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			b := &bench{T: t, long: os.Getenv(envLong) != "", name: r.name}
			start := time.Now()
			r.run(b)
			fmt.Printf("%s: measured in %s\n", r.name, time.Since(start).Round(time.Second))
			all = append(all, b.out...)
		})
	}
	fmt.Printf("\n%s\nIn %s, at a load of %s.\n", all, time.Since(began).Round(time.Second), load())
}

func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	fields := strings.Fields(string(b))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

// finding is one line of the table.
type finding struct {
	what, ours, direct, ratio, goal string
	met                             verdict
}

type verdict int

// The verdicts; open is for what has no goal of its own.
const (
	open verdict = iota
	met
	missed
)

func judge(good bool) verdict {
	if good {
		return met
	}
	return missed
}

func (v verdict) String() string { return [...]string{"", "met", "MISSED"}[v] }

type table []finding

// String is the table, aligned for reading.
func (t table) String() string {
	lines := [][]string{{"", "product", "direct way", "ratio", "goal", ""}}
	for _, f := range t {
		lines = append(lines, []string{f.what, f.ours, f.direct, f.ratio, f.goal, f.met.String()})
	}
	width := make([]int, 6)
	for _, l := range lines {
		for i, cell := range l {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	var out strings.Builder
	for _, l := range lines {
		line := ""
		for i, cell := range l {
			line += cell + strings.Repeat(" ", width[i]-len([]rune(cell))+2)
		}
		out.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return out.String()
}

// found adds a line, and shows it at once: a long run is watched.
func (b *bench) found(f finding) {
	f.what = b.name + ": " + f.what
	b.out = append(b.out, f)
	fmt.Println(strings.Join([]string{f.what, f.ours, f.direct, f.ratio, f.goal, f.met.String()}, " | "))
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
