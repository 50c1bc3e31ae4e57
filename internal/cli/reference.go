package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mailgrant/mailgrant/internal/cli/resources"
)

// man writes the manual pages.
func (s *shell) man() *cobra.Command {
	var markdown bool
	c := &cobra.Command{
		Use: "man FOLDER", Short: "Write the manual pages into a folder", Args: arguments("FOLDER"), Hidden: true,
		Long: `Writes a manual page for every command into a folder, for packages to install;
with --markdown the reference of the command line and that of resource files.`,
		Example: `  mailgrant man /usr/share/man/man1
  mailgrant man docs --markdown`,
		RunE: func(cmd *cobra.Command, args []string) error {
			pages := manPages(cmd.Root())
			if markdown {
				pages = map[string]string{"cli.md": markdownPage(cmd.Root()), "resources.md": resources.Reference()}
			}
			for name, text := range pages {
				if err := os.WriteFile(filepath.Join(args[0], name), []byte(text), 0o644); err != nil {
					return wrong("cli.file", "", fmt.Sprintf("The page %s cannot be written into %s.", name, args[0]), "Make the folder, and see that it may be written.", cause(err))
				}
			}
			s.say("%s written into %s.", counted(len(pages), "page was", "pages were"), plain(args[0]))
			return nil
		},
	}
	c.Flags().BoolVar(&markdown, "markdown", false, "write Markdown instead")
	return c
}

// everyCommand lists a command and those below it that people use, in the order
// of help.
func everyCommand(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			all = append(all, everyCommand(sub)...)
		}
	}
	return all
}

// option is one flag as it is written, and what it does.
type option struct{ written, does string }

func options(flags *pflag.FlagSet) (all []option) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, does := pflag.UnquoteUsage(f)
		written := "--" + f.Name
		if f.Shorthand != "" {
			written = "-" + f.Shorthand + ", " + written
		}
		if value != "" {
			written += " " + value
		}
		all = append(all, option{written, does})
	})
	return all
}

// exitCodes are what every command says by its exit code.
const exitCodes = "0 when all is well; 1 when the thing asked about failed; 2 when the command was not understood."

// surroundings are the environment variables of the command line.
func surroundings() []option {
	return []option{
		{"MAILGRANT_SERVER", "the server's URL, in place of --server"},
		{"MAILGRANT_API_KEY", "the API key for it"},
		{"MAILGRANT_API_KEY_FILE", "a file that holds the API key"},
		{"MAILGRANT_DATA_DIR", "the server's data folder on this host, in place of --data-dir"},
		{"MAILGRANT_CONFIG", "the server's settings file, in place of --config"},
		{"NO_COLOR", "set to anything: no colours"},
	}
}

// markdownPage is the reference of the command line.
func markdownPage(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# The command line\n\nMade from the commands themselves by `make generate`. Every command says the same with `--help`; `mailgrant man FOLDER` writes the manual pages.\n\n")
	fmt.Fprintf(&b, "Exit codes: %s `mailgrant diff` follows diff(1): 1 says that there is a difference, 2 that it cannot be said.\n\n", exitCodes)
	b.WriteString("Environment:\n\n")
	for _, o := range surroundings() {
		fmt.Fprintf(&b, "- `%s`: %s\n", o.written, o.does)
	}
	b.WriteString("\n")
	all := everyCommand(root)
	for _, c := range all[1:] {
		if c.Runnable() && !c.HasAvailableSubCommands() {
			fmt.Fprintf(&b, "- [%s](#%s): %s\n", c.CommandPath(), strings.ReplaceAll(c.CommandPath(), " ", "-"), c.Short)
		}
	}
	for _, c := range all[1:] {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", c.CommandPath(), markdownText(orElse(c.Long, c.Short)))
		if c.HasAvailableSubCommands() {
			continue
		}
		fmt.Fprintf(&b, "\n```\n%s\n```\n", c.UseLine())
		if own := options(c.NonInheritedFlags()); len(own) > 0 {
			b.WriteString("\n")
			for _, o := range own {
				fmt.Fprintf(&b, "- `%s`: %s\n", o.written, o.does)
			}
		}
		if len(options(c.InheritedFlags())) > 0 {
			b.WriteString("\nAnd `--server URL` or `--data-dir FOLDER`, which name the server.\n")
		}
		if c.Example != "" {
			fmt.Fprintf(&b, "\n```sh\n%s\n```\n", dedent(c.Example))
		}
	}
	return b.String()
}

// markdownText keeps the lines of a text, and lets none of it be taken for
// something else.
func markdownText(text string) string {
	return strings.NewReplacer("<", "&lt;", "*", `\*`).Replace(strings.TrimSpace(text))
}

// dedent takes away the two spaces that examples begin with.
func dedent(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "  ")
	}
	return strings.Join(lines, "\n")
}

// manPages are the manual pages by file name, in the roff of man(7).
func manPages(root *cobra.Command) map[string]string {
	pages := map[string]string{}
	for _, c := range everyCommand(root) {
		pages[manName(c)+".1"] = manPage(c)
	}
	return pages
}

func manName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

func manPage(c *cobra.Command) string {
	var b strings.Builder
	section := func(title string) { fmt.Fprintf(&b, ".SH %s\n", title) }
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"Mailgrant\" \"Mailgrant\"\n", strings.ToUpper(roff(manName(c))))
	section("NAME")
	fmt.Fprintf(&b, "%s \\- %s\n", roff(manName(c)), roff(c.Short))
	section("SYNOPSIS")
	use := c.UseLine()
	if c.HasAvailableSubCommands() {
		use = c.CommandPath() + " COMMAND"
	}
	fmt.Fprintf(&b, ".B %s\n", roff(use))
	section("DESCRIPTION")
	b.WriteString(roffText(orElse(c.Long, c.Short)))
	list := func(title string, all []option) {
		if len(all) == 0 {
			return
		}
		section(title)
		for _, o := range all {
			fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(o.written), roffLine(o.does))
		}
	}
	var commands []option
	for _, sub := range c.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			commands = append(commands, option{sub.Name(), sub.Short})
		}
	}
	list("COMMANDS", commands)
	list("OPTIONS", slices.Concat(options(c.NonInheritedFlags()), options(c.InheritedFlags())))
	if c.Example != "" {
		section("EXAMPLES")
		fmt.Fprintf(&b, ".nf\n%s\n.fi\n", roff(dedent(c.Example)))
	}
	if !c.HasParent() {
		section("EXIT STATUS")
		b.WriteString(roffText(exitCodes))
		list("ENVIRONMENT", surroundings())
	}
	section("SEE ALSO")
	var others []string
	if c.HasParent() {
		others = append(others, roff(manName(c.Parent()))+"(1)")
	}
	for _, sub := range c.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			others = append(others, roff(manName(sub))+"(1)")
		}
	}
	fmt.Fprintf(&b, "%s\n", strings.Join(others, ", "))
	return b.String()
}

// roff writes a text so that none of it is taken for a command of roff.
func roff(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = roffLine(line)
	}
	return strings.Join(lines, "\n")
}

// roffLine does so for one line.
func roffLine(line string) string {
	var b strings.Builder
	for _, r := range line {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r > unicode.MaxASCII:
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	line = b.String()
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		return `\&` + line
	}
	return line
}

// roffText is a text of paragraphs; indented lines stay as they are.
func roffText(text string) string {
	var b strings.Builder
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		if strings.Contains(paragraph, "  ") {
			fmt.Fprintf(&b, ".nf\n%s\n.fi\n", roff(paragraph))
			continue
		}
		fmt.Fprintf(&b, "%s\n", roff(paragraph))
	}
	return b.String()
}
