package config

import (
	"fmt"
	"strings"
)

// Reference is the page about every setting, in Markdown, made from Settings.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Settings of the server

Made from the list in the code by “make generate”.

The defaults run. Settings come from mailgrant.yaml in the present folder, or from the file that --config or MAILGRANT_CONFIG names; then from
the environment, which wins. Where a setting is secret, its variable with _FILE behind its name may hold the path of a file with the value
instead. Lists are written [a, b] in the file, and with commas in the environment. An unknown or contradictory setting is refused at the start, with
the line and what is allowed. “mailgrant serve --print-config” shows what is in effect and where each value came from, without secrets.

Resources (providers, mailboxes, webhooks, apps) are not settings of the server: “mailgrant apply” takes them in a file of their own.

`)
	for _, s := range Settings() {
		fmt.Fprintf(&b, "## %s\n\n%s %s\n\n", s.Name, s.Text, s.Allowed)
		def := "`" + s.Default + "`"
		switch {
		case s.Name == "data_dir":
			def = "`/var/lib/mailgrant` for root; for others `mailgrant` in `$XDG_DATA_HOME`, or in `~/.local/share`"
		case s.Default == "":
			def = "empty"
		}
		fmt.Fprintf(&b, "- Default: %s\n- Environment: `%s`\n", def, s.Env())
		if s.Secret {
			fmt.Fprintf(&b, "- Secret: never shown; also from the file that `%s_FILE` names\n", s.Env())
		}
		b.WriteString("\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
