package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Setting is one setting of the server.
type Setting struct {
	Name    string // as the file spells it; a dot is one level of nesting
	Default string
	Text    string // what it is for
	Allowed string // what values are possible, as a sentence
	List    bool
	Secret  bool // never shown; also readable from the file named by <Env>_FILE

	set func(*Config, []string) error
	get func(*Config) string
}

// Env is the setting's environment variable.
func (s Setting) Env() string {
	return "MAILGRANT_" + strings.ToUpper(strings.ReplaceAll(s.Name, ".", "_"))
}

// resourceKeys are words of resource files that people put into the server's file.
var resourceKeys = map[string]bool{"providers": true, "mailboxes": true, "apps": true}

// Settings lists every setting, in the order of the reference.
func Settings() []Setting {
	return []Setting{
		text("data_dir", defaultDataDir(), "Folder of the database, the key file and the socket; made with mode 0700.", "A path.", func(c *Config) *string { return &c.DataDir }, notEmpty),
		text("listen", "127.0.0.1:8025", "Where HTTP is served.", "host:port.", func(c *Config) *string { return &c.Listen }, notEmpty),
		{
			Name: "public_url", Default: "http://localhost:8025", Text: "How browsers reach this server; links and redirect URIs are made from it. Where only listen is set, its port is that of listen.",
			Allowed: "A URL with https://, without a path; http:// for this host only.",
			set:     setPublicURL, get: func(c *Config) string { return c.PublicURL.String() },
		},
		text("tls.cert_file", "", "Certificate chain in PEM; empty: no TLS here.", "A path, or empty.", func(c *Config) *string { return &c.TLSCertFile }, readable),
		text("tls.key_file", "", "Private key in PEM.", "A path, or empty.", func(c *Config) *string { return &c.TLSKeyFile }, readable),
		networks("trusted_proxies", "Networks of proxies whose X-Forwarded-For is believed.", func(c *Config) *[]netip.Prefix { return &c.TrustedProxies }),
		{
			Name: "hosts", Text: "Host names accepted beside that of public_url.", Allowed: "Host names.", List: true,
			set: func(c *Config, v []string) error { c.Hosts = nonEmpty(v); return nil },
			get: func(c *Config) string { return list(c.Hosts) },
		},
		{
			Name: "database", Text: "SQLite file or PostgreSQL URL; empty: mailgrant.db in data_dir.", Allowed: "A path, or postgres://user:password@host/name.", Secret: true,
			set: func(c *Config, v []string) error { c.Database = seal.NewSecret(one(v)); return nil },
			get: func(c *Config) string { return redactURL(c.Database) },
		},
		text("key_file", "", "File of the keys that seal tokens; empty: keys.json in data_dir.", "A path.", func(c *Config) *string { return &c.KeyFile }),
		span("retention", "720h", "How long received messages, settled submissions and events are kept.", time.Hour, 10*365*24*time.Hour, func(c *Config) *time.Duration { return &c.Retention }),
		span("submissions.expire_after", "72h", "How long a message waits to be sent before it expires with an alert.", time.Minute, 30*24*time.Hour, func(c *Config) *time.Duration { return &c.ExpireAfter }),
		span("authorization.link_life", "72h", "How long a one-time authorization link is good.", 5*time.Minute, 30*24*time.Hour, func(c *Config) *time.Duration { return &c.LinkLife }),
		number("api.requests_per_second", "0", "How many requests a second one API key may make of one process in the long run; more are refused with 429 and a Retry-After. 0 sets no bound. Operators and the socket are not bounded.", 0, 1_000_000, func(c *Config) *int { return &c.RequestsPerSecond }),
		number("api.burst", "500", "How many requests one API key may make at once after a pause; never fewer than api.requests_per_second.", 1, 1_000_000, func(c *Config) *int { return &c.RequestBurst }),
		number("api.streams", "100", "How many event streams one API key may hold open at one process. 0 sets no bound.", 0, 100_000, func(c *Config) *int { return &c.Streams }),
		networks("webhooks.allow_networks", "Private networks that webhooks may be delivered to.", func(c *Config) *[]netip.Prefix { return &c.AllowNetworks }),
		choice("log.level", "info", "How much is logged.", []string{"debug", "info", "warn", "error"}, func(c *Config) *string { return &c.LogLevel }),
		choice("log.format", "text", "Form of the log.", []string{"text", "json"}, func(c *Config) *string { return &c.LogFormat }),
		{
			Name: "login.local", Default: "true", Text: "Whether operators may sign in with a local password.", Allowed: "true or false.",
			set: func(c *Config, v []string) (err error) {
				if c.LocalLogin, err = strconv.ParseBool(one(v)); err != nil {
					return fmt.Errorf("“%s” is neither true nor false", one(v))
				}
				return nil
			},
			get: func(c *Config) string { return strconv.FormatBool(c.LocalLogin) },
		},
	}
}

func defaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/mailgrant"
	}
	if d := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "mailgrant")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "share", "mailgrant")
	}
	return "mailgrant-data"
}

func one(v []string) string {
	if len(v) == 0 {
		return ""
	}
	return v[0]
}

func nonEmpty(v []string) (out []string) {
	for _, s := range v {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

func list(v []string) string { return "[" + strings.Join(v, ", ") + "]" }

func text(name, def, doc, allowed string, field func(*Config) *string, checks ...func(string) error) Setting {
	return Setting{
		Name: name, Default: def, Text: doc, Allowed: allowed,
		set: func(c *Config, v []string) error {
			for _, check := range checks {
				if err := check(one(v)); err != nil {
					return err
				}
			}
			*field(c) = one(v)
			return nil
		},
		get: func(c *Config) string { return strconv.Quote(*field(c)) },
	}
}

func notEmpty(s string) error {
	if strings.TrimSpace(s) == "" {
		return errors.New("the value is empty")
	}
	return nil
}

func readable(s string) error {
	if s == "" {
		return nil
	}
	f, err := os.Open(s)
	if err != nil {
		return unreadable{err}
	}
	return f.Close()
}

// unreadable is a value that is well written and names a file that cannot be read.
type unreadable struct{ error }

// Error implements error.
func (u unreadable) Error() string { return "the file cannot be read: " + u.error.Error() }

// Unwrap gives what the system said.
func (u unreadable) Unwrap() error { return u.error }

// remedy is what to do about a value that was not taken.
func (s Setting) remedy(err error) string {
	if _, ok := errors.AsType[unreadable](err); ok {
		return "Check the path and its permissions."
	}
	return s.Allowed
}

func choice(name, def, doc string, allowed []string, field func(*Config) *string) Setting {
	sentence := "One of " + strings.Join(allowed, ", ") + "."
	return text(name, def, doc, sentence, field, func(s string) error {
		for _, a := range allowed {
			if a == s {
				return nil
			}
		}
		return fmt.Errorf("“%s” is not possible", s)
	})
}

func span(name, def, doc string, least, most time.Duration, field func(*Config) *time.Duration) Setting {
	return Setting{
		Name: name, Default: def, Text: doc, Allowed: fmt.Sprintf("A duration from %s to %s, such as 90m, 72h or 30d.", short(least), short(most)),
		set: func(c *Config, v []string) error {
			d, err := duration(one(v))
			if err != nil {
				return err
			}
			if d < least || d > most {
				return fmt.Errorf("%s is outside the range", one(v))
			}
			*field(c) = d
			return nil
		},
		get: func(c *Config) string { return short(*field(c)) },
	}
}

// number is a whole number; where 0 is possible, it sets no bound.
func number(name, def, doc string, least, most int, field func(*Config) *int) Setting {
	allowed := fmt.Sprintf("A whole number from 1 to %d.", most)
	if least == 0 {
		allowed = fmt.Sprintf("A whole number from 1 to %d; 0: no bound.", most)
	}
	return Setting{
		Name: name, Default: def, Text: doc, Allowed: allowed,
		set: func(c *Config, v []string) error {
			n, err := strconv.Atoi(one(v))
			if err != nil {
				return fmt.Errorf("“%s” is not a whole number", one(v))
			}
			if n < least || n > most {
				return fmt.Errorf("%d is outside the range", n)
			}
			*field(c) = n
			return nil
		},
		get: func(c *Config) string { return strconv.Itoa(*field(c)) },
	}
}

// duration reads Go's form and whole days ("30d").
func duration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 100_000 {
			return 0, fmt.Errorf("“%s” is not a duration", s)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("“%s” is not a duration", s)
	}
	return d, nil
}

func short(d time.Duration) string {
	if d >= 24*time.Hour && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	s := d.String()
	s = strings.TrimSuffix(s, "0s")
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func networks(name, doc string, field func(*Config) *[]netip.Prefix) Setting {
	return Setting{
		Name: name, Text: doc, Allowed: "Networks such as 10.1.0.0/16 or single addresses.", List: true,
		set: func(c *Config, v []string) error {
			var out []netip.Prefix
			for _, s := range nonEmpty(v) {
				if addr, err := netip.ParseAddr(s); err == nil {
					out = append(out, netip.PrefixFrom(addr, addr.BitLen()))
					continue
				}
				p, err := netip.ParsePrefix(s)
				if err != nil {
					return fmt.Errorf("“%s” is not a network", s)
				}
				out = append(out, p.Masked())
			}
			*field(c) = out
			return nil
		},
		get: func(c *Config) string {
			var out []string
			for _, p := range *field(c) {
				out = append(out, p.String())
			}
			return list(out)
		},
	}
}

func setPublicURL(c *Config, v []string) error {
	u, err := url.Parse(one(v))
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("“%s” is not a usable URL", one(v))
	}
	if strings.Trim(u.Path, "/") != "" {
		return fmt.Errorf("“%s” has a path; Mailgrant is served from the root of a host", one(v))
	}
	u.Path = ""
	c.PublicURL = u
	return nil
}

// redactURL shows a database URL without its password.
func redactURL(s seal.Secret) string {
	u, err := url.Parse(s.Reveal())
	if err != nil {
		return seal.Placeholder
	}
	if u.Scheme == "" {
		return strconv.Quote(s.Reveal())
	}
	q := u.Query()
	if q.Has("password") {
		q.Set("password", "xxxxx")
		u.RawQuery = q.Encode()
	}
	return strconv.Quote(u.Redacted())
}

func find(name string) (Setting, bool) {
	for _, s := range Settings() {
		if s.Name == name {
			return s, true
		}
	}
	return Setting{}, false
}

func findEnv(env string) (Setting, bool) {
	for _, s := range Settings() {
		if s.Env() == env {
			return s, true
		}
	}
	return Setting{}, false
}

func isGroup(name string) bool {
	for _, s := range Settings() {
		if strings.HasPrefix(s.Name, name+".") {
			return true
		}
	}
	return false
}

// Known reports whether there is a setting of this name, or a group of some.
func Known(name string) bool {
	_, is := find(name)
	return is || isGroup(name)
}

// nearest gives the setting that was probably meant; empty when nothing is near.
func nearest(name string) string {
	var names []string
	for _, s := range Settings() {
		names = append(names, s.Name)
	}
	return fault.Nearest(name, names)
}
