package bench_test

import (
	"os"
	"time"

	"github.com/mailgrant/mailgrant/internal/testbed/stock"
)

// measureBuild is the binary and what it takes to run it with nothing in it.
func measureBuild(b *bench) {
	path, err := binary()
	b.must(err)
	info, err := os.Stat(path)
	b.must(err)
	b.found(finding{what: "binary", ours: megabytes(float64(info.Size())), goal: "≤ 50 MB", met: judge(info.Size() <= 50<<20)})

	h := newHouse(b, "", stock.Plan{})
	var starts, cpus []float64
	var memory float64
	for range rounds {
		p := h.start()
		starts = append(starts, float64(p.took))
		cpus = append(cpus, float64(p.cpu()))
		time.Sleep(200 * time.Millisecond)
		memory = memoryOf(b, p.pid())
		p.stop()
	}
	start, cpu := time.Duration(median(starts)), time.Duration(median(cpus))
	b.found(finding{what: "empty start", ours: span(start) + ", " + span(cpu) + " CPU", goal: "≤ 300 ms", met: judge(start <= 300*time.Millisecond)})
	b.found(finding{what: "empty memory", ours: megabytes(memory), goal: "≤ 40 MB", met: judge(memory <= 40<<20)})
}
