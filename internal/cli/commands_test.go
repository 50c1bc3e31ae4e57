package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/internal/cli"
)

// leaves are the commands that do something, hidden ones too.
func leaves(c *cobra.Command) (all []*cobra.Command) {
	if !c.HasSubCommands() {
		return []*cobra.Command{c}
	}
	for _, sub := range c.Commands() {
		all = append(all, leaves(sub)...)
	}
	return all
}

// words splits a line as a shell does, as far as examples and scripts need it.
func words(line string) (all []string) {
	var word strings.Builder
	quote, begun := rune(0), false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, begun = r, true
		case quote == 0 && r == ' ':
			if begun {
				all = append(all, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	if begun {
		all = append(all, word.String())
	}
	return all
}

// Every command is run by a script, to its end: a use that is refused does not
// count.
func TestCommands_EachHasAScript(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/script/*.txt")
	check(t, err)
	root := cli.Root()
	run := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(t, err)
		for line := range strings.Lines(string(text)) {
			args := words(strings.TrimSpace(line))
			i := slices.Index(args, "mailgrant")
			if i < 1 || !slices.Contains([]string{"exec", "until"}, args[0]) && !(args[0] == "exits" && args[1] == "1") {
				continue
			}
			if c, _, err := root.Find(args[i+1:]); err == nil {
				run[c.CommandPath()] = true
			}
		}
	}
	for _, c := range leaves(root) {
		if !run[c.CommandPath()] {
			t.Errorf("no script in testdata/script runs “%s”", c.CommandPath())
		}
	}
}

// Whatever prints a table prints JSON too.
func TestCommands_PrintJSONToo(t *testing.T) {
	t.Parallel()
	without := map[string]string{
		"demo": "a story for people", "serve": "a server", "man": "writes files", "help": "", "completion bash": "a script", "completion zsh": "a script",
		"completion fish": "a script", "completion powershell": "a script", "pause": "one sentence", "resume": "one sentence", "revoke": "one sentence",
		"messages raw": "the message as it is", "messages attachment": "the file as it is", "provider verify": "one sentence",
		"operator delete": "one sentence", "submissions raw": "the message as it is",
		"provider delete": "one sentence", "mailbox delete": "one sentence", "webhook delete": "one sentence", "app delete": "one sentence",
	}
	for _, c := range leaves(cli.Root()) {
		path := strings.TrimPrefix(c.CommandPath(), "mailgrant ")
		_, excused := without[path]
		if has := c.Flags().Lookup("json") != nil; has == excused {
			t.Errorf("“%s” has --json: %v; a command without it needs its reason here", path, has)
		}
	}
}

// Every command has an example, and every line of every example is understood.
func TestCommands_ExamplesAreUnderstood(t *testing.T) {
	t.Parallel()
	for _, c := range leaves(cli.Root()) {
		if c.Example == "" && c.Name() != "help" && !strings.HasPrefix(c.CommandPath(), "mailgrant completion") {
			t.Errorf("“%s” has no example", c.CommandPath())
		}
		for line := range strings.SplitSeq(strings.ReplaceAll(c.Example, "\\\n", " "), "\n") {
			for part := range strings.SplitSeq(line, "|") {
				part, _, _ = strings.Cut(part, " > ")
				part, _, _ = strings.Cut(part, " < ")
				part, _, _ = strings.Cut(part, " # ")
				args := words(strings.TrimSpace(part))
				i := slices.Index(args, "mailgrant")
				if i < 0 {
					continue
				}
				if err := understand(args[i+1:]); err != nil {
					t.Errorf("%s: %v", strings.TrimSpace(part), err)
				}
			}
		}
		if c.Example != "" && !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("the example of “%s” does not show it", c.CommandPath())
		}
	}
}

// understand parses a command line as the command itself would.
func understand(args []string) error {
	root := cli.Root() // Flags remember what they were given.
	c, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	if c.HasSubCommands() && c != root {
		return fmt.Errorf("“%s” is no whole command", c.CommandPath())
	}
	return c.ValidateArgs(c.Flags().Args())
}

// The pages in docs are what the commands say; MAILGRANT_TEST_UPDATE=1 writes them.
func TestReference_IsUpToDate(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if os.Getenv("MAILGRANT_TEST_UPDATE") != "" {
		folder = "../../docs"
	}
	var out strings.Builder
	if code := cli.Run(t.Context(), []string{"man", folder, "--markdown"}, strings.NewReader(""), &out, &out, nil); code != 0 {
		t.Fatal(out.String())
	}
	for _, name := range []string{"cli.md", "resources.md"} {
		want, err := os.ReadFile(filepath.Join(folder, name))
		check(t, err)
		got, err := os.ReadFile(filepath.Join("../../docs", name))
		check(t, err)
		if string(got) != string(want) {
			t.Errorf("docs/%s is out of date; run “make generate”", name)
		}
	}
}

func TestMan_WritesAPageForEveryCommand(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	var out strings.Builder
	if code := cli.Run(t.Context(), []string{"man", folder}, strings.NewReader(""), &out, &out, nil); code != 0 {
		t.Fatal(out.String())
	}
	for _, c := range leaves(cli.Root()) {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		page, err := os.ReadFile(filepath.Join(folder, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"))
		check(t, err)
		for _, want := range []string{".TH ", ".SH NAME\n", ".SH SYNOPSIS\n", ".SH DESCRIPTION\n", ".SH SEE ALSO\n"} {
			if !strings.Contains(string(page), want) {
				t.Errorf("the page of “%s” has no %q", c.CommandPath(), want)
			}
		}
		for line := range strings.Lines(string(page)) {
			if request, _, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasPrefix(line, ".") && !slices.Contains([]string{".TH", ".SH", ".TP", ".PP", ".B", ".nf", ".fi"}, request) {
				t.Errorf("the page of “%s” has a line that roff takes for a request: %s", c.CommandPath(), line)
			}
		}
	}
	if code := cli.Run(t.Context(), []string{"man", filepath.Join(folder, "gone")}, strings.NewReader(""), &out, &out, nil); code != 1 {
		t.Errorf("into no folder: exit code %d", code)
	}
}
