package web

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// fieldLabels name what forms hold, for people.
var fieldLabels = map[string]string{
	"address": "Address", "provider": "Provider", "profile": "Scopes", "from": "Sender", "acts": "Who signs in", "acts_as": "Delegate",
	"does": "What it does", "allow_unverifiable": "Allowed although nothing proves who signed in",
	"receive.host": "Server to receive from", "receive.port": "Port to receive from", "receive.tls": "TLS to receive",
	"receive.user": "User name to receive", "receive.ca_file": "Trusted authorities to receive", "receive.folders": "Folders",
	"receive.mode": "How it receives", "receive.every": "How often it asks", "after_receive": "What happens after receiving", "move_to": "Folder to move to",
	"send.host": "Server to send by", "send.port": "Port to send by", "send.tls": "TLS to send", "send.user": "User name to send",
	"send.ca_file": "Trusted authorities to send", "send.fallback": "Second way of sending",
	"tenant": "Tenant", "cloud": "Cloud", "issuer": "Issuer", "client_id": "Client ID", "authorize.prompt": "Prompt", "identity_claim": "Identity claim",
	"redirect_uri": "Redirect URI", "ca_file": "Trusted authorities", "profiles": "Profiles",
	"url": "URL", "events": "Events", "mailboxes": "Mailboxes", "ca_pem": "Private certificate authority",
	"may": "Rights", "networks": "Networks", "expires_at": "Ends on",
}

// differing names what stands otherwise in the store than in what is to be saved,
// both as a form holds them: every field but the version.
func differing(stored, wanted url.Values) []string {
	names := map[string]bool{}
	for name := range stored {
		names[name] = true
	}
	for name := range wanted {
		names[name] = true
	}
	delete(names, "version")
	var out []string
	for name := range names {
		now := linesOf(stored[name])
		if slices.Equal(slices.Sorted(slices.Values(now)), slices.Sorted(slices.Values(linesOf(wanted[name])))) {
			continue
		}
		label := fieldLabels[name]
		if label == "" { // as endpoints.token
			label = strings.ReplaceAll(strings.ToUpper(name[:1])+name[1:], ".", ": ")
		}
		out = append(out, fmt.Sprintf("%s: %s", label, storedWords(now)))
	}
	slices.Sort(out)
	return out
}

// linesOf are the lines of all values, without empty ones.
func linesOf(values []string) []string {
	var out []string
	for _, v := range values {
		for line := range strings.Lines(v) {
			if line = strings.TrimSpace(line); line != "" {
				out = append(out, line)
			}
		}
	}
	return out
}

func storedWords(lines []string) string {
	switch {
	case len(lines) == 0:
		return "nothing"
	case strings.HasPrefix(lines[0], "-----BEGIN"):
		return "other certificates"
	}
	return strings.Join(lines, ", ")
}
