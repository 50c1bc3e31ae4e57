package testbed

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// Axe looks with axe-core for what keeps people from using the page that is open, light and dark, and returns a line for each
// finding: the rule, what it asks for, and where it is broken.
func (b *Browser) Axe(t testing.TB) []string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(npmFolder(t, "axe"), "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatalf("read axe-core: %v", err)
	}
	run(t, b, chromedp.Evaluate[string](string(source)+`;"loaded"`))
	defer b.Do(t, preferColorScheme("light"))
	var lines []string
	for _, scheme := range []string{"dark", "light"} {
		// A colour that fades into another is neither: nothing moves while axe-core looks.
		b.Do(t, preferColorScheme(scheme, &emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"}))
		found := run(t, b, chromedp.Evaluate[string](`axe.run().then((r) => JSON.stringify(r.violations))`, chromedp.EvalAwaitPromise))
		var violations []struct {
			ID    string `json:"id"`
			Help  string `json:"help"`
			Nodes []struct {
				HTML    string `json:"html"`
				Summary string `json:"failureSummary"`
			} `json:"nodes"`
		}
		if err := json.Unmarshal([]byte(found), &violations); err != nil {
			t.Fatalf("read what axe-core found: %v", err)
		}
		for _, v := range violations {
			for _, n := range v.Nodes {
				lines = append(lines, fmt.Sprintf("%s, %s: %s: %s: %s", scheme, v.ID, v.Help, n.HTML, strings.Join(strings.Fields(n.Summary), " ")))
			}
		}
	}
	return lines
}
