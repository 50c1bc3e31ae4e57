package cli

import (
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/internal/app"
	"github.com/mailgrant/mailgrant/internal/config"
)

func (s *shell) serve() *cobra.Command {
	var load func() (*config.Config, error)
	var printConfig bool
	c := &cobra.Command{
		Use: "serve", Short: "Run the server", Args: noArguments,
		Long: `Runs the server until it is interrupted (SIGINT or SIGTERM); what is under way is
then finished, which takes at most half a minute.

Settings come from mailgrant.yaml in the present folder or the file that --config
names, and from environment variables MAILGRANT_…, which win. Without any it
serves on 127.0.0.1:8025 with SQLite in the data folder. --print-config shows every
setting with its value and where that came from, and ends.`,
		Example: `  mailgrant serve
  mailgrant serve --config /etc/mailgrant.yaml --print-config`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			if printConfig {
				_, err := io.WriteString(s.out, cfg.Print())
				return err
			}
			a, err := app.Open(cmd.Context(), cfg, app.Options{Version: buildVersion().Version, Logger: newLogger(s.err, cfg)})
			if err != nil {
				return err
			}
			s.remark("Mailgrant serves at %s (listening on %s).", cfg.PublicURL, a.Addr())
			if needed, err := a.Access.NeedsSetup(cmd.Context()); err == nil && needed {
				s.remark("For the first sign-in, on this host: mailgrant operator setup%s", s.dataDirHint(cfg.DataDir))
			}
			return a.Run(cmd.Context())
		},
	}
	load = s.configured(c)
	c.Flags().BoolVar(&printConfig, "print-config", false, "show the effective settings, without secrets, and end")
	return c
}

// dataDirHint is what a client command needs to be told where the folder is not
// the default one.
func (s *shell) dataDirHint(dir string) string {
	if dir == s.dataFolder() {
		return ""
	}
	return " --data-dir " + dir
}

func newLogger(w io.Writer, cfg *config.Config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		level = slog.LevelInfo // config has checked it
	}
	o := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
