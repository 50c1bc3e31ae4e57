package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/internal/app"
	"github.com/mailgrant/mailgrant/internal/config"
)

// configured gives a command that works on the server's own files --config; what
// it returns reads the settings.
func (s *shell) configured(c *cobra.Command) func() (*config.Config, error) {
	var file string
	c.Flags().StringVar(&file, "config", "", "`FILE` with the server's settings (or MAILGRANT_CONFIG)")
	return func() (*config.Config, error) {
		if file == "" {
			file = s.variable("MAILGRANT_CONFIG")
		}
		return config.Load(file, s.environ)
	}
}

func (s *shell) backup() *cobra.Command {
	var keys bool
	var load func() (*config.Config, error)
	c := s.withJSON(&cobra.Command{
		Use: "backup FILE", Short: "Write a backup of the database, also while the server runs", Args: arguments("FILE"),
		Long: `Writes the database as it is at this instant to a new file (- for the standard
output); the server may run meanwhile. Run it on the server's host as root or as the
service's user.

The key file is left out, since whoever has both has every token: keep a copy of it
in another place, or ask for it with --with-keys and guard the file accordingly. A
PostgreSQL database is backed up by its own tools.`,
		Example: `  mailgrant backup /backup/mailgrant-monday.tar.gz
  mailgrant backup - --with-keys | age -r age1… > mailgrant.age`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			cfg, err := load()
			if err != nil {
				return err
			}
			out := io.Writer(s.out)
			if args[0] != "-" {
				f, openErr := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
				if errors.Is(openErr, os.ErrExist) {
					return wrong("cli.file", "", fmt.Sprintf("There is a file %s already.", args[0]), "Give another name, or remove it first.", nil)
				}
				if openErr != nil {
					return wrong("cli.file", "", fmt.Sprintf("The file %s cannot be made.", args[0]), "Check its folder and permissions.", cause(openErr))
				}
				// Half a backup is none.
				defer func() {
					if err = errors.Join(err, f.Close()); err != nil {
						_ = os.Remove(args[0])
					}
				}()
				out = f
			}
			b, err := app.MakeBackup(cmd.Context(), cfg, buildVersion().Version, keys, s.now(), out)
			if err != nil {
				return err
			}
			if f, ok := out.(*os.File); ok {
				if err := f.Sync(); err != nil {
					return err
				}
			}
			switch {
			case args[0] == "-":
			case s.json:
				return s.print(b)
			default:
				s.say("The database is in %s.", args[0])
			}
			if keys {
				s.remark("The key file is in it too: whoever has this backup has every token.")
			} else {
				s.remark("The key file %s is not in it. Without it no stored token can be opened: keep a copy of it in another place.", cfg.KeyFile)
			}
			return nil
		},
	})
	load = s.configured(c)
	c.Flags().BoolVar(&keys, "with-keys", false, "put the key file into the backup too")
	return c
}

func (s *shell) restore() *cobra.Command {
	var replace bool
	var load func() (*config.Config, error)
	c := s.withJSON(&cobra.Command{
		Use: "restore FILE", Short: "Put a backup in place of the database; the server must not run", Args: arguments("FILE"),
		Long: `Puts the database of a backup (- for the standard input) in place, and its key file
where it holds one. The server must not run. The backup is checked first: whole,
undamaged, not of a newer Mailgrant, and its secrets can be opened with the key file.

What changed after the backup was made is not in it. A provider that gives a new
refresh token at each renewal no longer honours the one in the backup: such a
mailbox says so at its next renewal, and has to be authorised again.

A message that waited to be sent may have been sent after the backup was made. Each is
looked for among the sent messages first; where that cannot decide, it is sent and
marked as possibly duplicated.`,
		Example: `  mailgrant restore /backup/mailgrant-monday.tar.gz
  mailgrant restore mailgrant.tar.gz --replace`,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			in := s.in
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return wrong("cli.file", "", fmt.Sprintf("The file %s cannot be read.", args[0]), "Check its path and permissions.", cause(err))
				}
				defer func() { _ = f.Close() }() // It was only read.
				in = f
			}
			b, aside, err := app.RestoreBackup(cmd.Context(), cfg, in, replace, s.now())
			if err != nil {
				return err
			}
			if s.json {
				return s.print(struct {
					app.Backup
					KeptAside string `json:"kept_aside,omitempty"`
				}{b, aside})
			}
			s.say("The database of %s is in place.", b.MadeAt.Local().Format(time.RFC1123))
			if aside != "" {
				s.say("The one that was here is kept as %s.", aside)
			}
			s.say("Start the server now; mailboxes whose refresh token was renewed since have to be authorised again, and say so.")
			s.say("Messages that waited when the backup was made may have been sent since: each is looked for among the sent messages first, and marked as possibly duplicated where that cannot decide.")
			return nil
		},
	})
	load = s.configured(c)
	c.Flags().BoolVar(&replace, "replace", false, "put a present database aside")
	return c
}

func (s *shell) migrate() *cobra.Command {
	var load func() (*config.Config, error)
	c := s.withJSON(&cobra.Command{
		Use: "migrate", Short: "Bring the database up to date without serving", Args: noArguments,
		Long: `Brings the schema of the database to the one of this program, as “mailgrant serve”
does when it starts. Make a backup first: an older Mailgrant does not open a database
that a newer one has written. The server must not run.`,
		Example: "  mailgrant migrate --config /etc/mailgrant/mailgrant.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load()
			if err != nil {
				return err
			}
			from, to, err := app.Migrate(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			switch {
			case s.json:
				return s.print(map[string]int64{"from": from, "to": to})
			case from == to:
				s.say("The database is up to date: its schema is version %d.", to)
			default:
				s.say("The database was brought from version %d of its schema to version %d.", from, to)
			}
			return nil
		},
	})
	load = s.configured(c)
	return c
}
