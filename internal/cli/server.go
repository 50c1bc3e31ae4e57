package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
	"github.com/mailgrant/mailgrant/internal/app"
	"github.com/mailgrant/mailgrant/internal/config"
)

// asking gives a command, and those below it, the flags that name the server.
func (s *shell) asking(c *cobra.Command) *cobra.Command {
	f := c.PersistentFlags()
	f.StringVar(&s.server, "server", "", "`URL` of the server (or MAILGRANT_SERVER), with an API key in MAILGRANT_API_KEY or in the file that MAILGRANT_API_KEY_FILE names; default: the socket on this host")
	f.StringVar(&s.dataDir, "data-dir", "", "the server's data `FOLDER` on this host, where its socket is (or MAILGRANT_DATA_DIR)")
	return c
}

// withJSON gives a command --json.
func (s *shell) withJSON(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&s.json, "json", false, "print JSON instead")
	return c
}

// longestSecret bounds a secret read from a file or the standard input.
const longestSecret = 64 << 10

// client finds the server: the one named, or else the socket on this host.
func (s *shell) client() (*client.Client, error) {
	o := client.Options{UserAgent: "mailgrant-cli/" + buildVersion().Version}
	if o.Server = s.server; o.Server == "" && s.dataDir == "" {
		o.Server = s.variable("MAILGRANT_SERVER")
	}
	if o.Server == "" {
		socket, err := s.socket()
		if err != nil {
			return nil, err
		}
		o.Socket = socket
		return client.New(o)
	}
	var err error
	if o.APIKey, err = s.apiKey(o.Server); err != nil {
		return nil, err
	}
	c, err := client.New(o)
	if err != nil {
		return nil, wrong("cli.server", "", sentence(err.Error()), "Write it as https://mail.example.org; http:// is for this host only.", nil)
	}
	return c, nil
}

func (s *shell) apiKey(server string) (string, error) {
	key := s.variable("MAILGRANT_API_KEY")
	if file := s.variable("MAILGRANT_API_KEY_FILE"); key == "" && file != "" {
		var err error
		if key, err = s.readSecret(file); err != nil {
			return "", err
		}
	}
	if key = strings.TrimSpace(key); key == "" {
		return "", wrong("cli.no_api_key", "", fmt.Sprintf("There is no API key for %s.", server),
			"Put one in MAILGRANT_API_KEY, or its file's name in MAILGRANT_API_KEY_FILE. “mailgrant app create” on the server's host makes one.", nil)
	}
	return key, nil
}

// socket finds the server's socket on this host.
func (s *shell) socket() (string, error) {
	path := app.SocketPath(s.dataFolder())
	_, err := os.Stat(path)
	switch {
	case err == nil:
		return path, nil
	case errors.Is(err, fs.ErrPermission):
		return "", wrong("cli.socket", "", fmt.Sprintf("The server's data folder %s may not be entered by this user.", filepath.Dir(path)),
			"Run the command as root or as the service's user, or name the server with --server and put an API key in MAILGRANT_API_KEY.", nil)
	case errors.Is(err, fs.ErrNotExist):
		return "", wrong("cli.no_server", "", fmt.Sprintf("No Mailgrant server is running here: there is no socket %s.", path),
			"Start one with “mailgrant serve”. If it runs with another data folder, name that with --data-dir or MAILGRANT_DATA_DIR. "+
				"If it runs on another host, name it with --server or MAILGRANT_SERVER and put an API key in MAILGRANT_API_KEY.", nil)
	}
	return "", wrong("cli.socket", "", fmt.Sprintf("The server's socket %s cannot be looked at.", path), "See what the cause says.", err)
}

// dataFolder is the one named, or else the one that a server started here would
// use.
func (s *shell) dataFolder() string {
	if s.dataDir != "" {
		return s.dataDir
	}
	if named := s.variable("MAILGRANT_DATA_DIR"); named != "" {
		return named
	}
	if c, err := config.Load(s.variable("MAILGRANT_CONFIG"), s.environ); err == nil {
		return c.DataDir
	}
	for _, setting := range config.Settings() {
		if setting.Name == "data_dir" {
			return setting.Default
		}
	}
	return "."
}

// readSecret reads a secret from a file, or from the standard input for "-".
// Line ends at its end are no part of it.
func (s *shell) readSecret(file string) (string, error) {
	b, err := s.readFile(file, longestSecret)
	if err != nil {
		return "", err
	}
	secret := strings.TrimRight(string(b), "\r\n")
	if secret == "" {
		return "", wrong("cli.empty_secret", "", fmt.Sprintf("There is no secret in %s: it is empty.", shown(file)), "Put the secret there, alone.", nil)
	}
	return secret, nil
}

func shown(file string) string {
	if file == "-" {
		return "the standard input"
	}
	return file
}

// readFile reads a file, or the standard input for "-", of at most most bytes.
func (s *shell) readFile(file string, most int64) ([]byte, error) {
	r := s.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, wrong("cli.file", "", fmt.Sprintf("The file %s cannot be read.", file), "Check its path and permissions.", cause(err))
		}
		defer func() { _ = f.Close() }() // It was only read.
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, wrong("cli.file", "", fmt.Sprintf("%s cannot be read.", sentence(shown(file))), "Check its path and permissions.", cause(err))
	}
	if int64(len(b)) > most {
		return nil, wrong("cli.file", "", fmt.Sprintf("There are more than %s in %s.", size(most), shown(file)), "See whether it is the right file.", nil)
	}
	return b, nil
}

// cause leaves out of a file's error the path, which the text names already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// confirm asks before something that cannot be undone. Where nobody can be asked,
// --yes has to say that it is meant.
func (s *shell) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	if !s.inTerminal || !s.errTerminal {
		return missing("yes", "this cannot be undone, and there is no terminal to ask at. Give --yes to do it without being asked.")
	}
	_, _ = fmt.Fprintf(s.err, "%s [y/N] ", question)
	var answer string
	_, _ = fmt.Fscanln(s.in, &answer) // No answer is a no.
	if strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes") {
		return nil
	}
	s.remark("Nothing was changed.")
	return errReported
}

func addYes(c *cobra.Command, yes *bool) {
	c.Flags().BoolVarP(yes, "yes", "y", false, "do not ask back; needed where there is no terminal")
}
