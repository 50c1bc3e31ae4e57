// Package config reads the server's settings: defaults, then one file, then
// the environment. Each setting stands once, in settings.go, with its
// name, its meaning, its default and its check; the file's reader, the
// environment, --print-config and the reference page are made from that list.
//
// Reading is strict. An unknown or contradictory setting is refused at start,
// with the line, what is allowed and, for a likely slip of the pen, what was
// probably meant. Only app and cli import this package.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Config is the effective configuration of a server.
type Config struct {
	DataDir        string
	Listen         string // host:port
	PublicURL      *url.URL
	TLSCertFile    string
	TLSKeyFile     string
	TrustedProxies []netip.Prefix
	Hosts          []string // accepted Host names beside that of PublicURL
	Database       seal.Secret
	KeyFile        string
	Retention      time.Duration
	ExpireAfter    time.Duration // of submissions
	LinkLife       time.Duration
	AllowNetworks  []netip.Prefix // for webhooks

	// What one API key may ask of one process; 0: as much as it likes.
	RequestsPerSecond, RequestBurst, Streams int

	LogLevel   string
	LogFormat  string
	LocalLogin bool

	from map[string]string // setting -> where its value came from
}

// byDefault is where a value came from that nobody set.
const byDefault = "default"

// maxFile bounds the configuration file.
const maxFile = 1 << 20

// Load reads the configuration. file is "" for none; then mailgrant.yaml in
// the present folder is read where it exists. environ is os.Environ's form.
func Load(file string, environ []string) (*Config, error) {
	c := &Config{from: map[string]string{}}
	for _, s := range Settings() {
		if err := s.set(c, []string{s.Default}); err != nil {
			return nil, fmt.Errorf("default of %s: %w", s.Name, err)
		}
		c.from[s.Name] = byDefault
	}
	explicit := file != ""
	if !explicit {
		file = "mailgrant.yaml"
	}
	var wrong error
	raw, err := readFile(file)
	switch {
	case err == nil:
		wrong = c.applyFile(file, raw)
	case errors.Is(err, fs.ErrNotExist) && !explicit:
	default:
		return nil, refuse("config.file", file, "The configuration file cannot be read.", "Check the path and its permissions.", err)
	}
	if err := errors.Join(wrong, c.applyEnviron(environ)); err != nil {
		return nil, err
	}
	return c, c.finish()
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("the file has %d bytes; at most %d are read", info.Size(), maxFile)
	}
	return os.ReadFile(path)
}

func refuse(id, field, text, remedy string, err error) error {
	return &fault.Error{ID: id, Kind: fault.Invalid, Field: field, Text: text, Remedy: remedy, Who: []fault.Who{fault.Operator}, Err: err}
}

// applyFile walks the document so that every complaint can name its line.
func (c *Config) applyFile(file string, raw []byte) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		where := file
		if e, ok := errors.AsType[*yaml.LoadError](err); ok && e.Mark.Line > 0 {
			where = at(file, e.Mark.Line)
		}
		return refuse("config.syntax", where, "The configuration file is not YAML.", "Look at this line and the one before it: a bracket or a quote that is not closed, a tab, or a colon without a space after it.", err)
	}
	if len(doc.Content) == 0 {
		return nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return refuse("config.syntax", at(file, root.Line), "The file holds no settings.", "Write one setting a line, as name: value.", nil)
	}
	return c.walk(file, "", root)
}

func at(file string, line int) string { return fmt.Sprintf("%s:%d", file, line) }

// walk reads a group of settings; every mistake in it is told.
func (c *Config) walk(file, prefix string, node *yaml.Node) error {
	var wrong []error
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		name := prefix + key.Value
		if first, ok := seen[name]; ok {
			wrong = append(wrong, refuse("config.repeated", at(file, key.Line), fmt.Sprintf("%s stands twice; first on line %d.", name, first), "Keep one.", nil))
			continue
		}
		seen[name] = key.Line
		s, ok := find(name)
		switch {
		case resourceKeys[name]:
			wrong = append(wrong, refuse("config.resource", at(file, key.Line), fmt.Sprintf("%s are resources, not settings of the server.", name), "Put them in a file of their own and run “mailgrant apply -f FILE”.", nil))
		case ok:
			wrong = append(wrong, c.applyNode(file, s, value))
		case isGroup(name) && value.Kind == yaml.MappingNode:
			wrong = append(wrong, c.walk(file, name+".", value))
		default:
			wrong = append(wrong, unknown(at(file, key.Line), name))
		}
	}
	return errors.Join(wrong...)
}

func (c *Config) applyNode(file string, s Setting, value *yaml.Node) error {
	var values []string
	switch {
	case value.Kind == yaml.ScalarNode && value.Tag == "!!null":
		return refuse("config.value", at(file, value.Line), s.Name+" has no value.", "Give one, or leave the line out. "+s.Allowed, nil)
	case value.Kind == yaml.ScalarNode:
		values = []string{value.Value}
	case value.Kind == yaml.SequenceNode && s.List:
		for _, n := range value.Content {
			if n.Kind != yaml.ScalarNode {
				return refuse("config.value", at(file, n.Line), s.Name+" is a list of plain values.", s.Allowed, nil)
			}
			values = append(values, n.Value)
		}
	default:
		return refuse("config.value", at(file, value.Line), s.Name+" takes one plain value.", s.Allowed, nil)
	}
	if err := s.set(c, values); err != nil {
		return refuse("config.value", at(file, value.Line), fmt.Sprintf("%s: %v.", s.Name, err), s.remedy(err), nil)
	}
	c.from[s.Name] = at(file, value.Line)
	return nil
}

func unknown(where, name string) error {
	remedy := "“mailgrant serve --print-config” shows every setting there is."
	if n := nearest(name); n != "" {
		remedy = fmt.Sprintf("Did you mean %s? ", n) + remedy
	}
	return refuse("config.unknown_setting", where, fmt.Sprintf("There is no setting %s.", fault.Shorten(name, 80)), remedy, nil)
}

// clientVariables belong to the command line, not to the server.
var clientVariables = map[string]bool{"MAILGRANT_SERVER": true, "MAILGRANT_API_KEY": true, "MAILGRANT_API_KEY_FILE": true, "MAILGRANT_CONFIG": true}

// testVariablePrefix marks variables of the test suite.
const testVariablePrefix = "MAILGRANT_TEST_"

// applyEnviron reads the variables; every mistake in them is told.
func (c *Config) applyEnviron(environ []string) error {
	var wrong []error
	for _, kv := range environ {
		key, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(key, "MAILGRANT_") || clientVariables[key] || strings.HasPrefix(key, testVariablePrefix) {
			continue
		}
		wrong = append(wrong, c.applyVariable(key, value))
	}
	return errors.Join(wrong...)
}

func (c *Config) applyVariable(key, value string) error {
	s, ok := findEnv(key)
	if !ok {
		base, isFile := strings.CutSuffix(key, "_FILE")
		if s, ok = findEnv(base); !ok || !isFile || !s.Secret {
			return unknown("environment variable "+key, strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(key, "MAILGRANT_"), "__", ".")))
		}
		raw, err := readFile(value)
		if err != nil {
			return refuse("config.value", "environment variable "+key, "The file it names cannot be read.", "Check the path and its permissions.", err)
		}
		value = strings.TrimRight(string(raw), "\r\n")
	}
	values := []string{value}
	if s.List {
		values = strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })
	}
	if err := s.set(c, values); err != nil {
		return refuse("config.value", "environment variable "+key, fmt.Sprintf("%s: %v.", s.Name, err), s.remedy(err), nil)
	}
	c.from[s.Name] = "environment variable " + key
	return nil
}

// finish fills what follows from other settings and refuses contradictions.
func (c *Config) finish() error {
	contradiction := func(name, text, remedy string) error {
		return refuse("config.contradiction", c.from[name], text, remedy, nil)
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		return contradiction("tls.cert_file", "tls.cert_file and tls.key_file go together; only one is set.", "Set both, or neither.")
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return contradiction("listen", "listen has no host and port.", "Write it as 127.0.0.1:8025.")
	}
	c.follow(port)
	if c.TLSCertFile != "" && c.PublicURL.Scheme != "https" {
		return contradiction("public_url", "tls is set, but public_url begins with http://.", "Write public_url with https://.")
	}
	if c.PublicURL.Scheme == "http" && !IsLoopback(c.PublicURL.Hostname()) {
		return contradiction("public_url", fmt.Sprintf("public_url is http:// towards %s; sign-ins and tokens would cross the network in clear.", c.PublicURL.Hostname()),
			"Use https://, with tls or behind a proxy that ends TLS.")
	}
	if addr, err := netip.ParseAddr(host); err == nil && !addr.IsLoopback() && c.TLSCertFile == "" && len(c.TrustedProxies) == 0 {
		return contradiction("listen", fmt.Sprintf("listen is %s without TLS, reachable from other hosts.", c.Listen),
			"Set tls, or name the proxy in front in trusted_proxies, or listen on 127.0.0.1.")
	}
	if c.Database.IsZero() {
		c.Database = seal.NewSecret(filepath.Join(c.DataDir, "mailgrant.db"))
	}
	if c.KeyFile == "" {
		c.KeyFile = filepath.Join(c.DataDir, "keys.json")
	}
	return nil
}

// follow gives public_url, where only listen is set, its port: links and redirect
// URIs would otherwise name one where nothing is served. A port that the
// system chooses (0) cannot be followed.
func (c *Config) follow(port string) {
	n, err := strconv.ParseUint(port, 10, 16)
	if c.from["public_url"] != byDefault || c.from["listen"] == byDefault || err != nil || n == 0 {
		return
	}
	host := "localhost"
	if n != 80 {
		host = net.JoinHostPort(host, strconv.FormatUint(n, 10))
	}
	c.PublicURL = &url.URL{Scheme: "http", Host: host}
	c.from["public_url"] = "default; its port follows listen, " + c.from["listen"]
}

// IsLoopback reports whether a host's name or address means the host itself.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// Print writes every setting with its effective value, redacted, and where it
// came from, as a file that Load reads.
func (c *Config) Print() string {
	var b strings.Builder
	group := ""
	for _, s := range Settings() {
		name := s.Name
		if g, rest, ok := strings.Cut(name, "."); ok {
			if g != group {
				fmt.Fprintf(&b, "%s:\n", g)
				group = g
			}
			name = "  " + rest
		} else {
			group = ""
		}
		value := s.get(c)
		fmt.Fprintf(&b, "%s: %s # %s\n", name, value, c.from[s.Name])
	}
	return b.String()
}
