package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
)

// print writes v as one indented JSON document.
func (s *shell) print(v any) error {
	e := json.NewEncoder(s.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// line writes v as JSON on a line of its own.
func (s *shell) line(v any) error {
	e := json.NewEncoder(s.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table writes aligned columns under a heading. Cells are foreign text: they are
// made plain.
func (s *shell) table(heading []string, rows [][]string) {
	w := tabwriter.NewWriter(s.out, 0, 8, 2, ' ', 0)
	write := func(cells []string) {
		for i, c := range cells {
			if cells[i] = plain(c); cells[i] == "" {
				cells[i] = "-"
			}
		}
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	write(heading)
	for _, r := range rows {
		write(r)
	}
	_ = w.Flush() // The writer below remembers a failure.
}

// pair is one line of what is known about a thing.
type pair struct{ name, value string }

// pairs writes names and values, leaving out what is empty.
func (s *shell) pairs(all ...pair) {
	w := tabwriter.NewWriter(s.out, 0, 8, 2, ' ', 0)
	for _, p := range all {
		if p.value != "" {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", p.name+":", plain(p.value))
		}
	}
	_ = w.Flush() // The writer below remembers a failure.
}

// plain makes foreign text fit for one line of a terminal.
func plain(text string) string { return message.Line(text) }

// plainLines is plain for a text of several lines.
func plainLines(text string) string { return message.Lines(text) }

func shorten(text string, n int) string { return fault.Shorten(text, n) }

// ago says when something was or will be, in words; empty for no time.
func (s *shell) ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := s.now().Sub(t)
	switch {
	case d < -time.Second:
		return "in " + span(-d)
	case d < time.Second:
		return "now"
	}
	return span(d) + " ago"
}

// when is ago with the exact time.
func (s *shell) when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s (%s)", s.ago(t), exact(t))
}

func exact(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

// span says how long, in its largest unit.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Round(time.Second)/time.Second))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Round(time.Minute)/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Round(time.Hour)/time.Hour))
	}
	return fmt.Sprintf("%d days", int(d.Round(24*time.Hour)/(24*time.Hour)))
}

// size says how many bytes.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 1<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// The colours of a terminal, by what they mean.
const (
	good = "\x1b[32m"
	bad  = "\x1b[31m"
	dim  = "\x1b[2m"
)

func (s *shell) paint(colour, text string) string {
	if !s.colour {
		return text
	}
	return colour + text + "\x1b[0m"
}

// duration reads Go's form of a duration, and whole days (7d).
func duration(flag, text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		if _, err := fmt.Sscanf(days+"\n", "%d\n", &n); err == nil && n > 0 && n <= 36500 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	} else if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return d, nil
	}
	return 0, &usageError{text: fmt.Sprintf("--%s: “%s” is not a duration; write it as 90s, 5m, 24h or 7d.", flag, shorten(text, 40))}
}

// moment reads a date, or a date with its time.
func moment(flag, text string) (time.Time, error) {
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, &usageError{text: fmt.Sprintf("--%s: “%s” is not a time; write it as 2027-05-01 or 2027-05-01T12:00:00Z.", flag, shorten(text, 40))}
}
