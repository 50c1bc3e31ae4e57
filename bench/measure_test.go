package bench_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rounds is how often product and direct way take turns.
const rounds = 7

// takeTurns lets each do its round after the other, and gives what each measured.
func takeTurns(n int, sides ...func() float64) [][]float64 {
	out := make([][]float64, len(sides))
	for range n {
		for i, side := range sides {
			out[i] = append(out[i], side())
		}
	}
	return out
}

func median(v []float64) float64 { return quantile(v, 0.5) }

func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(v))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// ratios gives those of two sides, round by round: what slows the machine for a
// while slows both.
func ratios(ours, direct []float64) []float64 {
	out := make([]float64, len(ours))
	for i := range ours {
		out[i] = ours[i] / direct[i]
	}
	return out
}

// tick is how long one tick of the kernel's clock for processes is.
const tick = 10 * time.Millisecond

// cpuOf is the CPU time that a process has taken.
func cpuOf(t testing.TB, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	// The name in brackets may hold blanks.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		t.Fatal(err)
	}
	system, err := strconv.Atoi(fields[12])
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * tick
}

// memoryOf is the memory that a process has resident, in bytes.
func memoryOf(t testing.TB, pid int) float64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				t.Fatal(err)
			}
			return n * 1024
		}
	}
	t.Fatalf("process %d has no memory", pid)
	return 0
}

// await waits until something is so.
func await(t testing.TB, what string, patience time.Duration, so func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	for !so() {
		if time.Now().After(end) {
			t.Fatalf("waited %s in vain: %s", patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// The forms of figures.

func perSecond(v float64) string { return fmt.Sprintf("%.0f/s", v) }

func span(d time.Duration) string {
	switch {
	case d < 10*time.Microsecond:
		return fmt.Sprintf("%.1f µs", float64(d)/1e3)
	case d < time.Millisecond:
		return fmt.Sprintf("%.0f µs", float64(d)/1e3)
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d < 10*time.Second:
		return fmt.Sprintf("%.0f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}

func kilobytes(v float64) string { return fmt.Sprintf("%.0f KB", v/1024) }

func megabytes(v float64) string { return fmt.Sprintf("%.0f MB", v/1024/1024) }

func times(v float64) string { return fmt.Sprintf("%.2f", v) }

// each is a duration divided by a number of operations.
func each(d time.Duration, n int) time.Duration { return d / time.Duration(max(1, n)) }

// thousands writes 10000 as 10,000.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
