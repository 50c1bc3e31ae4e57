package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build says which Mailgrant this is.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"` // of the revision
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
}

func buildVersion() build {
	b := build{Version: "devel", Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			b.Revision = setting.Value
		case "vcs.time":
			b.Time = setting.Value
		case "vcs.modified":
			b.Modified = setting.Value == "true"
		}
	}
	return b
}

func (s *shell) version() *cobra.Command {
	return s.withJSON(&cobra.Command{
		Use: "version", Short: "Say which Mailgrant this is", Args: noArguments,
		Long:    "Says which Mailgrant this is, and from which revision of its source it was built.",
		Example: "  mailgrant version --json",
		RunE: func(*cobra.Command, []string) error {
			b := buildVersion()
			if s.json {
				return s.print(b)
			}
			s.say("mailgrant %s", b.Version)
			revision := b.Revision
			if b.Modified {
				revision += ", with changes"
			}
			s.pairs(pair{"Revision", revision}, pair{"Of", b.Time}, pair{"Built with", b.Go})
			return nil
		},
	})
}
