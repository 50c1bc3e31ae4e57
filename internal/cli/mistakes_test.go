package cli_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// mistake is the example with one thing wrong in it.
type mistake struct {
	name string
	text string
	line int // where it has to be found
}

// A place in the example: a key with its value.
type spot struct {
	path       string // mailboxes[0].receive.protocol
	key, value *yaml.Node
	group      *yaml.Node // that has the key
	parent     string
}

// spots finds every key of the example.
func spots(t testing.TB, text string) []spot {
	t.Helper()
	var doc yaml.Node
	check(t, yaml.Load([]byte(text), &doc))
	var found []spot
	var walk func(n *yaml.Node, path string)
	walk = func(n *yaml.Node, path string) {
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				at := strings.TrimPrefix(path+"."+n.Content[i].Value, ".")
				found = append(found, spot{path: at, key: n.Content[i], value: n.Content[i+1], group: n, parent: path})
				walk(n.Content[i+1], at)
			}
		case yaml.SequenceNode:
			for i, item := range n.Content {
				walk(item, fmt.Sprintf("%s[%d]", path, i))
			}
		}
	}
	walk(doc.Content[0], "")
	return found
}

// offset is where in the text a node begins.
func offset(text string, n *yaml.Node) int {
	lines := strings.SplitAfter(text, "\n")
	return len(strings.Join(lines[:n.Line-1], "")) + n.Column - 1
}

// span is where a value stands: on its line, or with all lines below its key.
func span(text string, s spot) (from, to int) {
	from = offset(text, s.value)
	switch {
	case s.value.Kind == yaml.ScalarNode:
		return from, from + len(s.value.Value)
	case s.value.Style&yaml.FlowStyle != 0:
		depth := 0
		for i, c := range text[from:] {
			depth += strings.Count("[{", string(c)) - strings.Count("]}", string(c))
			if depth == 0 {
				return from, from + i + 1
			}
		}
	}
	// A block: from behind the colon of its key to the next line that is not deeper.
	from = offset(text, s.key) + len(s.key.Value) + 1
	to = from + strings.IndexByte(text[from:], '\n')
	for to < len(text) {
		next := text[to+1:]
		line, _, _ := strings.Cut(next, "\n")
		if len(line)-len(strings.TrimLeft(line, " ")) < s.key.Column && line != "" || next == "" {
			break
		}
		to += 1 + len(line)
	}
	return from, min(to, len(text))
}

// with puts another value in a spot's place.
func with(text string, s spot, value string) string {
	from, to := span(text, s)
	if text[from-1] == ':' {
		value = " " + value
	}
	return text[:from] + value + text[to:]
}

// slip is a word with two letters that changed places.
func slip(word string) string {
	for i := 1; i+1 < len(word); i++ {
		if word[i] != word[i+1] && word[i] != '_' && word[i+1] != '_' {
			return word[:i] + word[i+1:i+2] + word[i:i+1] + word[i+2:]
		}
	}
	return word + "x"
}

// of every key there is one mistake of each sort.
func ofEveryKey(t testing.TB, text string) (all []mistake) {
	needed := []string{
		"providers[0].name", "providers[0].kind", "providers[0].tenant", "providers[0].client_id", "providers[0].client_secrets[0].env",
		"providers[0].profiles[0].name", "providers[0].profiles[0].scopes",
		"mailboxes[0].address", "mailboxes[0].provider", "mailboxes[0].receive.protocol", "mailboxes[0].send.protocol",
		"webhooks[0].name", "webhooks[0].url", "webhooks[0].secret.file", "webhooks[0].events", "apps[0].name", "apps[0].may",
	}
	for _, s := range spots(t, text) {
		add := func(sort, text string, line int) { all = append(all, mistake{s.path + " " + sort, text, line}) }
		at := offset(text, s.key)
		add("misspelt", text[:at]+slip(s.key.Value)+text[at+len(s.key.Value):], s.key.Line)

		wrong := "{other: thing}"
		if s.value.Kind != yaml.ScalarNode {
			wrong = "12"
		}
		line := s.value.Line
		if s.value.Kind != yaml.ScalarNode && s.value.Style&yaml.FlowStyle == 0 {
			line = s.key.Line
		}
		add("of another type", with(text, s, wrong), line)
		add("without a value", with(text, s, "~"), line)
		switch s.value.Kind {
		case yaml.ScalarNode:
			add("empty", with(text, s, `""`), line)
		case yaml.SequenceNode:
			if s.parent != "" && s.key.Value != "client_secrets" {
				add("empty", with(text, s, "[]"), line)
			}
		case yaml.MappingNode:
			if s.key.Value != "authorize" {
				add("empty", with(text, s, "{}"), line)
			}
		}
		if strings.Contains(s.parent, "]") && s.group.Style&yaml.FlowStyle != 0 {
			from, to := span(text, s)
			twice := text[at:to]
			all = append(all, mistake{s.path + " twice", text[:to] + ", " + twice + text[to:], s.key.Line})
			_ = from
		} else if s.value.Kind == yaml.ScalarNode || s.value.Style&yaml.FlowStyle != 0 {
			_, to := span(text, s)
			indent := strings.Repeat(" ", s.key.Column-1)
			end := to + strings.IndexByte(text[to:], '\n') + 1
			all = append(all, mistake{s.path + " twice", text[:end] + indent + text[at:to] + "\n" + text[end:], s.key.Line + 1})
		}
		if slices.Contains(needed, s.path) {
			all = append(all, missing(text, s))
		}
	}
	return all
}

// missing leaves a key out.
func missing(text string, s spot) mistake {
	from, to := offset(text, s.key), 0
	_, to = span(text, s)
	m := mistake{name: s.path + " missing", line: s.group.Line}
	if s.group.Style&yaml.FlowStyle != 0 {
		rest := strings.TrimLeft(strings.TrimPrefix(text[to:], ","), " ")
		m.text = text[:from] + rest
		return m
	}
	end := to + strings.IndexByte(text[to:], '\n') + 1
	if first := s.group.Content[0] == s.key; first { // the dash stays; the next key takes its line
		m.text = text[:from] + strings.TrimLeft(text[end:], " ")
	} else {
		start := from - (s.key.Column - 1)
		m.text = text[:start] + text[end:]
	}
	return m
}

// contradictions and impossible values, each in the place of one value.
func ofValues(t testing.TB, text string) (all []mistake) {
	found := spots(t, text)
	for _, c := range []struct{ path, value, why string }{
		{"providers[0].name", "Contoso", "with a capital letter"},
		{"providers[0].name", "con/toso", "with a slash"},
		{"providers[0].name", "-contoso", "beginning with a dash"},
		{"providers[0].name", strings.Repeat("c", 64), "too long"},
		{"providers[0].kind", "microsft", "mistyped"},
		{"providers[0].kind", "google", "not offered yet"},
		{"providers[0].kind", "generic", "contradicting tenant and cloud"},
		{"providers[0].tenant", "../x", "a path"},
		{"providers[0].tenant", "our tenant", "two words"},
		{"providers[0].cloud", "globl", "mistyped"},
		{"providers[0].cloud", "moon", "no cloud"},
		{"providers[0].client_id", "Mail connector", "the app's name"},
		{"providers[0].client_id", "11111111-2222-3333-4444", "cut short"},
		{"providers[0].client_secrets[0].env", "NOT_SET", "of nothing"},
		{"providers[0].client_secrets[0].env", "EMPTY", "of an empty variable"},
		{"providers[0].client_secrets[0].expires_at", "2027-13-45", "no date"},
		{"providers[0].client_secrets[0].expires_at", "next year", "words"},
		{"providers[0].client_secrets[0].expires_at", "01.05.2027", "in another form"},
		{"providers[0].client_secrets[0].expires_at", "2020-05-01", "past"},
		{"providers[0].client_secrets[0].expires_at", "1777593600", "a number"},
		{"providers[0].authorize.prompt", "logni", "mistyped"},
		{"providers[0].authorize.prompt", "consent", "not among the possible"},
		{"providers[0].profiles[0].name", "read only", "with a space"},
		{"providers[0].profiles[0].grant_type", "client_credentials", "not offered"},
		{"providers[0].profiles[0].scopes", "[openid, 'two words']", "with a space in one"},
		{"providers[0].profiles[0].scopes", "['a\"b']", "with a quote in one"},
		{"mailboxes[0].address", "servicedesk", "without a domain"},
		{"mailboxes[0].address", "Desk <servicedesk@vbcpn.onmicrosoft.com>", "with a display name"},
		{"mailboxes[0].address", "'@vbcpn.onmicrosoft.com'", "without a name"},
		{"mailboxes[0].provider", "contos", "mistyped"},
		{"mailboxes[0].provider", "nobody-knows", "of nothing"},
		{"mailboxes[0].grant_type", "device_code", "not offered yet"},
		{"mailboxes[0].grant_type", "authorisation_code", "mistyped"},
		{"mailboxes[0].acts_as", "app", "not offered yet"},
		{"mailboxes[0].acts_as", "ownr", "mistyped"},
		{"mailboxes[0].acts_as", "'delegate: adele'", "a delegate without a domain"},
		{"mailboxes[0].acts_as", "{delegate: servicedesk@vbcpn.onmicrosoft.com}", "its own delegate"},
		{"mailboxes[0].acts_as", "delegate: adele@vbcpn.onmicrosoft.com", "without its quotes"},
		{"mailboxes[0].receive.protocol", "imop", "mistyped"},
		{"mailboxes[0].receive.protocol", "pop3", "not offered yet"},
		{"mailboxes[0].receive.protocol", "smtp", "one for sending"},
		{"mailboxes[0].receive.folders", "[INBOX, inbox]", "twice the same"},
		{"mailboxes[0].receive.folders", "['INBOX/*']", "with a pattern"},
		{"mailboxes[0].receive.mode", "psuh", "mistyped"},
		{"mailboxes[0].receive.mode", "push, every: 60s", "contradicting every"},
		{"mailboxes[0].receive.mode", "poll, every: 60", "every without a unit"},
		{"mailboxes[0].receive.mode", "poll, every: soon", "every in words"},
		{"mailboxes[0].receive.mode", "poll, every: 1s", "every too short"},
		{"mailboxes[0].receive.mode", "poll, every: 48h", "every too long"},
		{"mailboxes[0].receive.mode", "push, host: 'imaps://imap.example.org'", "host with a scheme"},
		{"mailboxes[0].receive.mode", "push, port: 70000", "port out of range"},
		{"mailboxes[0].receive.mode", "push, port: -1", "port below zero"},
		{"mailboxes[0].receive.mode", "push, port: imaps", "port in words"},
		{"mailboxes[0].receive.mode", "push, port: '993'", "port in quotes"},
		{"mailboxes[0].receive.mode", "push, port: 993, tls: starttls", "port contradicting tls"},
		{"mailboxes[0].receive.mode", "push, tls: startls", "tls mistyped"},
		{"mailboxes[0].receive.mode", "push, tls: none", "tls none over a network"},
		{"mailboxes[0].receive.mode", "push, ca_file: gone.pem", "ca_file of nothing"},
		{"mailboxes[0].receive.mode", "push, ca_file: key.pem", "ca_file with a private key"},
		{"mailboxes[0].receive.mode", "push, ca_file: words.pem", "ca_file without a certificate"},
		{"mailboxes[0].receive.mode", "push, ca_file: words.pem, ca_pem: x", "ca_file beside ca_pem"},
		{"mailboxes[0].send.protocol", "smpt", "mistyped"},
		{"mailboxes[0].send.protocol", "imap", "one for receiving"},
		{"mailboxes[0].send.fallback", "grpah", "mistyped"},
		{"mailboxes[0].send.fallback", "smtp", "the same as the first way"},
		{"mailboxes[0].send.fallback", "graph, port: 465, tls: starttls", "port contradicting tls"},
		{"mailboxes[0].after_receive", "keeep", "mistyped"},
		{"mailboxes[0].after_receive", "burn", "not among the possible"},
		{"mailboxes[0].after_receive", "move: Processed", "without its quotes"},
		{"mailboxes[0].after_receive", "'move:'", "a move to nowhere"},
		{"mailboxes[0].after_receive", "{move: INBOX}", "a move in a circle"},
		{"webhooks[0].name", "Desk!", "with a sign"},
		{"webhooks[0].url", "http://desk.example/hook", "without TLS"},
		{"webhooks[0].url", "https://user:pass@desk.example/hook", "with a user name"},
		{"webhooks[0].url", "https://desk.example/hook#part", "with a fragment"},
		{"webhooks[0].url", "desk.example/hook", "without a scheme"},
		{"webhooks[0].url", "https:///hook", "without a host"},
		{"webhooks[0].url", "https://127.0.0.1/hook", "towards this machine"},
		{"webhooks[0].url", "https://169.254.169.254/latest", "towards metadata"},
		{"webhooks[0].secret", plantedSigningSecret, "as a literal"},
		{"webhooks[0].secret", "{value: " + plantedSigningSecret + "}", "as a value"},
		{"webhooks[0].secret.file", "gone.key", "of nothing"},
		{"webhooks[0].secret.file", "empty.key", "of an empty file"},
		{"webhooks[0].secret.file", "short.key", "of a short secret"},
		{"webhooks[0].secret.file", "hook.key, env: CONTOSO_SECRET", "beside env"},
		{"webhooks[0].events", "[mesage.received]", "mistyped"},
		{"webhooks[0].events", "[message.*, nonsense.*]", "of no family"},
		{"webhooks[0].events", "[*]", "a star without quotes"},
		{"webhooks[0].mailboxes", "[servicedesk]", "no address"},
		{"webhooks[0].mailboxes", "[servicedesk@vbcpn.onmicrosoft.com, ServiceDesk@vbcpn.onmicrosoft.com]", "twice the same"},
		{"apps[0].name", "Printer", "with a capital letter"},
		{"apps[0].may", "[sned]", "mistyped"},
		{"apps[0].may", "[send, fly]", "no right"},
		{"apps[0].mailboxes", "[scans]", "no address"},
		{"apps[0].networks", "[10.1.0.0/33]", "out of range"},
		{"apps[0].networks", "[10.1]", "a number"},
		{"apps[0].networks", "[printer.example.org]", "a host's name"},
		{"apps[0].networks", "[10.1.0.0/16]\n    expires_at: 2020-01-01", "beside an end that is past"},
		{"apps[0].networks", "[10.1.0.0/16]\n    api_key: mgk_x", "beside a key that is the server's"},
	} {
		i := slices.IndexFunc(found, func(s spot) bool { return s.path == c.path })
		s := found[i]
		line := s.value.Line
		switch {
		case strings.Contains(c.value, "\n"):
			line++
		case c.why == "contradicting tenant and cloud":
			line++ // the tenant's
		}
		all = append(all, mistake{c.path + " " + c.why, with(text, s, c.value), line})
	}
	return all
}

// ofForm are mistakes of YAML and of the document as a whole.
func ofForm(text string) (all []mistake) {
	line := func(part string) int { return 1 + strings.Count(text[:strings.Index(text, part)], "\n") }
	for _, c := range []struct{ name, old, put, at string }{
		{"a tab", "    kind: microsoft", "\tkind: microsoft", "    kind: microsoft"},
		{"a bracket that is not closed", "[INBOX]", "[INBOX", "[INBOX]"},
		{"a brace that is not closed", "{prompt: login}", "{prompt: login", "{prompt: login}"},
		{"a quote that is not closed", "acts_as: owner", `acts_as: "owner`, "acts_as: owner"},
		{"too little indentation", "    tenant:", "   tenant:", "    tenant:"},
		{"too much indentation", "    tenant:", "      tenant:", "    tenant:"},
		{"no space after a colon", "    kind: microsoft ", "    kind:microsoft ", "    kind:"},
		{"a comma twice", "protocol: imap, folders", "protocol: imap,, folders", "protocol: imap, folders"},
		{"a list on the line of its key", "mailboxes:\n  - address:", "mailboxes: - address:", "mailboxes:\n"},
		{"an anchor", "acts_as: owner", "acts_as: &who owner", "acts_as: owner"},
		{"an alias", "acts_as: owner", "acts_as: *who", "acts_as: owner"},
		{"a merge", "    acts_as: owner", "    <<: {acts_as: owner}", "    acts_as: owner"},
		{"a tag", "acts_as: owner", "acts_as: !!str owner", "acts_as: owner"},
		{"an at sign", "acts_as: owner", "acts_as: @owner", "acts_as: owner"},
		{"a second document", "mailboxes:\n", "---\nmailboxes:\n", "mailboxes:\n"},
		{"a control character", "acts_as: owner", "acts_as: ow\x07ner", "acts_as: owner"},
		{"not UTF-8", "acts_as: owner", "acts_as: ow\xffner", "acts_as: owner"},
		{"a key that is a list", "    acts_as: owner", "    [acts_as]: owner", "    acts_as: owner"},
		{"a setting of the server", "apps: ", "listen: 127.0.0.1:8025\napps: ", "apps: "},
		{"a list of resources that there is not", "apps: ", "operators: []\napps: ", "apps: "},
		{"a client secret as a literal", "{env: CONTOSO_SECRET, expires_at: 2027-05-01}", plantedClientSecret, "{env: CONTOSO_SECRET"},
		{"a client secret as a value", "{env: CONTOSO_SECRET,", "{value: " + plantedClientSecret + ",", "{env: CONTOSO_SECRET"},
		{"a client secret in two ways", "{env: CONTOSO_SECRET,", "{env: CONTOSO_SECRET, file: hook.key,", "{env: CONTOSO_SECRET"},
		{"a client secret by an id that there is not", "{env: CONTOSO_SECRET,", "{id: 0197c9a2-0000-7000-8000-000000000000,", "{env: CONTOSO_SECRET"},
		{"a client certificate", "    authorize:", "    client_certificate: {file: cert.pem, key_file: key.pem}\n    authorize:", "    authorize:"},
		{"an issuer where the kind has none", "    authorize:", "    issuer: https://idp.example\n    authorize:", "    authorize:"},
		{"a redirect URI elsewhere", "    authorize:", "    redirect_uri: https://old.example/oauth_redirect.do\n    authorize:", "    authorize:"},
		{"a redirect URI with a query", "    authorize:", "    redirect_uri: https://old.example/oauth_redirect.do?a=b\n    authorize:", "    authorize:"},
		{"an endpoint that there is not", "    authorize:", "    endpoints: {athority: 'https://login.example'}\n    authorize:", "    authorize:"},
		{"an endpoint without TLS", "    authorize:", "    endpoints: {authority: 'http://login.example'}\n    authorize:", "    authorize:"},
		{"a profile that there is not", "    acts_as: owner", "    profile: read-onyl\n    acts_as: owner", "    acts_as: owner"},
		{"a sender that is no address", "    acts_as: owner", "    from: Service Desk\n    acts_as: owner", "    acts_as: owner"},
		{"a word where true or false is wanted", "    acts_as: owner", "    allow_unverifiable: yes\n    acts_as: owner", "    acts_as: owner"},
		{"what is the server's to say", "    acts_as: owner", "    paused: true\n    acts_as: owner", "    acts_as: owner"},
		{"a mailbox twice, in another case", "webhooks:\n", "  - {address: SERVICEDESK@vbcpn.onmicrosoft.com, provider: contoso, receive: {protocol: imap}}\nwebhooks:\n", "webhooks:\n"},
		{"a provider twice", "mailboxes:\n", "  - {name: contoso, kind: generic, issuer: 'https://idp.example', client_id: x}\nmailboxes:\n", "mailboxes:\n"},
		{"an app twice", "apps: ", "apps:\n  - {name: printer-2nd-floor, may: [read]}\n#", ""},
	} {
		m := mistake{name: c.name, text: strings.Replace(text, c.old, c.put, 1)}
		if c.at == "" {
			m.line = line("  - name: printer") + 2
		} else {
			m.line = line(c.at)
		}
		all = append(all, m)
	}
	neither := strings.NewReplacer("    receive:", "#   receive:", "    send:", "#   send:").Replace(text)
	unusable := strings.NewReplacer("[...]", "[IMAP.AccessAsUser.All]", "    acts_as:", "    profile: read-only\n    acts_as:").Replace(text)
	return append(
		all,
		mistake{"a profile whose scopes the kind cannot use", unusable, line("    acts_as:")},
		mistake{"a mailbox that neither receives nor sends", neither, line("  - address:")},
		mistake{"an empty file", "", 1},
		mistake{"a file of comments", "# providers:\n", 1},
		mistake{"a file that is a list", "- " + strings.ReplaceAll(text, "\n", "\n  "), 1},
		mistake{"a file that is a sentence", "all resources, please\n", 1},
	)
}

var report = regexp.MustCompile(`(?m)^mailgrant: [^\n]*?one\.yaml:(\d+):(\d+): (.*)\n  What to do: (.*)$`)

// Each single mistake in the example is refused with its line and what to do, and
// changes nothing.
func TestApply_EveryMistakeIsRefusedWithItsLine(t *testing.T) {
	h := newHouse(t)
	h.must(t, "apply", "-f", h.write(t, "other.yaml", `providers:
  - {name: fabrikam, kind: generic, issuer: 'https://idp.example', client_id: mailgrant}
apps:
  - {name: backup, may: [read]}
`))
	before := h.must(t, "export")
	text := example(t)
	all := slices.Concat(ofEveryKey(t, text), ofValues(t, text), ofForm(text))
	var golden strings.Builder
	names := map[string]bool{}
	for _, m := range all {
		if names[m.name] {
			t.Fatalf("two mistakes are called %q", m.name)
		}
		names[m.name] = true
		if m.text == text {
			t.Fatalf("%s: the example was not changed", m.name)
		}
		code, out, errs := h.run(t, "apply", "-f", h.write(t, "one.yaml", m.text))
		found := report.FindAllStringSubmatch(errs, -1)
		fmt.Fprintf(&golden, "%s\n", m.name)
		lines := []int{}
		for _, f := range found {
			n, _ := strconv.Atoi(f[1])
			lines = append(lines, n)
			fmt.Fprintf(&golden, "  %s:%s %s\n       %s\n", f[1], f[2], f[3], f[4])
		}
		switch {
		case code != 1 || out != "":
			t.Errorf("%s: exit code %d\n%s%s", m.name, code, out, errs)
		case !slices.Contains(lines, m.line):
			t.Errorf("%s: found on the lines %v, want %d\n%s", m.name, lines, m.line, errs)
		case strings.Count(errs, "mailgrant: ") != len(found)+1 || !strings.Contains(errs, "; nothing was changed."):
			t.Errorf("%s: not every line has a place and a cure:\n%s", m.name, errs)
		}
		if h.must(t, "export") != before {
			t.Fatalf("%s: something was changed", m.name)
		}
	}
	if len(all) < 150 {
		t.Errorf("%d mistakes are fewer than there were", len(all))
	}
	got := strings.ReplaceAll(golden.String(), h.folder, "FOLDER")
	compareGolden(t, "testdata/resources/mistakes.golden", regexp.MustCompile(`localhost:\d+`).ReplaceAllString(got, "localhost:PORT"))
}

func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if os.Getenv("MAILGRANT_TEST_UPDATE") != "" {
		check(t, os.WriteFile(path, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	check(t, err)
	if got == string(want) {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Fatalf("%s:%d: now %q, was %q; MAILGRANT_TEST_UPDATE=1 writes it anew", path, i+1, g[i], w[i])
		}
	}
	t.Fatalf("%s has %d lines, now there are %d; MAILGRANT_TEST_UPDATE=1 writes it anew", path, len(w), len(g))
}
