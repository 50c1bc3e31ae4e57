package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/config"
	"github.com/mailgrant/mailgrant/internal/fault"
)

func load(t *testing.T, text string, env ...string) (*config.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mailgrant.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Load(path, env)
}

func TestLoad_DefaultsRun(t *testing.T) {
	t.Parallel()
	c, err := load(t, "data_dir: /srv/mg\n")
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:8025" || c.PublicURL.String() != "http://localhost:8025" || c.Retention != 30*24*time.Hour {
		t.Fatalf("defaults: %+v", c)
	}
	if c.Database.Reveal() != "/srv/mg/mailgrant.db" || c.KeyFile != "/srv/mg/keys.json" {
		t.Fatalf("derived paths: %s %s", c.Database.Reveal(), c.KeyFile)
	}
}

func TestLoad_EnvironmentWinsOverFile(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(secret, []byte("postgres://u:marker-pw@db/mg\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := load(t, "retention: 24h\n", "MAILGRANT_RETENTION=48h", "MAILGRANT_DATABASE_FILE="+secret,
		"MAILGRANT_WEBHOOKS_ALLOW_NETWORKS=127.0.0.0/8,10.0.0.1", "MAILGRANT_SERVER=x", "PATH=/bin")
	if err != nil {
		t.Fatal(err)
	}
	if c.Retention != 48*time.Hour || len(c.AllowNetworks) != 2 || c.Database.Reveal() != "postgres://u:marker-pw@db/mg" {
		t.Fatalf("got %+v", c)
	}
	if p := c.Print(); strings.Contains(p, "marker-pw") || !strings.Contains(p, "environment variable MAILGRANT_RETENTION") {
		t.Fatalf("printed:\n%s", p)
	}
}

func TestLoad_PublicURLFollowsThePortOfListen(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, env, want, from string }{
		"listen in the file":          {"listen: 127.0.0.1:9000", "", "http://localhost:9000", "mailgrant.yaml:1"},
		"listen in the environment":   {"", "MAILGRANT_LISTEN=127.0.0.1:9001", "http://localhost:9001", "environment variable MAILGRANT_LISTEN"},
		"neither":                     {"", "", "http://localhost:8025", "# default\n"},
		"both":                        {"listen: 127.0.0.1:9000\npublic_url: http://localhost:8080", "", "http://localhost:8080", "mailgrant.yaml:2"},
		"public_url by another way":   {"listen: 127.0.0.1:9000", "MAILGRANT_PUBLIC_URL=https://x.example", "https://x.example", "environment variable MAILGRANT_PUBLIC_URL"},
		"a port that browsers omit":   {"listen: 127.0.0.1:80", "", "http://localhost", "follows listen"},
		"a port the system chooses":   {"listen: 127.0.0.1:0", "", "http://localhost:8025", "# default\n"},
		"a port that is not a number": {"listen: 127.0.0.1:http", "", "http://localhost:8025", "# default\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var env []string
			if tc.env != "" {
				env = []string{tc.env}
			}
			c, err := load(t, tc.text, env...)
			if err != nil {
				t.Fatal(err)
			}
			_, printed, _ := strings.Cut(c.Print(), "public_url: ")
			printed, _, _ = strings.Cut(printed, "\n")
			if c.PublicURL.String() != tc.want || !strings.HasPrefix(printed, tc.want+" # ") || !strings.Contains(printed+"\n", tc.from) {
				t.Errorf("got %s, printed as %s", c.PublicURL, printed)
			}
		})
	}
}

func TestPrint_IsAFileThatLoads(t *testing.T) {
	t.Parallel()
	c, err := load(t, "data_dir: /srv/mg\nwebhooks:\n  allow_networks: [10.0.0.0/8]\nhosts: [a.example]\n")
	if err != nil {
		t.Fatal(err)
	}
	again, err := load(t, c.Print())
	if err != nil {
		t.Fatalf("%v\n%s", err, c.Print())
	}
	strip := func(s string) string {
		lines := strings.Split(s, "\n")
		for i, l := range lines {
			lines[i], _, _ = strings.Cut(l, " #")
		}
		return strings.Join(lines, "\n")
	}
	if strip(again.Print()) != strip(c.Print()) {
		t.Fatalf("not the same:\n%s\n%s", c.Print(), again.Print())
	}
}

func TestLoad_Refuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text, env string
		id        string
		says      []string
	}{
		"an unknown setting, with what was meant":  {text: "retension: 5h", id: "config.unknown_setting", says: []string{":1:", "retension", "Did you mean retention"}},
		"a setting outside its group":              {text: "level: info", id: "config.unknown_setting", says: []string{"log.level"}},
		"an unknown nested setting":                {text: "a: 1", id: "config.unknown_setting", says: []string{"a"}},
		"a value out of the list":                  {text: "log: {level: loud}", id: "config.value", says: []string{":1:", "debug, info, warn, error"}},
		"a duration out of range":                  {text: "\nretention: 1s", id: "config.value", says: []string{":2:", "1h to 3650d"}},
		"a number out of range":                    {text: "api: {burst: 0}", id: "config.value", says: []string{":1:", "0 is outside", "from 1 to 1000000."}},
		"a number that is none":                    {text: "api: {streams: many}", id: "config.value", says: []string{"“many” is not a whole number", "0: no bound"}},
		"a list where one value goes":              {text: "listen: [a, b]", id: "config.value", says: []string{"one plain value"}},
		"a setting twice":                          {text: "listen: a:1\nlisten: b:2", says: []string{"2"}},
		"an empty value":                           {text: "listen:", id: "config.value", says: []string{"no value"}},
		"not YAML":                                 {text: "listen: [", id: "config.syntax", says: []string{"mailgrant.yaml:2: "}},
		"not YAML, further down":                   {text: "retention: 24h\n\nlisten: a: b\n", id: "config.syntax", says: []string{"mailgrant.yaml:3: "}},
		"a list as document":                       {text: "- a", id: "config.syntax"},
		"resources in the server's file":           {text: "mailboxes: []", id: "config.resource", says: []string{"mailgrant apply"}},
		"half of TLS":                              {text: "tls: {cert_file: /dev/null}", id: "config.contradiction", says: []string{":1", "go together"}},
		"http towards the world":                   {text: "public_url: http://mail.example", id: "config.contradiction", says: []string{"https://"}},
		"listening to the world without TLS":       {text: "listen: 0.0.0.0:80\npublic_url: https://x.example", id: "config.contradiction", says: []string{"trusted_proxies"}},
		"a path in public_url":                     {text: "public_url: https://x.example/mg", id: "config.value", says: []string{"path"}},
		"an unknown variable":                      {env: "MAILGRANT_RETENTIONS=5h", id: "config.unknown_setting", says: []string{"MAILGRANT_RETENTIONS", "retention"}},
		"a bad variable":                           {env: "MAILGRANT_LOG_LEVEL=loud", id: "config.value", says: []string{"MAILGRANT_LOG_LEVEL"}},
		"a secret file that is not there":          {env: "MAILGRANT_DATABASE_FILE=/nowhere", id: "config.value", says: []string{"MAILGRANT_DATABASE_FILE"}},
		"a _FILE variable of something not secret": {env: "MAILGRANT_LISTEN_FILE=/x", id: "config.unknown_setting"},
		"a certificate file that cannot be read":   {text: "tls: {cert_file: /nowhere, key_file: /nowhere}", id: "config.value", says: []string{":1:", "cannot be read", "Check the path and its permissions."}},
		"a variable whose file cannot be read":     {env: "MAILGRANT_TLS_KEY_FILE=/nowhere", id: "config.value", says: []string{"MAILGRANT_TLS_KEY_FILE", "Check the path and its permissions."}},
		"something that is not a network":          {text: "webhooks: {allow_networks: [10.0.0.0/99]}", id: "config.value", says: []string{"10.0.0.0/99"}},
		"something that is neither true nor false": {text: "login: {local: maybe}", id: "config.value", says: []string{"maybe"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var env []string
			if tc.env != "" {
				env = []string{tc.env}
			}
			_, err := load(t, tc.text, env...)
			if err == nil {
				t.Fatal("accepted")
			}
			f := fault.Of(err)
			if f.Kind != fault.Invalid || (tc.id != "" && f.ID != tc.id) {
				t.Fatalf("fault %s (%s): %v", f.ID, f.Kind, err)
			}
			all := err.Error() + " " + f.Remedy
			for _, want := range tc.says {
				if !strings.Contains(all, want) {
					t.Errorf("does not say %q: %s", want, all)
				}
			}
		})
	}
	t.Run("every mistake at once", func(t *testing.T) {
		t.Parallel()
		_, err := load(t, "retension: 5h\nlog: {level: loud, farmat: json}\nlisten: [a, b]\n", "MAILGRANT_LOG_FORMAT=loud")
		var fields []string
		for _, f := range fault.All(err) {
			fields = append(fields, f.Field[strings.LastIndexByte(f.Field, ':')+1:])
		}
		if want := []string{"1", "2", "2", "3", "environment variable MAILGRANT_LOG_FORMAT"}; !slices.Equal(fields, want) {
			t.Errorf("told are %q, not %q", fields, want)
		}
	})
	t.Run("a named file that is not there", func(t *testing.T) {
		t.Parallel()
		if _, err := config.Load("/nowhere/mailgrant.yaml", nil); !fault.Has(err, "config.file") {
			t.Fatalf("got %v", err)
		}
	})
}

func FuzzLoad(f *testing.F) {
	f.Add("listen: 127.0.0.1:1\nlog: {level: info}\n")
	f.Add("tls:\n  cert_file: *a\n")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "m.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(path, nil); err != nil && fault.Of(err).Kind != fault.Invalid {
			t.Fatalf("an unclassified refusal: %v", err)
		}
	})
}
