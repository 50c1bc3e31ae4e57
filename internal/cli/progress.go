package cli

import (
	"fmt"
	"strings"
)

// fewest is how many steps are worth a bar.
const fewest = 50

// progress draws a bar on the terminal, a step at a time; end takes it away. Where
// nobody looks, nothing is drawn.
func (s *shell) progress() (step func(done, of int), end func()) {
	if !s.errTerminal || s.variable("TERM") == "dumb" {
		return func(int, int) {}, func() {}
	}
	const width = 40
	drawn := ""
	step = func(done, of int) {
		if of < fewest {
			return
		}
		full := width * done / of
		line := fmt.Sprintf("[%s%s] %3d %% of %d", strings.Repeat("#", full), strings.Repeat(".", width-full), 100*done/of, of)
		if line != drawn {
			drawn = line
			_, _ = fmt.Fprintf(s.err, "\r%s", line)
		}
	}
	return step, func() {
		if drawn != "" {
			_, _ = fmt.Fprint(s.err, "\r\x1b[K")
		}
	}
}
